//! Copies of files, stopped and damaged wherever that is possible.

use std::path::{Path, PathBuf};

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
