//! A storage that takes what another one has committed.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "replica/blobs.rs"]
mod blobs;
#[path = "replica/crash.rs"]
mod crash;
#[path = "replica/packed.rs"]
mod packed;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use protocol::{Failure, Oid, Tid, TransactionHead, TransactionRecord};
use storage::replica::{Digest, Feed, Incoming, Replica, Role, Step};
use storage::{Event, Meta, Snapshot, Storage, Wake, Which};
use testkit::{Inbox, SimDisk};

fn replica(storage: &Arc<dyn Storage>) -> Replica {
    storage.replica().unwrap()
}

/// Copies the next transaction; `false` at the end.
fn step(feed: &mut Feed, incoming: &mut Incoming) -> Result<bool, Failure> {
    loop {
        match feed.next()? {
            Step::Begin(head) => incoming.begin(head)?,
            Step::Record(record) => incoming.record(record)?,
            Step::End(digest) if incoming.end(digest)? => return Ok(true),
            Step::End(_) => return Err(Failure::Storage("the histories differ".to_owned())),
            Step::AtEnd => return Ok(false),
            Step::Packed => panic!("packed"),
        }
    }
}

/// Brings `to` up to date, so many transactions at a time.
fn follow(from: &Replica, to: &Replica, at_once: usize) -> Result<(), Failure> {
    let mut feed = from.feed(to.position().tid)?.unwrap();
    let mut incoming = to.incoming();
    let mut goes_on = true;
    while goes_on {
        for _ in 0..at_once {
            goes_on = goes_on && step(&mut feed, &mut incoming)?;
        }
        incoming.apply()?;
    }
    assert_eq!(from.position(), to.position());
    Ok(())
}

fn secondary(disk: &SimDisk) -> Arc<dyn Storage> {
    let storage = support::open(disk, support::small()).unwrap();
    replica(&storage).set_role(Role::Secondary).unwrap();
    storage
}

/// All that a directory has, transaction by transaction.
fn content(disk: &SimDisk) -> Vec<(TransactionHead, Vec<TransactionRecord>)> {
    let log = Snapshot::open(&disk.handle(), Path::new(support::DIR), None).unwrap();
    let mut transactions = log.transactions(Tid::ZERO, Tid::MAX).unwrap();
    let mut found = Vec::new();
    while let Some(at) = transactions.next().unwrap() {
        let mut records = Vec::new();
        while let Some(record) = transactions.next_record().unwrap() {
            records.push(record);
        }
        found.push((at.head, records));
    }
    found
}

/// Transactions of each kind, of objects from `base` on: two objects; none; a deletion that is undone;
/// one that spills, and no data.
fn write_some(storage: &dyn Storage, inbox: &Inbox, base: u64) -> Tid {
    let [one, two, three] = [1, 2, 3].map(|number| Oid(base + number));
    let first = inbox.commit(storage, &[(two, Tid::ZERO, b"two"), (one, Tid::ZERO, b"one")]);
    let first = first.unwrap();
    inbox.commit(storage, &[]).unwrap();
    let mut delete = storage.begin(support::meta());
    delete.delete(one, first).unwrap();
    inbox.vote(&mut *delete).unwrap();
    let deleted = inbox.finish(&mut *delete).unwrap();
    testkit::past::undo(storage, inbox, &[deleted]).unwrap();
    inbox.commit(storage, &[(three, Tid::ZERO, &[7; 2000]), (two, first, b"")]).unwrap()
}

#[test]
fn a_copy_is_what_it_was_made_from_and_goes_on() {
    for at_once in [1, 3, 100] {
        let (mut from_disk, mut to_disk) = (SimDisk::new(), SimDisk::new());
        let inbox = Inbox::new();
        for round in 0..3 {
            let from = support::open(&from_disk, support::small()).unwrap();
            let to = secondary(&to_disk);
            let subscriber = Inbox::new();
            let seen = to.subscribe(&subscriber.mailbox);
            let last = write_some(&*from, &inbox, 10 * round);
            follow(&replica(&from), &replica(&to), at_once).unwrap();
            let told: Vec<Tid> = (0..5).map(|_| invalidated(&subscriber)).collect();
            assert!(told.is_sorted() && told[0] > seen && told[4] == last, "{told:?}");
            assert_eq!(content(&from_disk), content(&to_disk));
            assert_eq!(content(&to_disk).len() as u64, 5 * (round + 1));
            let loaded = inbox.load(&*to, Oid(10 * round + 1), Which::Before(Tid::MAX));
            assert_eq!(loaded.unwrap().unwrap().data, "one");
            // What the primary gives out after a promotion is new.
            assert!(inbox.new_oids(&*to, 1).unwrap()[0] > Oid(10 * round + 3));
            let position = replica(&from).position();
            from.close();
            to.close();
            (from_disk, to_disk) = (support::copy(&from_disk), support::copy(&to_disk));
            for disk in [&from_disk, &to_disk] {
                let again = support::open(&support::copy(disk), support::small()).unwrap();
                assert_eq!(replica(&again).position(), position);
            }
        }
    }
}

