//! Reading beside whoever has the lock, and what copied transactions keep.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use protocol::{Oid, Tid, TransactionRecord};
use storage::disk::{Disk, RealDisk};
use storage::{Completion, Kind, Location, LogReader, Meta, OpenError, Options, Sync};
use testkit::{Clock, Inbox, SimDisk};

fn records(log: &LogReader, from: Tid) -> Vec<TransactionRecord> {
    let mut transactions = log.transactions(from).unwrap();
    let mut found = Vec::new();
    while let Some(head) = transactions.next_transaction().unwrap() {
        while let Some(record) = transactions.next_record().unwrap() {
            assert_eq!(record.tid, head.tid);
            found.push(record);
        }
    }
    found
}

fn copied(tid: u64) -> Meta {
    Meta { tid: Some(Tid(tid)), status: b'p', ..support::meta() }
}

#[test]
fn a_copied_transaction_keeps_its_order_and_its_origins() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, support::small()).unwrap();
    let inbox = Inbox::new();
    let oids = [7, 3, 9, 1].map(Oid);
    for tid in [100, 200] {
        let mut transaction = storage.begin(copied(tid));
        for oid in oids {
            let origin = (tid == 200).then_some(Tid(100));
            transaction.restore(oid, Some(Bytes::from_static(b"data")), origin).unwrap();
        }
        inbox.vote(&mut *transaction).unwrap();
        inbox.finish(&mut *transaction).unwrap();
    }
    // The largest one is not the last.
    let new = inbox.ask(|reply| {
        if let Some(oids) = storage.new_oids(1, reply.clone()) {
            reply.send(Completion::Oids(Ok(oids)));
        }
    });
    assert!(matches!(new, Completion::Oids(Ok(new)) if new[0] > Oid(9)));
    // While it is locked.
    let log = LogReader::open(&disk.handle(), Path::new("/data")).unwrap();
    assert_eq!((log.last_tid(), log.packed_to()), (Tid(200), Tid::ZERO));
    let found = records(&log, Tid::ZERO);
    let order: Vec<Oid> = found.iter().map(|record| record.oid).collect();
    assert_eq!(order, [oids, oids].concat());
    assert!(found[4..].iter().all(|record| record.origin == Some(Tid(100))));
    assert_eq!(records(&log, Tid(101)), found[4..]);
    assert_eq!(
        log.transactions(Tid(101)).unwrap().next_transaction().unwrap().unwrap().status,
        b'p'
    );
}

#[test]
fn where_there_is_no_storage_nothing_is_made() {
    let disk = SimDisk::new();
    let error = LogReader::open(&disk.handle(), Path::new("/nothing")).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

/// Whatever is committed and packed meanwhile: a reader has all up to its last tid that is current,
/// and each revision is whole.
#[test]
fn a_reader_is_right_beside_commits_and_packs() {
    const OBJECTS: u64 = 5;
    const COMMITS: u64 = 400;
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = folder.path().join("data");
    let location = Location { kind: Kind::File(dir.clone()), blobs: None };
    let options = Options { sync: Sync::None, segment_bytes: 4 << 10, ..support::small() };
    let storage = storage::open(&location, options, &disk, Clock::new()).unwrap();
    let committed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let inbox = Inbox::new();
            for count in 0..COMMITS {
                let oid = Oid(count % OBJECTS);
                let serial = storage.current_tid(oid).unwrap_or(Tid::ZERO);
                let data = count.to_string().repeat(20);
                let tid = inbox.commit(&*storage, &[(oid, serial, data.as_bytes())]).unwrap();
                if count % 40 == 39 {
                    inbox.ask(|reply| storage.pack(tid, reply));
                }
                committed.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut last = Tid::ZERO;
        let mut reads = 0;
        // A failed commit ends this by its panic only when the scope ends, hence the other bound.
        while committed.load(Ordering::Relaxed) < COMMITS && reads < 100_000 {
            reads += 1;
            let log = LogReader::open(&disk, &dir).unwrap();
            let found = records(&log, Tid::ZERO);
            assert!(log.last_tid() >= last);
            last = log.last_tid();
            let Some(newest) = found.iter().max_by_key(|record| record.tid) else { continue };
            assert_eq!(newest.tid, last);
            // Objects take turns, so the newest revisions are of all of them.
            let number = |record: &TransactionRecord| {
                let text = String::from_utf8(record.data.clone().unwrap().to_vec()).unwrap();
                text[..text.len() / 20].parse::<u64>().unwrap()
            };
            let top = number(newest);
            for expected in top.saturating_sub(OBJECTS - 1)..=top {
                assert!(
                    found.iter().any(|record| number(record) == expected),
                    "{expected} of {top}"
                );
            }
        }
    });
    let log = LogReader::open(&disk, &dir).unwrap();
    assert!(log.packed_to() > Tid::ZERO);
    assert!(records(&log, Tid::ZERO).len() < COMMITS as usize);
    storage.close();
}
