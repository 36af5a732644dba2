//! What a random test does.

use proptest::prelude::*;
use proptest::sample::Index;

/// What a test does; numbers are small, so that transactions meet.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Begin { slot: usize, copied: Option<u64> },
    Store { slot: usize, oid: u64, serial: Serial, len: usize },
    Delete { slot: usize, oid: u64, serial: Serial },
    Check { slot: usize, oid: u64, serial: Serial },
    Restore { slot: usize, oid: u64, len: Option<usize> },
    Vote { slot: usize },
    Finish { slot: usize },
    FinishAll,
    Abort { slot: usize },
    Load { oid: u64, bound: Index },
    NewOids { count: u32 },
    MoveClock { seconds: i64 },
    Cache { cached: bool },
    Pack { to: Index },
    Restart(Restart),
}

/// Which serial a client names.
#[derive(Clone, Debug)]
pub(crate) enum Serial {
    Current,
    Old(Index),
    Zero,
    Future,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Restart {
    Clean,
    Killed,
    KilledWithoutIndexes,
}

/// Where the storage keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    File,
    Memory,
}

/// Any action; those that lead somewhere are the more frequent ones.
pub(crate) fn action() -> impl Strategy<Value = Action> {
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
        3 => (oid(), any::<Index>())
            .prop_map(|(oid, bound)| Action::Load { oid, bound }),
        1 => (1..8u32).prop_map(|count| Action::NewOids { count }),
        1 => (-3..4i64).prop_map(|seconds| Action::MoveClock { seconds }),
        1 => any::<bool>().prop_map(|cached| Action::Cache { cached }),
        1 => any::<Index>().prop_map(|to| Action::Pack { to }),
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
        1 => any::<Index>().prop_map(Serial::Old),
        1 => Just(Serial::Zero),
        1 => Just(Serial::Future),
    ]
}