#[test]
fn storages_in_memory_follow_and_are_followed() {
    let disk = SimDisk::new();
    let inbox = Inbox::new();
    let storages: Vec<_> = [
        support::in_memory(support::small()),
        support::open(&disk, support::small()).unwrap(),
        support::in_memory(support::small()),
    ]
    .into();
    for later in &storages[1..] {
        replica(later).set_role(Role::Secondary).unwrap();
    }
    for base in [0, 10] {
        write_some(&*storages[0], &inbox, base);
        for pair in storages.windows(2) {
            follow(&replica(&pair[0]), &replica(&pair[1]), 2).unwrap();
        }
    }
}

/// Two that have committed something else after what they had in common.
#[test]
fn different_histories_are_not_glued_together() {
    let (one, other) = (SimDisk::new(), SimDisk::new());
    let inbox = Inbox::new();
    let from = support::open(&one, support::small()).unwrap();
    let to = secondary(&other);
    let common = write_some(&*from, &inbox, 0);
    follow(&replica(&from), &replica(&to), 10).unwrap();
    replica(&to).set_role(Role::Primary).unwrap();
    let lost = inbox.commit(&*to, &[(Oid(50), Tid::ZERO, b"lost")]).unwrap();
    replica(&to).set_role(Role::Secondary).unwrap();
    let mut copied = from.begin(Meta { tid: Some(lost), ..support::meta() });
    copied.restore(Oid(50), Some("won".into()), None).unwrap();
    inbox.vote(&mut *copied).unwrap();
    inbox.finish(&mut *copied).unwrap();
    let last = inbox.commit(&*from, &[(Oid(51), Tid::ZERO, b"")]).unwrap();

    let [mine, theirs] = [&from, &to]
        .map(|storage| [common, lost, last].map(|tid| replica(storage).digest_at(tid).unwrap()));
    assert_eq!(mine[0], theirs[0]);
    assert!(mine[0].is_some_and(|digest| digest != Digest::NONE));
    assert!(mine[1].is_some() && theirs[1].is_some() && mine[1] != theirs[1]);
    assert_eq!(theirs[2], None);
    let before = content(&other);
    let failure = follow(&replica(&from), &replica(&to), 10).unwrap_err();
    assert_eq!(failure, Failure::Storage("the histories differ".to_owned()));
    assert_eq!(content(&other), before);
}

#[test]
fn a_transaction_that_differs_in_anything_has_another_digest() {
    let storage = support::in_memory(support::small());
    let replica = replica(&storage);
    replica.set_role(Role::Secondary).unwrap();
    let head = TransactionHead {
        tid: Tid(100),
        status: b' ',
        user: "user".into(),
        description: "what".into(),
        extension: Bytes::new(),
    };
    let record = TransactionRecord {
        oid: Oid(1),
        tid: Tid(100),
        data: Some("data".into()),
        origin: None,
        has_blob: false,
    };
    let source = support::in_memory(support::small());
    let inbox = Inbox::new();
    let mut transaction = source.begin(Meta { tid: Some(head.tid), ..support::meta() });
    transaction.restore(record.oid, record.data.clone(), None).unwrap();
    inbox.vote(&mut *transaction).unwrap();
    inbox.finish(&mut *transaction).unwrap();
    let digest = source.replica().unwrap().position().digest;

    let take = |head: TransactionHead, records: Vec<TransactionRecord>| {
        let mut incoming = replica.incoming();
        incoming.begin(head)?;
        records.into_iter().try_for_each(|record| incoming.record(record))?;
        incoming.end(digest)
    };
    let (one, two) = (|| head.clone(), || record.clone());
    for (head, records) in [
        (TransactionHead { tid: Tid(101), ..one() }, vec![two()]),
        (TransactionHead { status: b'p', ..one() }, vec![two()]),
        (TransactionHead { user: "use".into(), description: "rwhat".into(), ..one() }, vec![two()]),
        (TransactionHead { extension: "x".into(), ..one() }, vec![two()]),
        (one(), vec![]),
        (one(), vec![two(), two()]),
        (one(), vec![TransactionRecord { oid: Oid(2), ..two() }]),
        (one(), vec![TransactionRecord { data: None, ..two() }]),
        (one(), vec![TransactionRecord { data: Some("dat".into()), ..two() }]),
        (one(), vec![TransactionRecord { origin: Some(Tid(7)), ..two() }]),
        (one(), vec![TransactionRecord { has_blob: true, ..two() }]),
    ] {
        let taken = take(head.clone(), records.clone());
        assert_eq!(taken, Ok(false), "{head:?} {records:?}");
    }
    assert_eq!(take(one(), vec![two()]), Ok(true));
}

