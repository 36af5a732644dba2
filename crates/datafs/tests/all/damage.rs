//! Files that end too early, and files that are wrong.

use std::path::Path;

use crate::support;
use datafs::{Damage, Magic, ReadError, Reader, TornBy};
use tempfile::TempDir;

const RANDOM: &[u8] = include_bytes!("../data/random.fs");
/// Short enough to try every byte of it, and with every kind of pointer.
const UNDOS: &[u8] = include_bytes!("../data/undos.fs");

struct File {
    folder: TempDir,
    bytes: Vec<u8>,
    /// Where transactions begin, and the file ends.
    bounds: Vec<usize>,
}

impl File {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Self { folder, bytes: bytes.to_vec(), bounds: vec![] };
        let mut reader = Reader::open(&file.write(bytes)).unwrap();
        while let Some(at) = reader.next_transaction().unwrap() {
            file.bounds.push(at.offset as usize);
        }
        file.bounds.push(bytes.len());
        file
    }

    fn write(&self, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.folder.path().join("Data.fs");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// How many transactions there are, and what is behind them.
    fn read(&self, bytes: &[u8]) -> Result<(usize, Option<datafs::Torn>), ReadError> {
        let mut reader = Reader::open(&self.write(bytes))?;
        let all = support::rest(&mut reader)?;
        Ok((all.len(), reader.torn()))
    }

    /// What a change of one byte does.
    fn damaged(&self, offset: usize, to: u8) -> (u64, Damage) {
        let mut bytes = self.bytes.clone();
        assert_ne!(bytes[offset], to);
        bytes[offset] = to;
        match self.read(&bytes) {
            Err(ReadError::Damaged { offset, damage, path }) => {
                assert_eq!(path, self.folder.path().join("Data.fs"));
                (offset, damage)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_cut_anywhere_has_its_whole_transactions_and_a_torn_end() {
    let file = File::new(UNDOS);
    for end in 4..=UNDOS.len() {
        let whole = file.bounds.iter().filter(|bound| **bound <= end).count() - 1;
        let (read, torn) = file.read(&UNDOS[..end]).unwrap();
        assert_eq!(read, whole, "cut at {end}");
        match torn {
            Some(torn) => {
                assert_eq!(torn.offset as usize, file.bounds[whole]);
                assert_eq!((torn.offset + torn.bytes) as usize, end);
                assert_eq!(torn.by, TornBy::Short);
            }
            None => assert_eq!(end, file.bounds[whole]),
        }
    }
}

#[test]
fn a_transaction_that_was_never_committed_is_a_torn_end_only_at_the_end() {
    let file = File::new(RANDOM);
    let last = file.bounds[file.bounds.len() - 2];
    let mut bytes = file.bytes.clone();
    bytes[last + 16] = b'c';
    let (read, torn) = file.read(&bytes).unwrap();
    assert_eq!((read, torn.unwrap().by), (file.bounds.len() - 2, TornBy::Checkpoint));
    // What an earlier, longer attempt has left behind it changes nothing.
    bytes.extend(b"left over");
    assert_eq!(file.read(&bytes).unwrap().1.unwrap().by, TornBy::Checkpoint);
    let (offset, damage) = file.damaged(file.bounds[3] + 16, b'c');
    assert_eq!(offset as usize, file.bounds[3]);
    assert!(matches!(damage, Damage::NotLast(_)), "{damage:?}");
}

#[test]
fn zeros_at_the_end_are_a_torn_end() {
    let file = File::new(RANDOM);
    for count in [1, 22, 23, 5000, 600_000] {
        let bytes = [RANDOM, &vec![0; count]].concat();
        let torn = file.read(&bytes).unwrap().1.unwrap();
        assert_eq!((torn.offset as usize, torn.bytes as usize), (RANDOM.len(), count));
    }
    let bytes = [RANDOM, &vec![0; 600_000], b"x"].concat();
    assert!(matches!(file.read(&bytes), Err(ReadError::Damaged { .. })));
}

#[test]
fn damage_is_named_with_its_offset() {
    let file = File::new(RANDOM);
    let second = file.bounds[1];
    // The tid, whose first byte makes it smaller than the one before.
    let (offset, damage) = file.damaged(second, 0);
    assert_eq!(offset as usize, second);
    assert!(matches!(damage, Damage::TidOrder { .. }), "{damage:?}");
    // The length: beyond the end, and within the file.
    assert!(matches!(file.damaged(second + 8, 1), (_, Damage::NotLast(_))));
    let (offset, damage) = file.damaged(second + 15, RANDOM[second + 15] + 1);
    assert_eq!(offset as usize, file.bounds[2] - 8 + 1);
    assert!(matches!(damage, Damage::LengthsDiffer { .. }), "{damage:?}");
    assert_eq!(file.damaged(second + 16, b'x'), (second as u64, Damage::Status(b'x')));
    // The length of the user's name.
    let (offset, damage) = file.damaged(second + 17, 0xff);
    assert_eq!(offset as usize, second);
    assert!(matches!(damage, Damage::ShortTransaction(_)), "{damage:?}");
    // The second length.
    let end = file.bounds[2] - 1;
    assert!(matches!(file.damaged(end, RANDOM[end] + 1).1, Damage::LengthsDiffer { .. }));
}

#[test]
fn damage_of_a_record_is_named_with_its_offset() {
    let file = File::new(RANDOM);
    let second = file.bounds[1];
    let texts: usize = [17, 19, 21].iter().map(|at| usize::from(RANDOM[second + at + 1])).sum();
    let record = second + 23 + texts;
    let damage = |field: usize, to: u8| {
        let (offset, damage) = file.damaged(record + field, to);
        assert_eq!(offset as usize, record, "{damage:?}");
        damage
    };
    assert!(matches!(damage(8, 0xff), Damage::WrongTid { .. }));
    assert!(matches!(damage(16, 0x01), Damage::PreviousPointer(_)));
    assert!(matches!(damage(24, 0x01), Damage::WrongTransaction(_)));
    assert_eq!(damage(33, 1), Damage::Version);
    assert!(matches!(damage(34, 0x01), Damage::LongRecord(_)));
}

/// Whatever one byte is changed to: an error or other content, but neither a panic nor a loop.
#[test]
fn any_byte_may_be_wrong() {
    let file = File::new(UNDOS);
    for offset in 0..UNDOS.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = file.bytes.clone();
            bytes[offset] ^= change;
            if let Ok((_, torn)) = file.read(&bytes) {
                // Wrong bytes must not make a file seem to end early, but in its last transaction.
                let last = file.bounds[file.bounds.len() - 2] as u64;
                assert!(torn.is_none_or(|torn| torn.offset >= last), "{offset} ^ {change}");
            }
        }
    }
}

#[test]
fn another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    for content in [&b""[..], b"FS", b"FS31....", b"SQLite format 3"] {
        std::fs::write(&path, content).unwrap();
        let error = Reader::open(&path).unwrap_err();
        assert!(matches!(error, ReadError::NotDataFs { .. }), "{error}");
    }
    assert!(matches!(Reader::open(Path::new("not/there")), Err(ReadError::Io { .. })));
    std::fs::write(&path, Magic::Python3.to_bytes()).unwrap();
    assert_eq!(support::rest(&mut Reader::open(&path).unwrap()).unwrap(), []);
}
