//! Each kind of damage is found, and nothing else is.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use protocol::{Oid, Tid};
use storage::disk::{Disk, Open};
use storage::snapshot::{Findings, verify};
use storage::{Kind, Location, Storage};
use testkit::{Clock, Inbox, SimDisk};

use support::{DIR, small};

const BLOBS: &str = "/blobs";

fn check(disk: &SimDisk, blobs: bool) -> Findings {
    let blobs = blobs.then_some(Path::new(BLOBS));
    verify(&disk.handle(), Path::new(DIR), blobs, 3, &|_, _| true).unwrap()
}

fn with_blobs(disk: &SimDisk) -> Arc<dyn Storage> {
    let location =
        Location { kind: Kind::File(PathBuf::from(DIR)), blobs: Some(PathBuf::from(BLOBS)) };
    storage::open(&location, small(), &disk.handle(), Clock::new()).unwrap()
}

/// Packs, and waits for it.
fn pack(inbox: &Inbox, storage: &dyn Storage, to: Tid) {
    inbox.ask(|reply| storage.pack(to, reply));
}

/// One object of blobs, packed up to its third revision, and many without.
fn blobs_and_packs(disk: &SimDisk) -> (Arc<dyn Storage>, Vec<Tid>) {
    let (storage, inbox) = (with_blobs(disk), Inbox::new());
    let mut tids = Vec::new();
    for number in 0..6u8 {
        let serial = tids.last().copied().unwrap_or(Tid::ZERO);
        tids.push(inbox.commit_blob(&*storage, Oid(7), serial, &[number; 300]).unwrap());
        let many = Oid(20 + u64::from(number));
        inbox.commit(&*storage, &[(many, Tid::ZERO, &[number; 2000])]).unwrap();
    }
    pack(&inbox, &*storage, tids[2]);
    (storage, tids)
}

#[test]
fn what_is_right_is_found_right_and_counted() {
    let (disk, model) = support::written();
    let found = check(&disk, false);
    assert_eq!(found.faults, []);
    assert_eq!((found.transactions, found.records, found.objects), (28, 56, 15));
    assert_eq!(found.last, Some(model.serial(Oid(1))));
    assert_eq!((found.bytes > 0, found.torn), (true, None));

    let disk = SimDisk::new();
    let (storage, tids) = blobs_and_packs(&disk);
    for _ in 0..2 {
        let found = check(&disk, true);
        assert_eq!((found.faults, found.blobs, found.packed_to), (vec![], 4, tids[2]));
        storage.close();
    }
}

/// Bytes that are zero may be padding, which nobody reads.
#[test]
fn a_wrong_byte_is_found_wherever_it_is() {
    let (disk, _) = support::written();
    let segments = support::segments(&disk);
    let indexes = disk.files("/data/segments", ".idx");
    assert!(indexes.len() > 1);
    let last = segments.last().unwrap().clone();
    for path in segments.iter().chain(&indexes) {
        let bytes = disk.read(path).unwrap();
        for offset in (0..bytes.len()).step_by(19).filter(|offset| bytes[*offset] != 0) {
            let copy = support::copy(&disk);
            copy.corrupt(path, offset);
            let found = check(&copy, false);
            let is_torn = *path == last && found.torn.is_some();
            assert!(!found.faults.is_empty() || is_torn, "{} {offset}", path.display());
            if is_torn {
                continue;
            }
            let fault = &found.faults[0];
            let of = path.with_extension("");
            let of = of.to_str().unwrap();
            let names_it = fault.path == *path || fault.what.contains(of);
            let is_next = fault.what.contains("continue");
            assert!(names_it || is_next, "{}: {fault:?}", path.display());
        }
    }
}

#[test]
fn checking_goes_on_after_a_fault() {
    let (disk, _) = support::written();
    let segments = support::segments(&disk);
    for path in &segments[..2] {
        let len = disk.read(path).unwrap().len();
        // A record's data in the first transaction and in a later one.
        disk.corrupt(path, 64 + 64 + 16 + 24 + 8);
        disk.corrupt(path, len / 2);
    }
    let found = check(&disk, false);
    for path in &segments[..2] {
        let faults = found.faults.iter().filter(|fault| fault.path == *path);
        assert!(faults.count() >= 2, "{:?}", found.faults);
    }
    assert!(found.transactions >= 28 - 4 && found.transactions < 28, "{found:?}");
}