#[test]
fn only_who_has_the_role_changes_a_storage() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, support::small()).unwrap();
    let (replica, inbox) = (replica(&storage), Inbox::new());
    let begin = |oid| {
        let mut transaction = storage.begin(support::meta());
        transaction.store(Oid(oid), Tid::ZERO, Bytes::new()).unwrap();
        transaction
    };
    let mut voted = begin(1);
    inbox.vote(&mut *voted).unwrap();
    for role in [Role::Secondary, Role::Fenced] {
        replica.set_role(role).unwrap();
        assert_eq!(storage.role(), role);
        assert_eq!(inbox.vote(&mut *begin(2)), Err(Failure::ReadOnly));
    }
    assert_eq!(inbox.finish(&mut *voted), Err(Failure::ReadOnly));
    let source = support::in_memory(support::small());
    inbox.commit(&*source, &[(Oid(1), Tid::ZERO, b"")]).unwrap();
    let copy = || follow(&source.replica().unwrap(), &replica, 1);
    for role in [Role::Fenced, Role::Primary] {
        replica.set_role(role).unwrap();
        assert_eq!(copy(), Err(Failure::ReadOnly));
    }
    replica.set_role(Role::Secondary).unwrap();
    copy().unwrap();
    replica.set_role(Role::Primary).unwrap();
    inbox.vote(&mut *begin(2)).unwrap();
}

#[test]
fn a_watcher_is_woken_and_a_feed_goes_on() {
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let disk = SimDisk::new();
    let storage = support::open(&disk, support::small()).unwrap();
    let (replica, inbox) = (replica(&storage), Inbox::new());
    let count = Arc::new(Count::default());
    replica.watch(&(Arc::clone(&count) as Arc<dyn Wake>));
    let mut feed = replica.feed(Tid::ZERO).unwrap().unwrap();
    // Through several segments.
    for number in 0..30 {
        assert_eq!(feed.next().unwrap(), Step::AtEnd);
        let tid = inbox.commit(&*storage, &[(Oid(number), Tid::ZERO, &[1; 500])]).unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst) as u64, number + 1);
        assert!(matches!(feed.next().unwrap(), Step::Begin(head) if head.tid == tid));
        assert!(matches!(feed.next().unwrap(), Step::Record(record) if record.oid == Oid(number)));
        assert_eq!(feed.next().unwrap(), Step::End(replica.position().digest));
    }
    let _ = support::segments(&disk);
}

#[test]
fn a_note_is_kept() {
    let disk = SimDisk::new();
    for storage in
        [support::in_memory(support::small()), support::open(&disk, support::small()).unwrap()]
    {
        let replica = replica(&storage);
        assert_eq!(replica.note().unwrap(), None);
        for note in ["one", "another one"] {
            replica.set_note(note.as_bytes()).unwrap();
            assert_eq!(replica.note().unwrap().unwrap(), note.as_bytes());
        }
    }
    let again = support::open(&disk.power_cut(disk.op_count(), 1), support::small()).unwrap();
    assert_eq!(replica(&again).note().unwrap().unwrap(), b"another one");
}

/// The tid of the next invalidation.
fn invalidated(inbox: &Inbox) -> Tid {
    match inbox.next().event {
        Event::Invalidated(invalidation) => invalidation.tid,
        other => panic!("{other:?}"),
    }
}
