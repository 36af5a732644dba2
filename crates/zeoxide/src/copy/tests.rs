//! Copies of files, stopped and damaged wherever that is possible.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Oid;
use storage::disk::{Disk, RealDisk};
use storage::{Completion, Kind, Location, Options, SystemClock};
use testkit::Inbox;

use super::*;

/// Made by ZODB: `crates/datafs/tests/data/make.py`.
const NAMES: [&str; 3] = ["undos.fs", "packed.fs", "python2.fs"];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../datafs/tests/data").join(name)
}

fn open(name: &str, to: &Path) -> (FileSource, FileSink) {
    let source = FileSource::open(&data(name)).unwrap();
    let sink = if to.exists() {
        FileSink::append(to).unwrap()
    } else {
        FileSink::create(to, source.magic()).unwrap()
    };
    (source, sink)
}

#[test]
fn a_copy_is_the_same_file() {
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("Data.fs");
        let (mut source, mut sink) = open(name, &to);
        let mut told = Vec::new();
        let copied = copy(&mut source, &mut sink, &mut |extent| {
            told.push(extent);
            true
        });
        assert!(std::fs::read(&to).unwrap() == std::fs::read(data(name)).unwrap(), "{name}");
        assert!(!copied.unwrap().interrupted);
        assert!(told.is_sorted_by_key(|extent| extent.done));
        let last = told.last().unwrap();
        assert_eq!(last.done, last.total);
    }
}

/// Wherever it stops, whole transactions are there, and the next copy makes the rest of it.
#[test]
fn an_interrupted_copy_is_resumed() {
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(data(name)).unwrap();
        for steps in 0.. {
            let to = folder.path().join(format!("{steps}.fs"));
            let (mut source, mut sink) = open(name, &to);
            let mut left = steps;
            let mut goes_on = |_| {
                left -= 1;
                left >= 0
            };
            let first = copy(&mut source, &mut sink, &mut goes_on).unwrap();
            drop(sink);
            let part = std::fs::read(&to).unwrap();
            assert!(whole.starts_with(&part), "{name} after {steps}");
            let (mut source, mut sink) = open(name, &to);
            resume(&mut source, &sink).unwrap();
            let second = copy(&mut source, &mut sink, &mut |_| true).unwrap();
            assert!(std::fs::read(&to).unwrap() == whole, "{name} after {steps}");
            if !first.interrupted {
                assert_eq!(second, Copied::default());
                break;
            }
            assert!(second.transactions > 0);
        }
    }
}

#[test]
fn what_is_no_copy_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("Data.fs");
    std::fs::copy(data("packed.fs"), &to).unwrap();
    let (mut source, sink) = open("undos.fs", &to);
    let error = resume(&mut source, &sink).unwrap_err().to_string();
    assert!(error.contains("040cb6f100000000 (2026-11-01T00:49:00"), "{error}");
    assert!(error.contains("is no copy of it"), "{error}");
}

/// What is before the damage is copied, and durable.
#[test]
fn damage_ends_a_copy_after_a_whole_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from.fs"), folder.path().join("to.fs"));
    let whole = std::fs::read(data("undos.fs")).unwrap();
    let mut bytes = whole.clone();
    // The last record's pointer to its transaction.
    let end = bytes.len() - 8;
    bytes[end - 50 + 31] ^= 1;
    std::fs::write(&from, bytes).unwrap();
    let mut source = FileSource::open(&from).unwrap();
    let mut sink = FileSink::create(&to, source.magic()).unwrap();
    let error = copy(&mut source, &mut sink, &mut |_| true).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("after 10 of its transactions"), "{error}");
    assert!(error.contains(&format!("damaged at offset {}", end - 50)), "{error}");
    assert!(whole.starts_with(&std::fs::read(&to).unwrap()));
}

