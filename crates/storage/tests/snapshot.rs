//! Reads storages that others have open, write and pack.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use protocol::{Oid, Tid};
use storage::disk::{Disk, RealDisk};
use storage::{Kind, Location, OpenError, Snapshot, Storage, SystemClock};
use testkit::{Inbox, SimDisk};

use support::{DIR, small};

type Records = BTreeMap<(Tid, Oid), Option<Vec<u8>>>;

/// All records of a snapshot, and how many bytes its transactions take.
fn contents(snapshot: &Snapshot) -> (Records, u64) {
    let mut found = Records::new();
    let mut transactions = snapshot.transactions(Tid::ZERO, Tid::MAX).unwrap();
    let (mut last, mut bytes) = (Tid::ZERO, 0);
    while let Some(transaction) = transactions.next().unwrap() {
        assert!(transaction.head.tid > last);
        last = transaction.head.tid;
        bytes += transaction.bytes;
        while let Some(record) = transactions.next_record().unwrap() {
            assert_eq!(record.tid, last);
            found.insert((last, record.oid), record.data.map(|data| data.to_vec()));
        }
    }
    assert_eq!(last, snapshot.last_tid());
    (found, bytes)
}

#[test]
fn a_snapshot_of_an_open_storage_changes_nothing_and_has_all_of_it() {
    let (disk, model) = support::written();
    let storage = support::open(&disk, small()).unwrap();
    let before = (disk.contents(), disk.op_count());
    let snapshot = Snapshot::open(&disk.handle(), Path::new(DIR), None).unwrap();
    let (found, bytes) = contents(&snapshot);
    assert!((disk.contents(), disk.op_count()) == before);
    assert_eq!(snapshot.last_tid(), model.serial(Oid(1)));
    assert_eq!((snapshot.packed_to(), snapshot.torn()), (Tid::ZERO, None));
    assert!(bytes <= snapshot.bytes() && snapshot.bytes() == storage.extent().bytes);
    assert_eq!(found.len(), 2 * 28);
    for oid in [Oid(1), Oid(113)] {
        let newest = found.keys().filter(|(_, one)| *one == oid).map(|(tid, _)| *tid).max();
        assert_eq!(newest, Some(model.serial(oid)));
    }
    let tids: Vec<Tid> = found.keys().map(|(tid, _)| *tid).step_by(2).collect();
    assert_eq!(snapshot.from_end(3).unwrap(), Some(tids[tids.len() - 3]));
    assert_eq!(snapshot.from_end(1000).unwrap(), Some(tids[0]));
    assert_eq!(snapshot.from_end(0).unwrap(), None);
    let mut some = snapshot.transactions(tids[5], tids[7]).unwrap();
    let mut next = || some.next().unwrap().map(|transaction| transaction.head.tid);
    assert_eq!(
        [next(), next(), next(), next()],
        [Some(tids[5]), Some(tids[6]), Some(tids[7]), None]
    );
}

#[test]
fn a_directory_without_a_storage_has_no_snapshot() {
    let disk = SimDisk::new();
    let open = |dir: &str| Snapshot::open(&disk.handle(), Path::new(dir), None);
    assert!(matches!(open("/nothing"), Err(OpenError::Missing(path)) if path.ends_with("format")));
    disk.create_dir(Path::new("/other/things")).unwrap();
    assert!(matches!(open("/other"), Err(OpenError::Foreign(_))));
}

#[test]
fn a_torn_end_is_told_and_the_rest_is_there() {
    let (disk, _) = support::written();
    let whole = Snapshot::open(&disk.handle(), Path::new(DIR), None).unwrap();
    let last = support::segments(&disk).pop().unwrap();
    let len = disk.read(&last).unwrap().len();
    support::resize(&disk, &last, len + 100);
    let snapshot = Snapshot::open(&disk.handle(), Path::new(DIR), None).unwrap();
    let torn = snapshot.torn().unwrap();
    assert_eq!((&torn.path, torn.offset), (&last, len as u64));
    assert_eq!(contents(&snapshot), contents(&whole));
}

