//! The power is cut, and the disk fails, while transactions are applied.

use protocol::Tid;
use storage::replica::{Position, Role};
use testkit::{Call, Fault, Inbox, SimDisk};

use crate::{content, follow, replica, secondary, step, support, write_some};

/// Whatever a cut leaves is a beginning of the history with all that was applied, and goes on.
#[test]
fn a_power_cut_leaves_whole_batches_and_the_rest_follows() {
    let from_disk = SimDisk::new();
    let from = support::open(&from_disk, support::small()).unwrap();
    let inbox = Inbox::new();
    for base in [0, 10, 20] {
        write_some(&*from, &inbox, base);
    }
    let source = replica(&from);
    let to_disk = SimDisk::new();
    // How many changes of the disk there were when so much was applied.
    let mut applied: Vec<(usize, Position)> = Vec::new();
    {
        let to = secondary(&to_disk);
        let mut feed = source.feed(Tid::ZERO).unwrap().unwrap();
        let target = replica(&to);
        let mut incoming = target.incoming();
        let mut goes_on = true;
        while goes_on {
            for _ in 0..4 {
                goes_on = goes_on && step(&mut feed, &mut incoming).unwrap();
            }
            let position = incoming.apply().unwrap();
            applied.push((to_disk.op_count(), position));
        }
    }
    let whole = content(&from_disk);
    for ops in 0..=to_disk.op_count() {
        for seed in 0..2 {
            let left = to_disk.power_cut(ops, 2 * ops as u64 + seed);
            let to = secondary(&left);
            let target = replica(&to);
            let position = target.position();
            let promised = applied.iter().rev().find(|(count, _)| *count <= ops);
            assert!(promised.is_none_or(|(_, promised)| position.tid >= promised.tid), "{ops}");
            let there = content(&left);
            assert!(whole.starts_with(&there), "after {ops} changes");
            assert_eq!(there.last().map_or(Tid::ZERO, |(head, _)| head.tid), position.tid);
            follow(&source, &target, 5).unwrap();
            assert!(content(&left) == whole, "after {ops} changes");
        }
    }
}

/// Of a batch for which there is no space nothing is there; with space it is applied again.
#[test]
fn a_full_disk_keeps_nothing_of_a_batch() {
    let from_disk = SimDisk::new();
    let from = support::open(&from_disk, support::small()).unwrap();
    let inbox = Inbox::new();
    let first = write_some(&*from, &inbox, 0);
    let to_disk = SimDisk::new();
    let to = secondary(&to_disk);
    let (source, target) = (replica(&from), replica(&to));
    follow(&source, &target, 100).unwrap();
    write_some(&*from, &inbox, 10);
    to_disk.set_capacity_bytes(Some(to_disk.used_bytes()));
    assert!(follow(&source, &target, 100).is_err());
    assert_eq!(target.position().tid, first);
    to_disk.set_capacity_bytes(None);
    follow(&source, &target, 100).unwrap();
    assert_eq!(content(&to_disk), content(&from_disk));
}

#[test]
fn a_failed_write_keeps_nothing_of_a_batch() {
    let from = support::in_memory(support::small());
    let inbox = Inbox::new();
    write_some(&*from, &inbox, 0);
    let to_disk = SimDisk::new();
    let to = secondary(&to_disk);
    let (source, target) = (replica(&from), replica(&to));
    to_disk.inject(Fault::io(Call::Write).on(".log"));
    assert!(follow(&source, &target, 100).is_err());
    assert_eq!(target.position(), Position::default());
    to_disk.clear_faults();
    follow(&source, &target, 100).unwrap();
    assert_eq!(target.role(), Role::Secondary);
}
