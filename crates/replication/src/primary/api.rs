//! What goes into a [`Link`], and what comes out.

use std::time::Duration;

use bytes::Bytes;
use protocol::{Oid, Tid};

use crate::epoch::{Epoch, EpochStart};
use crate::item::{Item, Position};
use crate::message::{Head, Refusal, ToPrimary, ToSecondary};
#[cfg(doc)]
use crate::primary::Link;
use crate::role::Standing;

/// What does not change about a primary's end.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This server's name, for people.
    pub node: String,
    /// Name and version of the server, for people.
    pub software: String,
    /// As [`crate::limits::ALIVE_INTERVAL`].
    pub alive_interval: Duration,
}

/// The time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Since any fixed moment, by a clock that never goes back.
    pub monotonic: Duration,
    /// Since 1970-01-01 00:00 UTC.
    pub unix: Duration,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Bytes came, a whole message or not.
    Received,
    /// A message came.
    Message(ToPrimary),
    /// What came is no message.
    Malformed(String),
    /// What [`Action::Find`] found.
    Found(Found),
    /// Same, if it cannot be served, or does not exist.
    NotFound(Refusal),
    /// What [`Action::Next`] read.
    Fed(Fed),
    /// What [`Action::ReadBlob`] read; no bytes: the blob has ended.
    BlobRead(Bytes),
    /// Same, if a pack has dropped it: before anything of it was read.
    BlobGone,
    /// Same, if it cannot be read: what is wrong.
    BlobFailed(String),
    /// There is more in the log than before.
    Appended(Head),
    /// This storage has come into another epoch.
    EpochStarts(EpochStart),
    /// The storage ends the link: it stops, say, or is fenced.
    Refuse(Refusal),
}

/// The storage that a secondary wants to follow.
#[derive(Clone, Debug)]
pub struct Found {
    /// What it is.
    pub standing: Standing,
    /// Its last transaction.
    pub position: Position,
    /// Up to where revisions may be missing in what will be read after the tid that was asked for: to be
    /// on the safe side, get ready to read first.
    pub packed_to: Tid,
    /// The digest of its transaction that was asked for; `None`: there is no such transaction.
    pub digest: Option<u64>,
}

/// What comes next in the log.
#[derive(Clone, Debug)]
pub enum Fed {
    /// A part of a transaction.
    Item(Item),
    /// Nothing yet.
    AtEnd,
    /// What follows was packed, so that it would not be whole.
    Packed,
    /// It cannot be read: what is wrong.
    Failed(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Find a storage, and the digest of its transaction `tid`: [`Event::Found`].
    Find {
        /// Its name.
        storage: String,
        /// The last transaction of the secondary.
        tid: Tid,
    },
    /// Get ready to read all transactions after a tid, those included that are durable here and not yet
    /// published.
    Feed {
        /// The tid.
        after: Tid,
    },
    /// Read the next part: [`Event::Fed`].
    Next,
    /// Read from a blob: [`Event::BlobRead`].
    ReadBlob {
        /// Whose.
        oid: Oid,
        /// Of which revision.
        tid: Tid,
        /// Where in it.
        offset: u64,
    },
    /// Send a message.
    Send(ToSecondary),
    /// Let the storage know that there is this epoch ([`Standing::hear`]), and save that. If it was
    /// a primary, it answers no commit from now on.
    Heard(Epoch),
    /// A secondary has all up to `tid` and will get the rest ([`crate::Gate::join`]).
    Joined {
        /// Its name.
        node: String,
        /// Its last synced transaction.
        tid: Tid,
    },
    /// It has synced all up to a tid ([`crate::Gate::ack`]).
    Acked(Tid),
    /// Send what is to be sent, close the connection, and forget this machine.
    End(String),
}
