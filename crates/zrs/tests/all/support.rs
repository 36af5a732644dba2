//! What the tests of this crate share.

use std::fmt::Write as _;
use std::path::Path;

use bytes::BytesMut;
use md5::{Digest as _, Md5};
use protocol::Tid;
use zrs::{Blob, End, Error, Event, Extension, Follower, Record, Status, Transaction, Version};

pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;

/// A recorded session. See `tests/record`.
pub(crate) struct Session {
    pub(crate) name: &'static str,
    pub(crate) version: Version,
    /// What zc.zrs's secondary has sent.
    pub(crate) secondary: Vec<u8>,
    /// What the primary has sent.
    pub(crate) primary: Vec<u8>,
    /// What ZODB's iterator finds, in lines.
    pub(crate) wanted: String,
}

impl Session {
    pub(crate) fn read(name: &'static str) -> Self {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let read = |ending: &str| std::fs::read(data.join(format!("{name}.{ending}"))).unwrap();
        let version = if name.contains("blobs") { Version::Zrs21 } else { Version::Zrs20 };
        let wanted = String::from_utf8(read("txt")).unwrap();
        Self { name, version, secondary: read("secondary"), primary: read("primary"), wanted }
    }

    pub(crate) fn follower(&self) -> Follower {
        let start = Tid::try_from(&self.secondary[self.secondary.len() - 8..]).unwrap();
        Follower::new(self.version, start, RECORD_BYTES_MAX)
    }
}

/// What has come of some bytes.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Of committed transactions.
    pub(crate) events: Vec<Event>,
    pub(crate) ended: Result<End, Error>,
}

/// Gives a follower bytes, so many at a time.
pub(crate) fn follow(mut follower: Follower, bytes: &[u8], at_a_time: usize) -> Outcome {
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    let mut ended = Ok(());
    for piece in bytes.chunks(at_a_time) {
        input.extend_from_slice(piece);
        while ended.is_ok() {
            match follower.poll_event(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => ended = Err(error),
            }
        }
    }
    if ended.is_err() {
        let again = follower.poll_event(&mut BytesMut::from(bytes));
        assert_eq!(again.map(|_| ()), ended, "an error is final");
    }
    let committed = events.iter().rposition(|event| matches!(event, Event::Commit(_)));
    events.truncate(committed.map_or(0, |last| last + 1));
    Outcome { events, ended: ended.map(|()| follower.handle_end()) }
}

/// Committed transactions in the lines of a session.
pub(crate) fn lines(events: &[Event]) -> String {
    let mut storage = Storage::default();
    events.iter().for_each(|event| storage.apply(event));
    storage.committed
}

/// Keeps of events what a storage would, and holds them to their order.
#[derive(Debug, Default)]
struct Storage {
    committed: String,
    transaction: Option<(Tid, String)>,
    blob: Option<Vec<u8>>,
}

impl Storage {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Begin(transaction) => {
                assert!(self.transaction.is_none(), "a transaction within one");
                self.transaction = Some((transaction.tid, transaction_line(transaction)));
            }
            Event::Record(record) => {
                assert!(self.blob.is_none(), "a record within a blob");
                self.blob = (record.blob == Blob::Follows).then(Vec::new);
                *self.lines() += &record_line(record);
            }
            Event::BlobPart(part) => {
                assert!((1..=1 << 16).contains(&part.len()), "{} bytes", part.len());
                self.blob.as_mut().expect("a blob has begun").extend_from_slice(part);
            }
            Event::BlobEnd => {
                let blob = self.blob.take().expect("a blob has begun");
                writeln!(self.lines(), "{}:{}", blob.len(), hex(&Md5::digest(&blob))).unwrap();
            }
            Event::Commit(tid) => {
                assert!(self.blob.is_none(), "an end within a blob");
                let (begun, lines) = self.transaction.take().expect("a transaction has begun");
                assert_eq!(begun, *tid);
                self.committed += &lines;
            }
        }
    }

    fn lines(&mut self) -> &mut String {
        &mut self.transaction.as_mut().expect("a transaction has begun").1
    }
}

fn transaction_line(transaction: &Transaction) -> String {
    let status = match transaction.status {
        Status::Complete => "complete",
        Status::Packed => "packed",
    };
    let extension = match &transaction.extension {
        Extension::Plain(map) => hex(map),
        Extension::LeftOut(why) => why.clone(),
    };
    let Transaction { tid, user, description, .. } = transaction;
    format!("transaction {tid} {status} {} {} {extension}\n", hex(user), hex(description))
}

/// Without its end, if that is what its blob makes.
fn record_line(record: &Record) -> String {
    let data = record.data.as_deref().map_or_else(|| "-".to_owned(), hex);
    let origin = record.origin.map_or_else(|| "-".to_owned(), |origin| origin.to_string());
    let end = match record.blob {
        Blob::None => "-\n",
        Blob::Lost => "missing\n",
        Blob::Follows => "",
    };
    format!("record {} {data} {origin} {end}", record.oid)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    if text.is_empty() { "-".to_owned() } else { text }
}