#[test]
fn files_that_are_cut_lost_or_swapped_are_found() {
    let (disk, _) = support::written();
    let segments = support::segments(&disk);
    let indexes = disk.files("/data/segments", ".idx");
    let cut = support::copy(&disk);
    support::resize(&cut, &segments[0], 1000);
    assert!(check(&cut, false).faults.iter().any(|fault| fault.path == segments[0]));
    let lost = support::copy(&disk);
    lost.remove(&segments[1]).unwrap();
    assert!(check(&lost, false).faults.iter().any(|fault| fault.path == segments[1]));
    let swapped = support::copy(&disk);
    let index = disk.read(&indexes[0]).unwrap();
    let file = swapped.open(&indexes[1], Open::Truncated).unwrap();
    file.write_all_at(&[IoSlice::new(&index)], 0).unwrap();
    let found = check(&swapped, false);
    let name = indexes[1].to_str().unwrap();
    assert!(found.faults.iter().any(|fault| fault.what.contains(name)), "{:?}", found.faults);
    let packed = support::copy(&disk);
    packed.open(Path::new("/data/packed"), Open::New).unwrap();
    assert!(check(&packed, false).faults.iter().any(|fault| fault.path.ends_with("packed")));
}

/// Every transaction that is left is whole, and the ids increase: only the history says it.
#[test]
fn a_transaction_that_was_taken_out_is_missed() {
    let (disk, _) = support::written();
    let segments = support::segments(&disk);
    for path in &segments[..2] {
        let bytes = disk.read(path).unwrap();
        let after = |at: usize| {
            let total = bytes[at + 8..at + 16].try_into().unwrap();
            at + u64::from_le_bytes(total) as usize
        };
        let (second, third) = (after(64), after(after(64)));
        for (from, to) in [(64, second), (second, third)] {
            let copy = support::copy(&disk);
            support::remove_indexes(&copy);
            let file = copy.open(path, Open::Truncated).unwrap();
            let rest = [IoSlice::new(&bytes[..from]), IoSlice::new(&bytes[to..])];
            file.write_all_at(&rest, 0).unwrap();
            let found = check(&copy, false);
            let fault = &found.faults[0];
            assert_eq!((&fault.path, fault.offset), (path, Some(from as u64)), "{fault:?}");
            assert!(fault.what.contains("does not continue the history"), "{fault:?}");
        }
    }
}

#[test]
fn blobs_without_records_and_records_without_blobs_are_found() {
    let disk = SimDisk::new();
    let (storage, tids) = blobs_and_packs(&disk);
    storage.close();
    let files = disk.files("/blobs/0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x07", ".blob");
    assert_eq!(files.len(), 4);
    disk.remove(&files[1]).unwrap();
    let foreign = files[0].with_file_name("0x0100.blob");
    disk.open(&foreign, Open::New).unwrap();
    disk.open(Path::new("/blobs/.zeoxide/9.upload"), Open::New).unwrap();
    let found = check(&disk, true);
    let mut paths: Vec<_> = found.faults.iter().map(|fault| fault.path.clone()).collect();
    paths.sort();
    assert_eq!((paths, found.uploads), (vec![foreign.clone(), files[1].clone()], 1));
    assert!(found.faults.iter().any(|fault| fault.what.contains(&tids[3].to_string())));
    // A start removes this one.
    disk.open(Path::new("/blobs/.zeoxide/0000000000000007-3.intent"), Open::New).unwrap();
    assert_eq!(check(&disk, true).faults.len(), 1);
}

#[test]
fn an_interrupt_stops_it() {
    let (disk, _) = support::written();
    let found = verify(&disk.handle(), Path::new(DIR), None, 1, &|_, _| false).unwrap();
    assert!(found.interrupted && found.transactions < 28, "{found:?}");
}

/// Whatever commits, blobs and packs change meanwhile is not taken for damage.
#[test]
fn nothing_is_wrong_beside_commits_and_packs() {
    let disk = SimDisk::new();
    let storage = with_blobs(&disk);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let inbox = Inbox::new();
            let (mut serial, mut packs) = (Tid::ZERO, 0);
            for number in 0u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                serial = inbox.commit_blob(&*storage, Oid(7), serial, &[1; 50]).unwrap();
                let data = vec![1; 300];
                inbox.commit(&*storage, &[(Oid(100 + number), Tid::ZERO, &data)]).unwrap();
                if number % 10 == 9 {
                    pack(&inbox, &*storage, serial);
                    packs += 1;
                }
            }
            packs
        });
        let mut faults = Vec::new();
        let mut checked = 0;
        while checked < 40 && faults.is_empty() && !writer.is_finished() {
            faults.extend(check(&disk, true).faults);
            checked += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(faults, []);
        assert!(writer.join().unwrap() > 0);
    });
}
