//! One connection to a primary.

use bytes::{Bytes, BytesMut};
use md5::{Digest as _, Md5};
use protocol::Tid;
use protocol::frame;

use crate::error::Error;
use crate::event::{Blob, Event, Record};
use crate::message::{self, Head, Message};

/// Which protocol to ask for. What is then sent is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `zrs2.0`: primaries with blobs refuse it.
    Zrs20,
    /// `zrs2.1`: every primary of zc.zrs takes it, also one without blobs. One with blobs sends them,
    /// wanted or not.
    Zrs21,
}

/// A connection to a primary: what arrives on it becomes [`Event`]s.
///
/// # Invariant
///
/// Between `Begin` and `Commit` of a transaction all events are of that one, in the order in which
/// the primary has them, and `Commit` comes only if the checksum of everything that has ever arrived
/// on this connection is that which the primary has sent. After an error there are no more events.
#[derive(Debug)]
pub struct Follower {
    version: Version,
    start: Tid,
    record_bytes_max: usize,
    state: State,
    /// The last transaction that was begun, or `start`.
    last: Tid,
    /// Of `start` and the content of all messages so far.
    checksum: Md5,
    heard: bool,
}

/// What comes next.
#[derive(Debug)]
enum State {
    /// A transaction.
    Outside,
    /// A record, or the transaction's end.
    Within,
    /// The data of this record.
    Data(Head),
    /// So many blocks of a blob.
    Blob { blocks: u64 },
    /// Nothing more.
    Failed(Error),
}

/// How a primary has ended the connection. It does so without a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was ever sent: the primary has had nothing new until it was stopped; or it does not
    /// speak this [`Version`] (one with blobs refuses `zrs2.0`); or its last transaction is older than
    /// the one to start after, so that the follower's history is not its own.
    Silent,
    /// After a whole transaction.
    Between,
    /// Within this one, which must be given up.
    Within(Tid),
}

impl Follower {
    /// Follows a primary from the first transaction after `start` on; `Tid::ZERO`: from the first
    /// one. Records of more than `record_bytes_max` bytes are an error.
    ///
    /// A primary that does not have `start` itself goes on with what is next all the same. Who wants
    /// to know that its history is the primary's starts before its own last transaction, and compares
    /// it with the first one that comes.
    pub fn new(version: Version, start: Tid, record_bytes_max: usize) -> Self {
        Self {
            version,
            start,
            record_bytes_max,
            state: State::Outside,
            last: start,
            checksum: Md5::new_with_prefix(start.to_bytes()),
            heard: false,
        }
    }

    /// What must be sent first.
    pub fn greeting(&self) -> Vec<u8> {
        let version: &[u8] = match self.version {
            Version::Zrs20 => b"zrs2.0",
            Version::Zrs21 => b"zrs2.1",
        };
        let mut out = Vec::new();
        for message in [version, &self.start.to_bytes()] {
            let fits = frame::write(&mut out, |out| out.extend_from_slice(message));
            debug_assert!(fits, "a few bytes fit");
        }
        out
    }

    /// Takes the next event off what has arrived. `None`: more must arrive.
    ///
    /// `input` then holds less than one message: at most `record_bytes_max` bytes and 4, or 1 MiB if
    /// that is more.
    pub fn poll_event(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        let event = self.next_event(input);
        if let Err(error) = &event {
            self.state = State::Failed(error.clone());
        }
        event
    }

    /// The connection has ended.
    pub fn handle_end(&self) -> End {
        match self.state {
            State::Within | State::Data(_) | State::Blob { .. } => End::Within(self.last),
            State::Outside | State::Failed(_) if self.heard => End::Between,
            State::Outside | State::Failed(_) => End::Silent,
        }
    }

