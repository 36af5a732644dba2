//! The power is cut after every single change of the disk; the storage has to come back right.
//!
//! `CRASH_SEED` chooses the workload, `CRASH_IMAGES` how many ways to lose what was not synced
//! are tried for each moment. A failure prints both the seed and the moment.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "crash/script.rs"]
mod script;
mod support;
#[path = "crash/verdict.rs"]
mod verdict;

use protocol::{Oid, Tid};
use storage::{Kind, Location, Options, Sync};
use testkit::{Clock, Inbox, SimDisk};

use script::Script;
use support::{mapped, number, small};
use verdict::{Promise, judge};

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_answered() {
    for options in [small(), Options { sync: Sync::Each, ..small() }, mapped()] {
        let script = workload(options);
        let set_aside = cut_everywhere(&script, Promise::Answered, number("CRASH_IMAGES", 2));
        assert!(set_aside > 0, "no image had a torn end with {options:?}");
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_answered() {
    let synced = |sync| Options { sync, ..small() };
    for options in [small(), synced(Sync::Each), synced(Sync::None), mapped()] {
        let script = workload(options);
        for ops in 0..=script.disk.op_count() {
            let image = script.disk.killed(ops);
            if let Err(what) = judge(&script, &image, ops, Promise::Answered, ops as u64) {
                panic!("killed after {ops} changes with {options:?}: {what}");
            }
        }
    }
}

#[test]
fn without_syncs_a_power_cut_loses_the_last_transactions_only() {
    let script = workload(Options { sync: Sync::None, ..small() });
    cut_everywhere(&script, Promise::Anything, number("CRASH_IMAGES", 2));
}

#[test]
fn what_is_set_aside_survives_another_power_cut() {
    let script = workload(small());
    for ops in 0..=script.disk.op_count() {
        let seed = ops as u64;
        let before = script.disk.power_cut(ops, seed);
        let image = support::copy(&before);
        drop(support::open(&image, script.options).unwrap());
        for again in 0..=image.op_count() {
            let left = image.power_cut(again, seed);
            drop(support::open(&left, script.options).unwrap());
            if let Err(what) = verdict::nothing_is_thrown_away(&before, &left) {
                panic!("after {ops} changes, seed {seed}, and {again} more: {what}");
            }
        }
    }
}

#[test]
fn a_storage_in_a_new_directory_within_a_new_one_is_durable() {
    let disk = SimDisk::new();
    let location = Location { kind: Kind::File("/new/newer/data".into()), blobs: None };
    let open = |disk: &SimDisk| storage::open(&location, small(), &disk.handle(), Clock::new());
    let storage = open(&disk).unwrap();
    let tid = Inbox::new().commit(&*storage, &[(Oid(1), Tid::ZERO, b"data")]).unwrap();
    for seed in 0..50 {
        let left = disk.power_cut(disk.op_count(), seed);
        assert_eq!(open(&left).unwrap().current_tid(Oid(1)), Ok(tid), "seed {seed}");
    }
}

fn workload(options: Options) -> Script {
    let mut script = Script::new(number("CRASH_SEED", 1), options);
    for _ in 0..14 {
        script.round();
    }
    // Also while it writes its last index.
    script.storage.close();
    script
}

/// Tries every moment; returns how many bytes were set aside in all.
fn cut_everywhere(script: &Script, promise: Promise, images: u64) -> usize {
    let mut set_aside = 0;
    for ops in 0..=script.disk.op_count() {
        for image_number in 0..images {
            let seed = ops as u64 * images + image_number;
            let image = script.disk.power_cut(ops, seed);
            match judge(script, &image, ops, promise, seed) {
                Ok(bytes) => set_aside += bytes,
                Err(what) => panic!(
                    "after {ops} changes ({:?}), {:?}, seed {seed}: {what}\n{:#?}",
                    script.disk.ops().get(ops.saturating_sub(1)),
                    script.options,
                    script.disk.power_cut(ops, seed).contents().keys(),
                ),
            }
        }
    }
    set_aside
}
