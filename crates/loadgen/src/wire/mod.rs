//! A connection's protocol: operations in, bytes out; bytes in, what came of them.
//!
//! `session` speaks the protocols of zeoxide and ZEO, `redis` and `memcached` those of the
//! key-value servers that are measured beside, `echo` that of the floor.

mod echo;
mod memcached;
mod redis;
mod session;

use std::collections::VecDeque;

use anyhow::bail;
use bytes::{Bytes, BytesMut};
use codecs::{Dialect, WithCodec};
use protocol::{Codec, Oid};

use crate::sizes::Sizes;

pub(crate) use echo::{REPLY_HEAD_BYTES, parse_request};

/// One connection's state, without its socket.
///
/// Operations may be asked for as soon as [`Self::is_open`]; loads may be pipelined, commits not.
pub(crate) trait Wire: Send {
    /// Whether operations are taken; until then input is only the handshake's.
    fn is_open(&self) -> bool;

    /// Asks for the current revision of an object; gives the ticket of the answer.
    fn load(&mut self, oid: Oid) -> anyhow::Result<u64>;

    /// Writes the next revision of objects in one transaction, each of its length. Conflicts are
    /// resolved by loading what is current and trying again.
    fn commit(&mut self, oids: &[Oid], sizes: Sizes) -> anyhow::Result<()>;

    /// Votes on an object and then does nothing: for who wants to stall.
    fn vote(&mut self, oid: Oid, sizes: Sizes) -> anyhow::Result<()>;

    /// Writes the next revision of an object with a blob of so many bytes.
    fn store_blob(&mut self, _: Oid, _: Sizes, _: usize) -> anyhow::Result<()> {
        bail!("a key-value server has no blobs")
    }

    /// Asks for the current revision of an object and then for its blob.
    fn load_blob(&mut self, _: Oid) -> anyhow::Result<()> {
        bail!("a key-value server has no blobs")
    }

    /// Asks for a pack of all that is not current.
    fn pack(&mut self) -> anyhow::Result<()> {
        bail!("a key-value server does not pack")
    }

    /// What is found at the front of the input; `None`: no whole message.
    fn handle_input(&mut self, input: &mut BytesMut) -> anyhow::Result<Option<Event>>;

    /// Exchanges the bytes to be written for an old buffer; `false`: there are none.
    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool;

    /// The number of the revision of `oid` that this connection has written last; 0 if none.
    fn revision(&self, oid: Oid) -> u64;
}

/// What a connection hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing to tell: a step of the handshake, or of a commit.
    Step,
    /// A load's answer; `None`: there is no such object.
    Loaded {
        /// As given by [`Wire::load`].
        ticket: u64,
        /// The record.
        data: Option<Bytes>,
    },
    /// The commit is durable.
    Committed,
    /// The vote is a promise.
    Voted,
    /// A blob has come, and it is right.
    BlobLoaded {
        /// How long it is.
        bytes: usize,
    },
    /// The pack is done.
    Packed,
    /// Somebody else's transaction.
    Invalidated {
        /// What it wrote.
        oids: std::sync::Arc<[Oid]>,
    },
}

/// A wire of the protocol of that name.
pub(crate) fn new(protocol: &str) -> anyhow::Result<Box<dyn Wire>> {
    let dialect = match protocol {
        "pickle" => Dialect::Pickle,
        "msgpack" => Dialect::MsgPack,
        "proto" => Dialect::Proto,
        "redis" => return Ok(Box::new(redis::Redis::default())),
        "memcached" => return Ok(Box::new(memcached::Memcached::default())),
        "echo" => return Ok(Box::new(echo::Echo::default())),
        other => bail!("no such protocol: {other}"),
    };
    Ok(codecs::dispatch(dialect, New))
}

struct New;

impl WithCodec for New {
    type Out = Box<dyn Wire>;

    fn call<C: Codec>(self) -> Box<dyn Wire> {
        Box::new(session::SessionWire::<C>::new())
    }
}

/// What the simple protocols share: answers come in the order of the questions.
#[derive(Debug, Default)]
struct InOrder {
    output: Vec<u8>,
    waiting: VecDeque<Asked>,
    asked: u64,
    revisions: std::collections::HashMap<Oid, u64>,
}

#[derive(Debug)]
enum Asked {
    Load { ticket: u64 },
    Store { oid: Oid },
}

impl InOrder {
    fn load(&mut self) -> u64 {
        self.asked += 1;
        self.waiting.push_back(Asked::Load { ticket: self.asked });
        self.asked
    }

    /// The record that a store of the one object writes.
    fn store(&mut self, oids: &[Oid], sizes: Sizes) -> anyhow::Result<(Oid, Vec<u8>)> {
        let &[oid] = oids else { bail!("a key-value server has no transactions") };
        self.waiting.push_back(Asked::Store { oid });
        let (revision, mut record) = (self.revision(oid) + 1, Vec::new());
        crate::data::append(oid, revision, sizes.bytes(oid, revision), &mut record);
        Ok((oid, record))
    }

    fn revision(&self, oid: Oid) -> u64 {
        self.revisions.get(&oid).copied().unwrap_or(0)
    }

    fn loaded(&mut self, data: Option<Bytes>) -> anyhow::Result<Event> {
        match self.waiting.pop_front() {
            Some(Asked::Load { ticket }) => Ok(Event::Loaded { ticket, data }),
            other => bail!("a record came as the answer to {other:?}"),
        }
    }

    fn stored(&mut self) -> anyhow::Result<Event> {
        match self.waiting.pop_front() {
            Some(Asked::Store { oid }) => {
                *self.revisions.entry(oid).or_default() += 1;
                Ok(Event::Committed)
            }
            other => bail!("a confirmation came as the answer to {other:?}"),
        }
    }

    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        if self.output.is_empty() {
            return false;
        }
        written.clear();
        std::mem::swap(written, &mut self.output);
        true
    }
}

/// The position of a line's end, `\r\n`, and behind it.
fn line_end(input: &[u8]) -> Option<(usize, usize)> {
    let at = input.windows(2).position(|pair| pair == b"\r\n")?;
    Some((at, at + 2))
}
