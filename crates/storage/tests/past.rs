//! Iteration, histories, the undo log and what caches missed, beyond what `same_content` compares.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use protocol::{Failure, Oid, Tid, UndoLog, Wanted};
use storage::disk::{Disk as _, Open};
use storage::{Completion, Iterated, Kind, Location, Meta, Options, Storage};
use testkit::past::{iterate, next_record, next_transaction};
use testkit::{Clock, Inbox, Model, SimDisk, same_content};

fn commit(storage: &dyn Storage, inbox: &Inbox, oid: Oid) -> Tid {
    let serial = storage.current_tid(oid).unwrap_or(Tid::ZERO);
    inbox.commit(storage, &[(oid, serial, b"data")]).unwrap()
}

fn memory(options: Options, clock: Arc<Clock>) -> Arc<dyn Storage> {
    let location = Location { kind: Kind::Memory, blobs: None };
    storage::open(&location, options, &SimDisk::new().handle(), clock).unwrap()
}

#[test]
fn an_iteration_shows_what_was_committed_when_it_began() {
    let disk = SimDisk::new();
    let storages =
        [support::open(&disk, support::small()).unwrap(), memory(support::small(), Clock::new())];
    for storage in &storages {
        let inbox = Inbox::new();
        let tids: Vec<Tid> = (0..60).map(|n| commit(&**storage, &inbox, Oid(n % 7))).collect();
        let mut cursor = storage.iterate(Some(tids[3]), Some(tids[50]));
        let mut whole = storage.iterate(None, None);
        for tid in &tids[3..=50] {
            // Segments roll under it.
            commit(&**storage, &inbox, Oid(1));
            let Iterated { head, mut records } =
                next_transaction(&**storage, &inbox, &mut cursor).unwrap().unwrap();
            assert_eq!(head.tid, *tid);
            assert!(next_record(&**storage, &inbox, &mut records).unwrap().is_some());
            assert_eq!(next_record(&**storage, &inbox, &mut records).unwrap(), None);
        }
        assert!(next_transaction(&**storage, &inbox, &mut cursor).unwrap().is_none());
        let mut count = 0;
        while next_transaction(&**storage, &inbox, &mut whole).unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, tids.len());
        let nothing = iterate(&**storage, &inbox, Some(Tid::MAX), None).unwrap();
        assert_eq!(nothing, []);
    }
    assert!(support::segments(&disk).len() > 2);
}

#[test]
fn a_transaction_comes_back_as_it_was_described() {
    let disk = SimDisk::new();
    for storage in
        [support::open(&disk, support::small()).unwrap(), memory(support::small(), Clock::new())]
    {
        let inbox = Inbox::new();
        let meta = Meta {
            user: "someone".into(),
            description: "/some/where".into(),
            extension: bytes::Bytes::from_static(b"\x81\xa1n\x07"),
            tid: None,
            status: b' ',
        };
        let mut transaction = storage.begin(meta.clone());
        transaction.store(Oid(1), Tid::ZERO, "data".into()).unwrap();
        inbox.vote(&mut *transaction).unwrap();
        let tid = inbox.finish(&mut *transaction).unwrap();
        commit(&*storage, &inbox, Oid(2));
        let (head, _) = iterate(&*storage, &inbox, Some(tid), Some(tid)).unwrap().remove(0);
        assert_eq!((&head.user, &head.description), (&meta.user, &meta.description));
        assert_eq!((&head.extension, head.status), (&meta.extension, b' '));
        let seven = || Wanted::Value(bytes::Bytes::from_static(b"\x07"));
        for (key, wanted, found) in [
            ("n", seven(), true),
            ("description", Wanted::Prefix("/some".to_owned()), true),
            ("description", Wanted::Prefix("/so".to_owned()), false),
            ("user_name", seven(), false),
        ] {
            let filter = vec![(key.to_owned(), wanted)];
            let query = UndoLog { first: 0, last: 20, filter };
            let Completion::UndoLog(Ok(log)) = inbox.ask(|reply| storage.undo_log(query, reply))
            else {
                panic!("a log");
            };
            let tids: Vec<_> = log.iter().map(|one| one.tid).collect();
            assert_eq!(tids, if found { vec![tid] } else { vec![] }, "{key}");
        }
    }
}

