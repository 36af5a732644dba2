//! A primary made up here: the order of messages, and limits.

use crate::support::RECORD_BYTES_MAX;
use bytes::BytesMut;
use md5::{Digest as _, Md5};
use protocol::frame::TooLong;
use protocol::{Oid, Tid};
use zrs::{Blob, End, Error, Event, Follower, Version};

const BLOCK_BYTES: usize = 1 << 16;

/// What a primary on Python 2 sends, to a follower that starts with `Tid(1)`.
struct Primary {
    out: BytesMut,
    checksum: Md5,
}

impl Primary {
    fn new() -> Self {
        Self { out: BytesMut::new(), checksum: Md5::new_with_prefix(Tid(1).to_bytes()) }
    }

    fn message(mut self, content: &[u8]) -> Self {
        self.out.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
        self.out.extend_from_slice(content);
        self.checksum.update(content);
        self
    }

    fn begin(self, tid: u64) -> Self {
        let tid = string(&Tid(tid).to_bytes());
        self.message(&[b"(U\x01T(", &tid[..], b"U\x01 U\x00U\x00}tt."].concat())
    }

    /// With this many blocks, if with a blob.
    fn record(self, tid: u64, blocks: Option<u64>, data: &[u8]) -> Self {
        let (oid, tid) = (string(&Oid(7).to_bytes()), string(&Tid(tid).to_bytes()));
        let kind: &[u8] = if blocks.is_some() { b"(U\x01B(" } else { b"(U\x01S(" };
        let blocks = blocks.map_or_else(String::new, |blocks| format!("L{blocks}L\n"));
        let head = [kind, &oid, &tid, b"U\x00N", blocks.as_bytes(), b"tt."].concat();
        self.message(&head).message(data)
    }

    fn commit(self) -> Self {
        let checksum = string(&self.checksum.clone().finalize());
        self.message(&[b"(U\x01C(", &checksum[..], b"tt."].concat())
    }

    fn announce(mut self, length: usize) -> Self {
        self.out.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        self
    }

    /// All events, then why there are no more.
    fn follow(mut self) -> (Vec<Event>, Result<End, Error>) {
        let mut follower = follower();
        let mut events = Vec::new();
        loop {
            match follower.poll_event(&mut self.out) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => return (events, Ok(follower.handle_end())),
                Err(error) => return (events, Err(error)),
            }
        }
    }
}

fn follower() -> Follower {
    Follower::new(Version::Zrs21, Tid(1), RECORD_BYTES_MAX)
}

/// A short string of Python 2.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&[b'U', u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn unexpected(what: &'static str, place: &'static str) -> Result<End, Error> {
    Err(Error::Unexpected { what, place })
}

#[test]
fn messages_have_their_order() {
    let new = Primary::new;
    let (events, ended) =
        new().begin(2).record(2, None, b"data").commit().begin(5).commit().follow();
    assert_eq!(ended, Ok(End::Between));
    assert_eq!(events.len(), 5);
    assert_eq!((&events[2], &events[4]), (&Event::Commit(Tid(2)), &Event::Commit(Tid(5))));

    let (within, outside) = ("within a transaction", "outside of a transaction");
    let ended = |primary: Primary| primary.follow().1;
    assert_eq!(ended(new().begin(2).begin(3)), unexpected("a transaction", within));
    assert_eq!(ended(new().record(2, None, b"")), unexpected("a record", outside));
    assert_eq!(ended(new().commit()), unexpected("a transaction's end", outside));
    let twice = new().begin(2).commit().commit();
    assert_eq!(ended(twice), unexpected("a transaction's end", outside));
    let order = |tid, last| Err(Error::TidOrder { tid: Tid(tid), last: Tid(last) });
    assert_eq!(ended(new().begin(1)), order(1, 1));
    assert_eq!(ended(new().begin(3).commit().begin(3)), order(3, 3));
    let wrong = Error::WrongTid { oid: Oid(7), tid: Tid(3), within: Tid(2) };
    assert_eq!(ended(new().begin(2).record(3, None, b"")), Err(wrong));
    assert!(matches!(ended(new().message(b"")), Err(Error::Message(_))));
}