/// Everything that a file has comes back out of a storage, wherever copies into it and out of it
/// stop, but the extensions of Python 2.
#[test]
fn an_interrupted_way_through_a_storage_is_resumed() {
    for name in ["undos.fs", "packed.fs"] {
        let whole = std::fs::read(data(name)).unwrap();
        for steps in [1, 2, 7, 20, 1000] {
            let folder = tempfile::tempdir().unwrap();
            let (dir, to) = (folder.path().join("dir"), folder.path().join("to.fs"));
            let import = |steps: usize| {
                let mut source = FileSource::open(&data(name)).unwrap();
                let mut sink = StoreSink::open(&dir, None, Transfer::Copy).unwrap();
                resume(&mut source, &sink).unwrap();
                let copied = copy(&mut source, &mut sink, &mut stops_after(steps)).unwrap();
                sink.close().unwrap();
                copied.interrupted
            };
            let export = |steps: usize| {
                let mut source = StoreSource::open(&dir, None).unwrap();
                let mut sink = if to.exists() {
                    FileSink::append(&to).unwrap()
                } else {
                    FileSink::create(&to, datafs::Magic::Python3).unwrap()
                };
                resume(&mut source, &sink).unwrap();
                copy(&mut source, &mut sink, &mut stops_after(steps)).unwrap().interrupted
            };
            assert_eq!(import(steps), steps < 1000);
            export(usize::MAX);
            assert!(whole.starts_with(&std::fs::read(&to).unwrap()), "{name} after {steps}");
            assert!(!import(usize::MAX));
            export(steps);
            assert!(!export(usize::MAX));
            assert!(std::fs::read(&to).unwrap() == whole, "{name} after {steps}");
            let mut original = FileSource::open(&data(name)).unwrap();
            let mut stored = StoreSource::open(&dir, None).unwrap();
            let compared = compare(&mut original, &mut stored, &mut |_| true).unwrap();
            assert_eq!(compared.difference, None);
            assert_eq!(compared.extensions, Extensions::default());
        }
    }
}

#[test]
fn what_becomes_of_extensions_is_told() {
    let mut extensions = Extensions::default();
    let pickles: [&'static [u8]; 4] = [
        b"",
        b"\x80\x03}q\0X\x01\0\0\0aq\x01K\x02s.",
        // The same by Python 2; and an object.
        b"}q\x01U\x01aq\x02K\x02s.",
        b"cdatetime\ndate\n.",
    ];
    for (tid, extension) in (1..).zip(pickles) {
        let (mut transaction, _) = two_records(tid);
        transaction.extension = Bytes::from_static(extension);
        extensions.note(&Head { transaction, encoding: Encoding::Pickle });
    }
    let once = |tid| Changed { count: 1, first: Some(Tid(tid)) };
    assert_eq!(extensions, Extensions { recoded: once(30), lost: once(40) });
}

fn stops_after(steps: usize) -> impl FnMut(Extent) -> bool {
    let mut left = steps;
    move |_| {
        left = left.saturating_sub(1);
        left > 0
    }
}

/// A pack that removes blobs between the opening of a storage and the reading of a record takes the
/// record along; a blob that is missing otherwise ends the copy.
#[test]
fn a_copy_goes_on_beside_a_pack_that_removes_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let [dir, blobs, to] = ["dir", "blobs", "to"].map(|name| folder.path().join(name));
    let location = Location { kind: Kind::File(dir.clone()), blobs: Some(blobs.clone()) };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let storage =
        storage::open(&location, Options::default(), &disk, Arc::new(SystemClock)).unwrap();
    let (inbox, oid) = (Inbox::new(), Oid(1));
    let first = inbox.commit_blob(&*storage, oid, Tid::ZERO, b"first").unwrap();
    let begun = folder.path().join("begun");
    let mut begun = StoreSink::open(&begun, Some(&begun.join("blobs")), Transfer::Copy).unwrap();
    let open = || StoreSource::open(&dir, Some(&blobs)).unwrap();
    copy(&mut open(), &mut begun, &mut |_| true).unwrap();
    let second = inbox.commit_blob(&*storage, oid, first, b"second").unwrap();
    let (mut before, mut too) = (open(), open());
    let packed = inbox.ask(|reply| storage.pack(second, reply));
    assert!(matches!(packed, Completion::Packed(Ok(()))), "{packed:?}");
    assert!(!storage::blob_path(&blobs, oid, first).exists());
    let mut sink = StoreSink::open(&to, Some(&to.join("blobs")), Transfer::Copy).unwrap();
    let copied = copy(&mut before, &mut sink, &mut |_| true).unwrap();
    sink.close().unwrap();
    assert_eq!((copied.transactions, copied.blobs, before.packed_away), (2, 1, 1));
    let blob = storage::blob_path(&to.join("blobs"), oid, second);
    assert_eq!(std::fs::read(blob).unwrap(), b"second");
    // A copy that has the record is still one of this storage.
    resume(&mut too, &begun).unwrap();
    let copied = copy(&mut too, &mut begun, &mut |_| true).unwrap();
    begun.close().unwrap();
    assert_eq!((copied.transactions, too.packed_away), (1, 0));

    std::fs::remove_file(storage::blob_path(&blobs, oid, second)).unwrap();
    let mut damaged = open();
    let again = folder.path().join("again");
    let mut sink = StoreSink::open(&again, Some(&again.join("blobs")), Transfer::Copy).unwrap();
    let error = copy(&mut damaged, &mut sink, &mut |_| true).unwrap_err();
    assert!(format!("{error:#}").contains("is missing, the blob of object"), "{error:#}");
}

