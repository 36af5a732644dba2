//! What copied transactions keep.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use bytes::Bytes;
use protocol::{Oid, Tid, TransactionRecord};
use storage::{Completion, Meta, Snapshot};
use testkit::{Inbox, SimDisk};

fn records(log: &Snapshot, from: Tid) -> Vec<TransactionRecord> {
    let mut transactions = log.transactions(from, Tid::MAX).unwrap();
    let mut found = Vec::new();
    while let Some(at) = transactions.next().unwrap() {
        while let Some(record) = transactions.next_record().unwrap() {
            assert_eq!(record.tid, at.head.tid);
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
    let log = Snapshot::open(&disk.handle(), Path::new("/data"), None).unwrap();
    assert_eq!((log.last_tid(), log.packed_to()), (Tid(200), Tid::ZERO));
    let found = records(&log, Tid::ZERO);
    let order: Vec<Oid> = found.iter().map(|record| record.oid).collect();
    assert_eq!(order, [oids, oids].concat());
    assert!(found[4..].iter().all(|record| record.origin == Some(Tid(100))));
    assert_eq!(records(&log, Tid(101)), found[4..]);
    assert_eq!(
        log.transactions(Tid(101), Tid::MAX).unwrap().next().unwrap().unwrap().head.status,
        b'p'
    );
}
