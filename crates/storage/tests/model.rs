//! Random transactions, loads and restarts, compared step by step with testkit's model.
//!
//! `PROPTEST_CASES=10000` tries more; a failure is shrunk, and its seed is kept in
//! `model.proptest` beside this file and tried first from then on.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "model/world.rs"]
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use storage::{CommitLocks, Options};

use world::{Action, Home, Restart, Serial, World};

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest"))),
        max_shrink_iters: 4000,
        ..ProptestConfig::with_cases(cases(100))
    })]

    #[test]
    fn file_storage_does_what_the_model_does(actions in vec(action(), 1..120)) {
        run(Home::File, CommitLocks::Oid, &actions);
    }

    #[test]
    fn memory_storage_does_what_the_model_does(actions in vec(action(), 1..120)) {
        run(Home::Memory, CommitLocks::Oid, &actions);
    }

    #[test]
    fn one_lock_for_all_changes_no_outcome(actions in vec(action(), 1..120)) {
        run(Home::Memory, CommitLocks::Global, &actions);
    }
}

/// How many cases to try if nobody says otherwise.
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(default, |cases| cases.parse().unwrap())
}

fn run(home: Home, commit_locks: CommitLocks, actions: &[Action]) {
    // Small, so that segments roll and transactions spill.
    let options = Options {
        commit_locks,
        invalidation_queue_size: 5,
        segment_bytes: 4096,
        spill_bytes: 300,
        reader_threads: 1,
        ..Options::default()
    };
    let mut world = World::new(home, options);
    for action in actions {
        world.act(action);
    }
    world.check_all();
}

fn action() -> impl Strategy<Value = Action> {
    let slot = || 0..4usize;
    let oid = || 0..6u64;
    let len = || prop_oneof![4 => 0..40usize, 1 => 250..900usize];
    prop_oneof![
        1 => (slot(), prop_oneof![4 => Just(None), 1 => (0..3u64).prop_map(Some)])
            .prop_map(|(slot, copied)| Action::Begin { slot, copied }),
        12 => (slot(), oid(), serial(), len())
            .prop_map(|(slot, oid, serial, len)| Action::Store { slot, oid, serial, len }),
        2 => (slot(), oid(), serial())
            .prop_map(|(slot, oid, serial)| Action::Delete { slot, oid, serial }),
        3 => (slot(), oid(), serial())
            .prop_map(|(slot, oid, serial)| Action::Check { slot, oid, serial }),
        2 => (slot(), oid(), proptest::option::weighted(0.7, len()))
            .prop_map(|(slot, oid, len)| Action::Restore { slot, oid, len }),
        8 => slot().prop_map(|slot| Action::Vote { slot }),
        7 => slot().prop_map(|slot| Action::Finish { slot }),
        1 => Just(Action::FinishAll),
        2 => slot().prop_map(|slot| Action::Abort { slot }),
        3 => (oid(), any::<prop::sample::Index>())
            .prop_map(|(oid, bound)| Action::Load { oid, bound }),
        1 => (1..8u32).prop_map(|count| Action::NewOids { count }),
        1 => (-3..4i64).prop_map(|seconds| Action::MoveClock { seconds }),
        1 => any::<bool>().prop_map(|cached| Action::Cache { cached }),
        1 => prop_oneof![
            Just(Restart::Clean),
            Just(Restart::Killed),
            Just(Restart::KilledWithoutIndexes),
        ].prop_map(Action::Restart),
    ]
}

fn serial() -> impl Strategy<Value = Serial> {
    prop_oneof![
        8 => Just(Serial::Current),
        1 => any::<prop::sample::Index>().prop_map(Serial::Old),
        1 => Just(Serial::Zero),
        1 => Just(Serial::Future),
    ]
}