/// One thing differs from the original in each copy.
#[test]
fn a_comparison_finds_every_difference() {
    type Change = fn(&mut Vec<(Transaction, Vec<Record>)>);
    let changes: [(Change, &str); 9] = [
        (|all| all.truncate(2), "is missing"),
        (|all| all[2].0.tid.0 += 1, "is in the place of transaction"),
        (|all| all[1].0.status = Status::Packed, "another status"),
        (|all| all[1].0.user = "x".into(), "another user"),
        (|all| all[1].0.description = "x".into(), "another description"),
        (
            |all| all[1].0.extension = Bytes::from_static(b"\x80\x03}q\0X\x01\0\0\0aq\x01K\x02s."),
            "another extension",
        ),
        (|all| all[2].1[0].data = Some("x".into()), "has other data"),
        (|all| all[2].1[0].oid.0 += 1, "is not in its place"),
        (|all| all[1].1.clear(), "is missing"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, all: &[(Transaction, Vec<Record>)]| {
        let path = folder.path().join(name);
        let mut sink = FileSink::create(&path, datafs::Magic::Python3).unwrap();
        for (transaction, records) in all {
            let transaction = transaction.clone();
            sink.begin(&Head { transaction, encoding: Encoding::Pickle }).unwrap();
            records.iter().for_each(|record| sink.record(record, None).unwrap());
            sink.finish().unwrap();
        }
        sink.sync().unwrap();
        FileSource::open(&path).unwrap()
    };
    let original: Vec<_> = (1..=3).map(two_records).collect();
    write("original.fs", &original);
    let open = || FileSource::open(&folder.path().join("original.fs")).unwrap();
    let difference =
        |copy: &mut FileSource| compare(&mut open(), copy, &mut |_| true).unwrap().difference;
    assert_eq!(difference(&mut open()), None);
    for (number, (change, wanted)) in changes.into_iter().enumerate() {
        let mut all = original.clone();
        change(&mut all);
        let found = difference(&mut write(&format!("{number}.fs"), &all));
        assert!(found.as_ref().is_some_and(|found| found.contains(wanted)), "{wanted}: {found:?}");
    }
    let mut unlinked = original.clone();
    unlinked[1].1[0].linked = false;
    let compared =
        compare(&mut open(), &mut write("unlinked.fs", &unlinked), &mut |_| true).unwrap();
    assert_eq!(compared.difference, None);
    assert_eq!(compared.relinked, Changed { count: 1, first: Some(Tid(20)) });
    let mut more = original.clone();
    more.push(two_records(4));
    let found = difference(&mut write("more.fs", &more)).unwrap();
    assert!(found.contains("is too many"), "{found}");
}

/// A transaction of two objects.
fn two_records(tid: u64) -> (Transaction, Vec<Record>) {
    let transaction = Transaction {
        tid: Tid(tid * 10),
        status: Status::Complete,
        user: "user".into(),
        description: Bytes::new(),
        extension: Bytes::new(),
    };
    let record = |oid| Record {
        oid: Oid(oid),
        data: Some(format!("{oid} at {tid}").into()),
        origin: None,
        linked: true,
    };
    (transaction, vec![record(2), record(1)])
}
