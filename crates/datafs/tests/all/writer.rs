//! Written files, read again.

use crate::support;
use bytes::Bytes;
use datafs::{
    Magic, RECORD_BYTES_MAX, Reader, Record, Status, Torn, TornBy, Transaction, WriteError, Writer,
};
use proptest::prelude::*;
use protocol::{Oid, Tid};

fn transaction(tid: u64) -> Transaction {
    let status = Status::Complete;
    let (user, description, extension) = Default::default();
    Transaction { tid: Tid(tid), status, user, description, extension }
}

fn record(oid: u64, data: &'static [u8]) -> Record {
    Record { oid: Oid(oid), data: Some(data.into()), origin: None, linked: true }
}

/// Transactions in which an origin, where a record has one, is the tid of a revision with its data.
fn transactions() -> impl Strategy<Value = Vec<(Transaction, Vec<Record>)>> {
    let status = prop_oneof![
        5 => Just(Status::Complete),
        1 => Just(Status::Packed),
    ];
    let text = || prop::collection::vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    // What the record is: new data of some length, deleted, or one of the revisions before.
    let record = (0..6_u64, prop_oneof![Just(None), (1..300_usize).prop_map(Some)], 0..3_usize);
    let records = prop::collection::vec(record, 0..5);
    let one = (1..1000_u64, status, text(), text(), text(), records);
    prop::collection::vec(one, 0..150).prop_map(|all| {
        let (mut tid, mut revisions) = (0, Vec::<(Tid, Record)>::new());
        let mut made = Vec::new();
        for (step, status, user, description, extension, records) in all {
            tid += step;
            let mut kept = Vec::new();
            let mut seen = Vec::new();
            for (oid, length, undo) in records {
                if seen.contains(&oid) {
                    continue;
                }
                seen.push(oid);
                let data = length.map(|length| Bytes::from(vec![tid as u8; length]));
                let mut record = Record { oid: Oid(oid), data, origin: None, linked: false };
                let mut earlier = revisions.iter().rev().filter(|(_, one)| one.oid == record.oid);
                record.linked = earlier.clone().next().is_some() && status != Status::Packed;
                if let Some((origin, one)) = earlier.nth(undo).filter(|_| undo > 0) {
                    (record.data, record.origin) = (one.data.clone(), Some(*origin));
                }
                kept.push(record);
            }
            revisions.extend(kept.iter().map(|record| (Tid(tid), record.clone())));
            let tid = Tid(tid);
            made.push((Transaction { tid, status, user, description, extension }, kept));
        }
        made
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_is_read_and_written_again(all in transactions(), split in any::<prop::sample::Index>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Data.fs");
        let split = split.index(all.len() + 1);
        let mut writer = Writer::create(&path, Magic::Python3).unwrap();
        support::write(&mut writer, &all[..split]);
        drop(writer);
        let mut writer = Writer::append(&path).unwrap();
        prop_assert_eq!(writer.last_tid(), all[..split].last().map(|(one, _)| one.tid));
        support::write(&mut writer, &all[split..]);
        drop(writer);
        let mut reader = Reader::open(&path).unwrap();
        prop_assert_eq!(&support::rest(&mut reader).unwrap(), &all);
        prop_assert!(support::rewritten(&path) == std::fs::read(&path).unwrap());
    }
}

#[test]
fn an_origin_is_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    let undone = |data, origin| Record { origin: Some(Tid(origin)), ..record(1, data) };
    let all = [
        (transaction(1), vec![record(1, b"first"), record(2, b"other")]),
        (transaction(2), vec![record(2, b"again")]),
        (transaction(3), vec![record(1, b"second")]),
        // No such transaction; one without the object; other data; right.
        (transaction(4), vec![undone(b"first", 9)]),
        (transaction(5), vec![undone(b"first", 2)]),
        (transaction(6), vec![undone(b"fiRst", 1)]),
        (transaction(7), vec![undone(b"first", 1)]),
    ];
    support::write(&mut writer, &all);
    let read = support::rest(&mut Reader::open(&path).unwrap()).unwrap();
    let records = read.iter().flat_map(|(_, records)| records).skip(4);
    let origins: Vec<_> = records.map(|record| record.origin).collect();
    assert_eq!(origins, [None, None, None, Some(Tid(1))]);
    let content: Vec<_> = read.iter().map(|(_, records)| records[0].data.clone()).collect();
    let wanted: Vec<_> = all.iter().map(|(_, records)| records[0].data.clone()).collect();
    assert_eq!(content, wanted);
}

#[test]
fn a_transaction_that_is_not_finished_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    support::write(&mut writer, &[(transaction(1), vec![record(1, b"one")])]);
    let whole = std::fs::read(&path).unwrap();
    writer.begin(&transaction(2)).unwrap();
    writer.record(&record(1, b"two")).unwrap();
    // More than the buffer holds, so that some of it is in the file.
    let large = Record { data: Some(vec![7; 3 << 20].into()), ..record(2, b"") };
    writer.record(&large).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(support::rest(&mut reader).unwrap().len(), 1);
    assert_eq!(reader.torn().unwrap().by, TornBy::Checkpoint);
    writer.abort().unwrap();
    assert!(std::fs::read(&path).unwrap() == whole);
    writer.begin(&transaction(2)).unwrap();
    writer.record(&large).unwrap();
    drop(writer);
    let mut writer = Writer::append(&path).unwrap();
    let offset = whole.len() as u64;
    assert!(matches!(writer.torn(), Some(Torn { offset: at, .. }) if at == offset));
    support::write(&mut writer, &[(transaction(2), vec![large.clone()])]);
    let read = support::rest(&mut Reader::open(&path).unwrap()).unwrap();
    assert!(read[1].1 == [Record { linked: false, ..large }]);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    support::write(&mut writer, &[(transaction(5), vec![])]);
    for tid in [4, 5] {
        let error = writer.begin(&transaction(tid)).unwrap_err();
        assert!(matches!(error, WriteError::TidOrder { .. }), "{error}");
    }
    let long = Transaction { description: vec![b'x'; 65_536].into(), ..transaction(6) };
    let error = writer.begin(&long).unwrap_err().to_string();
    assert!(error.contains("the description of transaction 0000000000000006 has 65536"), "{error}");
    writer.begin(&transaction(6)).unwrap();
    let error = writer.record(&record(1, b"")).unwrap_err();
    assert!(matches!(error, WriteError::EmptyRecord { tid: Tid(6), oid: Oid(1) }), "{error}");
    // Zeros that nobody touches take no memory.
    let huge = Bytes::from(vec![0; RECORD_BYTES_MAX as usize + 1]);
    let error = writer.record(&Record { data: Some(huge), ..record(1, b"") }).unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { .. }), "{error}");
}

