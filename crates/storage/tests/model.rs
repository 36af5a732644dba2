//! Random transactions, loads and restarts, compared step by step with testkit's model.
//!
//! `PROPTEST_CASES=10000` tries more; a failure is shrunk, and its seed is kept in
//! `model.proptest` beside this file and tried first from then on.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "model/action.rs"]
mod action;
#[path = "model/slot.rs"]
mod slot;
#[path = "model/world.rs"]
mod world;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use storage::{CommitLocks, Options, Reads, Sync};

use action::{Action, Home, action};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest"))),
        max_shrink_iters: 4000,
        ..ProptestConfig::with_cases(cases(400))
    })]

    #[test]
    fn file_storage_does_what_the_model_does(actions in vec(action(), 1..120)) {
        run(Home::File, Options::default(), &actions);
    }

    #[test]
    fn memory_storage_does_what_the_model_does(actions in vec(action(), 1..120)) {
        run(Home::Memory, Options::default(), &actions);
    }

    #[test]
    fn one_lock_for_all_changes_no_outcome(actions in vec(action(), 1..120)) {
        let commit_locks = CommitLocks::Global;
        run(Home::Memory, Options { commit_locks, ..Options::default() }, &actions);
    }

    #[test]
    fn mappings_change_no_outcome(actions in vec(action(), 1..120)) {
        let options = Options { reads: Reads::Mapped, cache_bytes: 0, ..Options::default() };
        run(Home::File, options, &actions);
    }

    #[test]
    fn a_sync_for_each_changes_no_outcome(actions in vec(action(), 1..120)) {
        run(Home::File, Options { sync: Sync::Each, ..Options::default() }, &actions);
    }
}

/// How many cases to try if nobody says otherwise.
fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(default, |cases| cases.parse().unwrap())
}

fn run(home: Home, options: Options, actions: &[Action]) {
    // Small, so that segments roll and transactions spill.
    let options = Options {
        invalidation_queue_size: 5,
        segment_bytes: 4096,
        spill_bytes: 300,
        reader_threads: 1,
        ..options
    };
    let mut world = World::new(home, options);
    for action in actions {
        world.act(action);
    }
    world.check_all();
}
