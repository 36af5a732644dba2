//! Files that ZODB 6.4 has made (`data/make.py`), and what its own iterator finds in them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::support;
use bytes::Bytes;
use datafs::{Magic, Reader, extension};

const NAMES: [&str; 4] = ["undos", "random", "packed", "python2"];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    if text.is_empty() { "-".to_owned() } else { text }
}

fn listing(path: &Path) -> String {
    let mut text = String::new();
    for (transaction, records) in support::rest(&mut Reader::open(path).unwrap()).unwrap() {
        let status = transaction.status.to_byte();
        let texts = [&transaction.user, &transaction.description, &transaction.extension];
        let [user, description, extension] = texts.map(|text| hex(text));
        let tid = transaction.tid;
        writeln!(text, "transaction {tid} {status:02x} {user} {description} {extension}").unwrap();
        for record in records {
            let data = record.data.as_deref().map_or_else(|| "-".to_owned(), hex);
            let origin = record.origin.map_or_else(|| "-".to_owned(), |origin| origin.to_string());
            writeln!(text, "record {} {data} {origin}", record.oid).unwrap();
        }
    }
    text
}

#[test]
fn the_reader_finds_what_zodb_finds() {
    for name in NAMES {
        let wanted = std::fs::read_to_string(data(&format!("{name}.txt"))).unwrap();
        assert_eq!(listing(&data(&format!("{name}.fs"))), wanted, "{name}");
    }
}

#[test]
fn what_is_read_is_written_as_zodb_wrote_it() {
    for name in NAMES {
        let path = data(&format!("{name}.fs"));
        assert!(support::rewritten(&path) == std::fs::read(&path).unwrap(), "{name}");
    }
}

/// Where the files have extensions, they are what today's ZODB writes, but for those of Python 2.
#[test]
fn extensions_come_back_from_messagepack() {
    let mut seen = 0;
    for name in NAMES {
        let mut reader = Reader::open(&data(&format!("{name}.fs"))).unwrap();
        let is_old = reader.magic() == Magic::Python2;
        for (transaction, _) in support::rest(&mut reader).unwrap() {
            let pickle = transaction.extension;
            let map = extension::to_msgpack(&pickle).unwrap();
            let back = Bytes::from(extension::to_pickle(&map).unwrap());
            assert_eq!(back == pickle, !is_old || pickle.is_empty(), "{name} {}", transaction.tid);
            assert_eq!(extension::to_msgpack(&back).unwrap(), map, "the same content");
            seen += usize::from(!pickle.is_empty());
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn a_reader_starts_where_it_is_told_to() {
    for name in NAMES {
        let path = data(&format!("{name}.fs"));
        let mut reader = Reader::open(&path).unwrap();
        let all = support::rest(&mut reader).unwrap();
        assert_eq!(reader.position(), reader.bytes());
        assert_eq!(reader.torn(), None);
        let (first, last) = (all[0].0.tid, all[all.len() - 1].0.tid);
        for (index, (transaction, _)) in all.iter().enumerate() {
            assert!(reader.seek_after(transaction.tid).unwrap());
            assert_eq!(support::rest(&mut reader).unwrap(), all[index + 1..], "{name}");
            // Tids of one minute have others between them.
            assert!(!reader.seek_after(transaction.tid.next()).unwrap());
            let after = reader.position();
            assert_eq!(support::rest(&mut reader).unwrap(), all[index + 1..], "{name}");
            reader.seek(after);
            assert_eq!(support::rest(&mut reader).unwrap(), all[index + 1..], "{name}");
        }
        assert!(!reader.seek_after(protocol::Tid(first.0 - 1)).unwrap());
        assert_eq!(support::rest(&mut reader).unwrap(), all);
        assert!(!reader.seek_after(last.next()).unwrap());
        assert_eq!(support::rest(&mut reader).unwrap(), []);
    }
}
