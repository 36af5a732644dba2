//! Packs: what stays, what goes, and that nobody ever sees anything wrong meanwhile.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "pack/blobs.rs"]
mod blobs;
#[path = "pack/crash.rs"]
mod crash;
#[path = "pack/faults.rs"]
mod faults;
#[path = "pack/generations.rs"]
mod generations;
#[path = "pack/history.rs"]
mod history;
#[path = "pack/races.rs"]
mod races;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use protocol::{Failure, Oid, Tid};
use storage::disk::{Disk, RealDisk};
use storage::{Completion, Kind, Location, Options, Storage, SystemClock, Which};
use testkit::{Inbox, SimDisk};

use history::History;
use support::{mapped, small};

fn pack(inbox: &Inbox, storage: &dyn Storage, before: Tid) -> Result<(), Failure> {
    match inbox.ask(|reply| storage.pack(before, reply)) {
        Completion::Packed(packed) => packed,
        other => panic!("{other:?}"),
    }
}

/// Waits for a pack that the start of the storage has begun.
fn wait_for_pack(storage: &dyn Storage) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while storage.measures().pack.is_running {
        assert!(Instant::now() < deadline, "the pack does not end");
        thread::yield_now();
    }
}

#[test]
fn what_is_current_as_of_the_time_stays_and_what_it_superseded_goes() {
    let storages = [
        support::open(&SimDisk::new(), small()).unwrap(),
        support::open(&SimDisk::new(), mapped()).unwrap(),
        support::in_memory(small()),
    ];
    for storage in storages {
        let inbox = Inbox::new();
        let history = History::make(&*storage, &inbox, 7, 90);
        history.check(&*storage, &inbox, Tid::ZERO).unwrap();
        let before = storage.extent();
        for to in [20, 50, 80].map(|number| history.tid(number)) {
            pack(&inbox, &*storage, to).unwrap();
            history.check(&*storage, &inbox, to).unwrap();
            history.check_dropped(&*storage, &inbox, to).unwrap();
            let state = storage.measures().pack;
            assert_eq!((state.is_running, state.packed_to), (false, to));
            assert!(state.records_dropped > 0 && state.bytes_freed > 0, "{state:?}");
        }
        assert!(storage.extent().bytes < before.bytes * 2 / 3, "{:?}", storage.extent());
    }
}

#[test]
fn a_packed_storage_is_the_same_after_a_restart_and_takes_commits() {
    let disk = SimDisk::new();
    let inbox = Inbox::new();
    let storage = support::open(&disk, small()).unwrap();
    let mut history = History::make(&*storage, &inbox, 8, 80);
    let to = history.tid(50);
    pack(&inbox, &*storage, to).unwrap();
    history.go_on(&*storage, &inbox, 20);
    let objects = storage.extent().objects;
    storage.close();
    drop(storage);
    let storage = support::open(&disk, small()).unwrap();
    assert_eq!(storage.extent().objects, objects);
    history.check(&*storage, &inbox, to).unwrap();
    history.check_dropped(&*storage, &inbox, to).unwrap();
    history.go_on(&*storage, &inbox, 20);
    pack(&inbox, &*storage, history.tid(110)).unwrap();
    history.check(&*storage, &inbox, history.tid(110)).unwrap();
}

#[test]
fn packs_of_nothing_of_the_future_and_of_the_past_do_no_harm() {
    for storage in [support::open(&SimDisk::new(), small()).unwrap(), support::in_memory(small())] {
        let inbox = Inbox::new();
        pack(&inbox, &*storage, Tid::MAX).unwrap();
        let history = History::make(&*storage, &inbox, 9, 30);
        let last = history.tid(29);
        for to in [Tid::MAX, history.tid(3), Tid::ZERO, Tid::MAX] {
            pack(&inbox, &*storage, to).unwrap();
            history.check(&*storage, &inbox, last).unwrap();
            assert_eq!(storage.measures().pack.packed_to, last);
        }
    }
}

/// A reader that must never go back, nor see anything but what was written.
fn read_until(done: &AtomicBool, storage: &dyn Storage) {
    let inbox = Inbox::new();
    let mut last = [0_u64; OBJECTS as usize];
    while !done.load(Ordering::Relaxed) {
        for oid in (0..OBJECTS).rev() {
            let last = &mut last[oid as usize];
            match inbox.load(storage, Oid(oid), Which::Before(Tid::MAX)) {
                Ok(loaded) => {
                    let data = loaded.unwrap().data;
                    let (of, round) = std::str::from_utf8(&data).unwrap().split_once(' ').unwrap();
                    let round: u64 = round.trim_end_matches('.').parse().unwrap();
                    assert_eq!(of.parse(), Ok(oid));
                    assert!(round >= *last, "object {oid} went back from {last} to {round}");
                    *last = round;
                }
                Err(Failure::UnknownOid(_)) if *last == 0 => (),
                Err(failure) => panic!("object {oid}: {failure}"),
            }
        }
    }
}

const OBJECTS: u64 = 16;

#[test]
fn readers_and_committers_go_on_beside_packs() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location { kind: Kind::File(folder.path().join("data")), blobs: None };
    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    let cached = Options { cache_bytes: 1 << 20, ..mapped() };
    for storage in [
        support::open(&SimDisk::new(), small()).unwrap(),
        storage::open(&location, cached, &real, Arc::new(SystemClock)).unwrap(),
        support::in_memory(small()),
    ] {
        go_on_beside_packs(&*storage);
    }
}

fn go_on_beside_packs(storage: &dyn Storage) {
    let (done, packs) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let readers = [(); 2].map(|()| scope.spawn(|| read_until(&done, storage)));
        let packer = scope.spawn(|| {
            let inbox = Inbox::new();
            while !done.load(Ordering::Relaxed) {
                pack(&inbox, storage, Tid::MAX).unwrap();
                packs.fetch_add(1, Ordering::Relaxed);
            }
        });
        let inbox = Inbox::new();
        let mut serials = [Tid::ZERO; OBJECTS as usize];
        let mut round = 0;
        while round < 150 || packs.load(Ordering::Relaxed) < 3 {
            round += 1;
            for oid in 0..OBJECTS {
                let data = format!("{oid} {round}{}", ".".repeat(100));
                let record = (Oid(oid), serials[oid as usize], data.as_bytes());
                serials[oid as usize] = inbox.commit(storage, &[record]).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        packer.join().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    pack(&Inbox::new(), storage, Tid::MAX).unwrap();
    let bytes = storage.extent().bytes;
    assert!(bytes < OBJECTS * 150 * 200 / 4, "{bytes} bytes are left");
}