#[test]
fn other_files_and_writers_are_respected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let index = folder.path().join("Data.fs.index");
    std::fs::write(&index, b"").unwrap();
    let create = || Writer::create(&path, Magic::Python3);
    assert!(matches!(create(), Err(WriteError::StaleIndex(name)) if name == index));
    std::fs::remove_file(index).unwrap();
    let writer = create().unwrap();
    assert!(matches!(create(), Err(WriteError::Exists(_))));
    assert!(matches!(Writer::append(&path), Err(WriteError::Locked(_))));
    drop(writer);
    assert!(Writer::append(&path).is_ok());
}

/// What is too large to be read is said to be, before memory is asked for.
#[test]
fn a_record_beyond_the_limit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Data.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    support::write(&mut writer, &[(transaction(1), vec![record(1, b"x")])]);
    drop(writer);
    // The same transaction with a longer record, most of which is a hole.
    let longer = RECORD_BYTES_MAX + 1;
    let bytes = 23 + 42 + longer;
    let mut content = std::fs::read(&path).unwrap();
    content.truncate(4 + 23 + 42);
    content[12..20].copy_from_slice(&bytes.to_be_bytes());
    content[4 + 23 + 34..].copy_from_slice(&longer.to_be_bytes());
    std::fs::write(&path, content).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes.to_be_bytes(), 4 + bytes).unwrap();
    let error = support::rest(&mut Reader::open(&path).unwrap()).unwrap_err();
    assert!(matches!(error, datafs::ReadError::TooLarge { offset: 27, .. }), "{error}");
}