/// One record at a time is in memory, whatever the size of its transaction.
#[test]
fn a_transaction_of_many_records_is_streamed() {
    const RECORDS: u64 = 100_000;
    let disk = SimDisk::new();
    let options = Options { segment_bytes: 1 << 20, ..support::small() };
    let storage = support::open(&disk, options).unwrap();
    let inbox = Inbox::new();
    let mut transaction = storage.begin(support::meta());
    for oid in 0..RECORDS {
        transaction.store(Oid(oid), Tid::ZERO, oid.to_string().into()).unwrap();
    }
    inbox.vote(&mut *transaction).unwrap();
    let tid = inbox.finish(&mut *transaction).unwrap();
    let mut cursor = storage.iterate(None, None);
    let Iterated { head, mut records } =
        next_transaction(&*storage, &inbox, &mut cursor).unwrap().unwrap();
    assert_eq!(head.tid, tid);
    let mut again = records.again();
    for oid in 0..RECORDS {
        let record = next_record(&*storage, &inbox, &mut records).unwrap().unwrap();
        assert_eq!((record.oid, record.tid), (Oid(oid), tid));
        assert_eq!(record.data.unwrap(), oid.to_string());
    }
    assert_eq!(next_record(&*storage, &inbox, &mut records).unwrap(), None);
    assert_eq!(next_record(&*storage, &inbox, &mut again).unwrap().unwrap().oid, Oid(0));
}

#[test]
fn damage_is_told_and_not_read_over() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, support::small()).unwrap();
    let inbox = Inbox::new();
    for number in 0..3 {
        commit(&*storage, &inbox, Oid(number));
    }
    let path = &disk.files("/data/segments", ".log")[0];
    let bytes = disk.read(path).unwrap();
    // Of the second transaction: the header's tid, and the data.
    let header = 64 + (bytes.len() - 64) / 3;
    let mut data = bytes.windows(4).enumerate().filter(|(_, four)| four == b"data");
    for offset in [header + 16, data.nth(1).unwrap().0] {
        let file = disk.open(path, Open::Existing).unwrap();
        file.write_all_at(&[std::io::IoSlice::new(b"X")], offset as u64).unwrap();
        let found = iterate(&*storage, &inbox, None, None);
        assert!(
            matches!(&found, Err(Failure::Storage(text)) if text.contains("00000001.log")),
            "{offset}: {found:?}"
        );
        let right = &bytes[offset..=offset];
        file.write_all_at(&[std::io::IoSlice::new(right)], offset as u64).unwrap();
    }
    assert_eq!(iterate(&*storage, &inbox, None, None).unwrap().len(), 3);
}

#[test]
fn what_a_cache_missed_is_known_as_far_back_as_the_option_says() {
    let clock = Clock::new();
    let options = Options { invalidation_age: Some(100), ..support::small() };
    let storage = memory(options, Arc::clone(&clock));
    let inbox = Inbox::new();
    let first = commit(&*storage, &inbox, Oid(1));
    let mut last = first;
    for number in 0..20 {
        last = commit(&*storage, &inbox, Oid(number));
    }
    let mut deletion = storage.begin(support::meta());
    deletion.delete(Oid(5), storage.current_tid(Oid(5)).unwrap()).unwrap();
    inbox.vote(&mut *deletion).unwrap();
    let deleted = inbox.finish(&mut *deletion).unwrap();
    let later =
        |since, until| match inbox.ask(|reply| storage.invalidations_later(since, until, reply)) {
            Completion::Invalidations(oids) => oids,
            other => panic!("{other:?}"),
        };
    assert_eq!(storage.invalidations(first, last), None, "it is not in memory");
    assert_eq!(later(first, last), Some((0..20).map(Oid).collect()));
    assert_eq!(later(last, deleted), Some(vec![Oid(5)]));
    assert_eq!(later(deleted, deleted), Some(vec![]));
    clock.advance(Duration::from_secs(99));
    assert!(later(first, last).is_some());
    clock.advance(Duration::from_secs(2));
    assert_eq!(later(first, last), None, "it is too old");

    let never = memory(support::small(), Clock::new());
    let tid = commit(&*never, &inbox, Oid(1));
    let told = inbox.ask(|reply| never.invalidations_later(tid, tid, reply));
    assert!(matches!(told, Completion::Invalidations(None)), "without the option: {told:?}");
}

#[test]
fn an_empty_storage_has_no_past() {
    for storage in [
        support::open(&SimDisk::new(), support::small()).unwrap(),
        memory(support::small(), Clock::new()),
    ] {
        same_content(&*storage, &Inbox::new(), &Model::new(), &[]).unwrap();
        let inbox = Inbox::new();
        let history = inbox.ask(|reply| storage.history(Oid(1), 1, reply));
        let unknown = Failure::UnknownOid(Oid(1));
        assert!(matches!(history, Completion::History(Err(failure)) if failure == unknown));
    }
}