/// What the writer's transactions have stored, when they were answered.
type Committed = BTreeMap<(Tid, Oid), Vec<u8>>;

/// Commits and packs as fast as it goes, until it is told to stop.
fn write(storage: &dyn Storage, newest: &AtomicU64, stop: &AtomicBool) -> Committed {
    let inbox = Inbox::new();
    let mut committed = Committed::new();
    let mut serials = BTreeMap::new();
    let mut pack = None;
    for number in 0u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let oid = Oid(number * 7 % 13);
        let data = vec![number as u8; 100 + (number % 400) as usize];
        let serial = serials.get(&oid).copied().unwrap_or(Tid::ZERO);
        let tid = inbox.commit(storage, &[(oid, serial, &data[..])]).unwrap();
        serials.insert(oid, tid);
        committed.insert((tid, oid), data);
        newest.store(tid.0, Ordering::Release);
        if pack.is_some_and(|ticket| inbox.try_answer(ticket).is_some()) {
            pack = None;
        }
        if pack.is_none() && number % 40 == 39 {
            let reply = inbox.reply_to();
            pack = Some(reply.ticket);
            // Some revisions that were superseded stay.
            let to = committed.keys().rev().nth(15).map_or(tid, |(tid, _)| *tid);
            storage.pack(to, reply);
        }
    }
    committed
}

/// A snapshot has what was answered before it, nothing else, and lacks only what a pack may drop.
fn snapshots_beside_a_writer(disk: &Arc<dyn Disk>, dir: &Path, count: usize) {
    let location = Location { kind: Kind::File(dir.to_owned()), blobs: None };
    let storage = storage::open(&location, small(), disk, Arc::new(SystemClock)).unwrap();
    let (newest, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (committed, snapshots) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(&*storage, &newest, &stop));
        let mut snapshots = Vec::new();
        let mut packed = 0;
        while (snapshots.len() < count || packed < 3) && !writer.is_finished() {
            let answered = Tid(newest.load(Ordering::Acquire));
            let snapshot = Snapshot::open(disk, dir, None);
            let taken = snapshot.map(|snapshot| (answered, contents(&snapshot).0, snapshot));
            if taken.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let (answered, found, snapshot) = taken.unwrap();
            let is_new = |(_, _, last): &(_, _, Snapshot)| last.packed_to() < snapshot.packed_to();
            packed += usize::from(snapshots.last().is_some_and(is_new));
            snapshots.push((answered, found, snapshot));
        }
        stop.store(true, Ordering::Relaxed);
        (writer.join().unwrap(), snapshots)
    });
    for (answered, found, snapshot) in snapshots {
        let (last, packed_to) = (snapshot.last_tid(), snapshot.packed_to());
        assert!(last >= answered);
        for (key, data) in &found {
            assert_eq!(data.as_ref(), committed.get(key));
        }
        let mut current = BTreeMap::new();
        for (tid, oid) in committed.keys().filter(|(tid, _)| *tid <= packed_to) {
            current.insert(*oid, *tid);
        }
        let is_kept = |(tid, oid): &(Tid, Oid)| *tid > packed_to || current[oid] == *tid;
        for key in committed.keys().filter(|key| key.0 <= last && is_kept(key)) {
            assert!(found.contains_key(key), "{key:?} of {last}, packed to {packed_to}");
        }
    }
    storage.close();
}

#[test]
fn a_snapshot_beside_commits_and_packs_is_right() {
    snapshots_beside_a_writer(&SimDisk::new().handle(), Path::new(DIR), 60);
    let folder = tempfile::tempdir().unwrap();
    let real: Arc<dyn Disk> = Arc::new(RealDisk);
    snapshots_beside_a_writer(&real, &folder.path().join("data"), 60);
}