#[test]
fn an_end_says_where() {
    let ended = |primary: Primary| primary.follow().1;
    assert_eq!(ended(Primary::new()), Ok(End::Silent));
    assert_eq!(ended(Primary::new().announce(3)), Ok(End::Between));
    assert_eq!(ended(Primary::new().begin(2)), Ok(End::Within(Tid(2))));
    assert_eq!(ended(Primary::new().begin(2).commit()), Ok(End::Between));
    let blob = Primary::new().begin(2).commit().begin(3).record(3, Some(2), b"data").message(b"1");
    assert_eq!(ended(blob), Ok(End::Within(Tid(3))));
}

#[test]
fn blobs_have_data_and_blocks_that_are_not_empty() {
    let with_blob = |blocks, data: &[u8]| Primary::new().begin(2).record(2, Some(blocks), data);
    let ended = |primary: Primary| primary.follow().1;
    assert_eq!(ended(with_blob(0, b"")), unexpected("a blob", "for a record without data"));
    assert_eq!(ended(with_blob(1, b"d").message(b"")), unexpected("an empty block", "in a blob"));
    // What comes after the last block is no block.
    assert!(matches!(
        ended(with_blob(1, b"d").message(b"1").message(b"2")),
        Err(Error::Message(_))
    ));

    let (events, ended) = with_blob(0, b"d").record(2, None, b"e").commit().follow();
    assert_eq!(ended, Ok(End::Between));
    let [
        Event::Begin(_),
        Event::Record(first),
        Event::BlobEnd,
        Event::Record(second),
        Event::Commit(_),
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((first.blob, second.blob), (Blob::Follows, Blob::None));
}

#[test]
fn a_blob_left_out_is_told() {
    let record = Primary::new().begin(2).record(2, None, b"cZODB.blob\nBlob\nq\x01.N.");
    let (events, _) = record.commit().follow();
    assert!(matches!(&events[1], Event::Record(record) if record.blob == Blob::Lost), "{events:?}");
}

/// What is too long is refused when its length has arrived.
#[test]
fn lengths_have_limits() {
    let too_long = |primary: Primary, wanted: &str, limit_bytes| {
        let announced = u32::try_from(limit_bytes + 1).unwrap();
        match primary.announce(limit_bytes + 1).follow().1 {
            Err(Error::TooLong { what, source }) => {
                assert_eq!((what, source), (wanted, TooLong { announced, limit_bytes }));
            }
            ended => panic!("{ended:?}"),
        }
    };
    let record = |blocks| {
        // Without its data.
        let mut primary = Primary::new().begin(2).record(2, blocks, b"");
        primary.out.truncate(primary.out.len() - 4);
        primary
    };
    too_long(Primary::new(), "a message", 1 << 20);
    too_long(Primary::new().begin(2), "a message", 1 << 20);
    too_long(record(None), "a record's data", RECORD_BYTES_MAX);
    too_long(record(Some(1)), "a record's data", RECORD_BYTES_MAX);
    let blob = Primary::new().begin(2).record(2, Some(1), b"data");
    too_long(blob, "a block of a blob", BLOCK_BYTES);
    // As much as fits is waited for.
    assert_eq!(record(None).announce(RECORD_BYTES_MAX).follow().1, Ok(End::Within(Tid(2))));
}

/// A blob of 64 MiB goes through with the memory of a block, whatever number of them is announced.
#[test]
fn a_huge_blob_is_never_in_memory() {
    let mut follower = follower();
    let mut input = Primary::new().begin(2).record(2, Some(u64::MAX), b"data").out;
    let (mut seen, mut fed) = (0, 0);
    let block = [vec![0, 1, 0, 0], vec![7; BLOCK_BYTES]].concat();
    // As a socket gives them.
    for piece in block.chunks(10_000).cycle() {
        while let Some(event) = follower.poll_event(&mut input).unwrap() {
            if let Event::BlobPart(part) = event {
                seen += part.len();
            }
        }
        if fed >= 1024 * block.len() {
            break;
        }
        fed += piece.len();
        input.extend_from_slice(piece);
        assert!(input.capacity() < 4 * BLOCK_BYTES, "{} bytes", input.capacity());
    }
    assert_eq!(seen, 1024 * BLOCK_BYTES);
}
