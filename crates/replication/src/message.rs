//! What the two ends of a link say to each other; `proto/replication.proto` is their form on the wire.

use std::time::Duration;

use bytes::Bytes;
use protocol::{Malformed, Oid, Tid};

use crate::epoch::{Epoch, EpochStart, History};
use crate::item::{Item, Position};

/// The version of the contract that is spoken here, and the only one so far.
pub const VERSION: u32 = 1;

/// A message of one direction.
pub trait Message: Sized {
    /// Appends the payload of its frame.
    fn encode(&self, out: &mut Vec<u8>);

    /// Data are slices of `payload`.
    fn decode(payload: Bytes) -> Result<Self, Malformed>;
}

/// From a secondary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToPrimary {
    /// The first message of a link.
    Hello(Hello),
    /// What was applied and synced.
    Ack(Ack),
    /// It is there.
    Alive,
    /// It ends the link.
    Refusal(Refusal),
}

/// From a primary, or from a secondary to its own secondaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSecondary {
    /// What the secondary lacks will come.
    Welcome(Welcome),
    /// Parts of transactions.
    Batch(Vec<Item>),
    /// The blob of the last record follows.
    BlobStart(Oid),
    /// Bytes of it.
    BlobPart(Bytes),
    /// It is whole.
    BlobEnd {
        /// Its length.
        bytes: u64,
    },
    /// There is none any more, since a pack has dropped it.
    BlobGone(Oid),
    /// What follows is of a new epoch.
    EpochStarts(EpochStart),
    /// It is there.
    Alive(Head),
    /// It ends the link, or does not begin one.
    Refusal(Refusal),
}

/// Who a secondary is and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version that it speaks.
    pub oldest_version: u32,
    /// The newest one.
    pub newest_version: u32,
    /// The storage's name on the primary.
    pub storage: String,
    /// Names the secondary among all of the storage.
    pub node: String,
    /// The epochs of what it has.
    pub history: History,
    /// Its last synced transaction.
    pub position: Position,
    /// The highest epoch that it has heard of.
    pub highest: Option<Epoch>,
    /// Whether it wants blobs.
    pub wants_blobs: bool,
    /// Name and version of the server, for people.
    pub software: String,
}

/// What a primary has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that it picked.
    pub version: u32,
    /// The epochs of what it has.
    pub history: History,
    /// Its last transaction.
    pub position: Position,
    /// Up to where revisions may be missing in what it sends.
    pub packed_to: Tid,
    /// Its name, for people.
    pub node: String,
    /// Name and version of the server, for people.
    pub software: String,
}

/// All up to `tid` is applied and synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The last such transaction.
    pub tid: Tid,
    /// The highest epoch that the secondary has heard of.
    pub highest: Option<Epoch>,
}

/// How far a primary is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Its last transaction.
    pub position: Position,
    /// Its time, since 1970-01-01 00:00 UTC, in whole microseconds.
    pub clock: Duration,
    /// Bytes of its log that it has not sent on this link, about.
    pub backlog_bytes: u64,
}

/// Why there is no link, or no longer one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// What programs go by.
    pub reason: Reason,
    /// What happened, for people.
    pub text: String,
    /// The highest epoch that the sender has heard of.
    pub highest: Option<Epoch>,
    /// With [`Reason::Diverged`]: the last transaction that both have, where that is known.
    pub common: Option<Position>,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The text says what.
    Other,
    /// There is no version that both speak.
    Version,
    /// There is no such storage, or it is not replicated.
    UnknownStorage,
    /// The secondary has transactions that the primary does not have.
    Diverged,
    /// What the secondary lacks was packed: its copy must begin from nothing.
    Packed,
    /// The epoch of one end is over, since the other one knows of a higher one.
    Fenced,
    /// The one that should send is a secondary itself, and has less than the one that asks.
    Behind,
    /// The storage stops, or cannot be read.
    CannotServe,
    /// What was received is not this contract.
    Malformed,
}

impl Refusal {
    /// Without a common transaction.
    pub fn new(reason: Reason, text: impl Into<String>, highest: Option<Epoch>) -> Self {
        Self { reason, text: text.into(), highest, common: None }
    }
}