    fn next_event(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Error> {
        self.heard |= !input.is_empty();
        loop {
            let (what, limit_bytes) = match &self.state {
                State::Outside | State::Within => ("a message", PICKLE_BYTES_MAX),
                State::Data(_) => ("a record's data", self.record_bytes_max),
                State::Blob { blocks: 0 } => {
                    self.state = State::Within;
                    return Ok(Some(Event::BlobEnd));
                }
                State::Blob { .. } => ("a block of a blob", BLOCK_BYTES_MAX),
                State::Failed(error) => return Err(error.clone()),
            };
            let split = frame::split(input, limit_bytes);
            let Some(message) = split.map_err(|source| Error::TooLong { what, source })? else {
                return Ok(None);
            };
            let event = self.message(&message)?;
            self.checksum.update(&message);
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn message(&mut self, message: &Bytes) -> Result<Option<Event>, Error> {
        match self.state {
            State::Data(head) => self.data(head, message).map(Some),
            State::Blob { blocks } => {
                if message.is_empty() {
                    return Err(Error::Unexpected { what: "an empty block", place: "in a blob" });
                }
                self.state = State::Blob { blocks: blocks.saturating_sub(1) };
                Ok(Some(Event::BlobPart(message.clone())))
            }
            _ => self.pickle(message),
        }
    }

    fn pickle(&mut self, message: &[u8]) -> Result<Option<Event>, Error> {
        let is_within = matches!(self.state, State::Within);
        match (message::parse(message).map_err(Error::Message)?, is_within) {
            (Message::Begin(transaction), false) => {
                let tid = transaction.tid;
                if tid <= self.last {
                    return Err(Error::TidOrder { tid, last: self.last });
                }
                self.last = tid;
                self.state = State::Within;
                Ok(Some(Event::Begin(transaction)))
            }
            (Message::Record(head), true) => {
                let Head { oid, tid, .. } = head;
                if tid != self.last {
                    return Err(Error::WrongTid { oid, tid, within: self.last });
                }
                self.state = State::Data(head);
                Ok(None)
            }
            (Message::Commit(checksum), true) => {
                if checksum[..] != self.checksum.clone().finalize()[..] {
                    return Err(Error::Checksum { tid: self.last });
                }
                self.state = State::Outside;
                Ok(Some(Event::Commit(self.last)))
            }
            (Message::Begin(_), true) => Err(unexpected("a transaction", is_within)),
            (Message::Record(_), false) => Err(unexpected("a record", is_within)),
            (Message::Commit(_), false) => Err(unexpected("a transaction's end", is_within)),
        }
    }

    fn data(&mut self, head: Head, data: &Bytes) -> Result<Event, Error> {
        let Head { oid, origin, blocks, .. } = head;
        let blob = match blocks {
            Some(_) if data.is_empty() => {
                return Err(Error::Unexpected {
                    what: "a blob",
                    place: "for a record without data",
                });
            }
            Some(_) => Blob::Follows,
            None if message::names_blob(data) => Blob::Lost,
            None => Blob::None,
        };
        self.state = blocks.map_or(State::Within, |blocks| State::Blob { blocks });
        let data = Some(data.clone()).filter(|data| !data.is_empty());
        Ok(Event::Record(Record { oid, data, origin, blob }))
    }
}

fn unexpected(what: &'static str, is_within: bool) -> Error {
    let place = if is_within { "within a transaction" } else { "outside of a transaction" };
    Error::Unexpected { what, place }
}

/// What to send now and then, so that a connection on which nothing happens is not taken for dead
/// by what is between the two ends. Not before the greeting. A primary does not answer, and never
/// sends such a thing itself: one that is gone without an end shows only by failing sends.
pub const KEEP_ALIVE: [u8; 4] = [0; 4];

/// A transaction's head has three texts of up to 64 KiB, of which Python 3 makes up to twice as much;
/// an extension that refers to its own values can become longer.
const PICKLE_BYTES_MAX: usize = 1 << 20;
/// Of a blob.
const BLOCK_BYTES_MAX: usize = 1 << 16;
