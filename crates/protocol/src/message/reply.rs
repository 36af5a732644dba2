//! What a server answers.

use bytes::Bytes;

use super::{Failure, Info, Status, TransactionFault};
use crate::ids::{Oid, Tid};

/// What a server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing to say but that it is done.
    Done,
    /// A tid.
    Tid(Tid),
    /// To a finish: there is no such transaction. (ZEO: `None`, read as [`Self::Done`].)
    NotFinished(TransactionFault),
    /// Of the storage.
    Info(Info),
    /// `(newest tid, oids changed up to it)`, or `None`: too long ago, drop the cache.
    Invalidations(Option<(Tid, Vec<Oid>)>),
    /// A revision, or `None`: the object is younger.
    Loaded(Option<Loaded<Bytes>>),
    /// The bytes of one revision.
    Data(Bytes),
    /// Fresh oids.
    Oids(Vec<Oid>),
    /// The vote is a promise: finish will succeed. (ZEO: an empty list.)
    Voted,
    /// The vote is a promise, and the server determined the data of these objects, by an undo. Never
    /// empty.
    Determined(Vec<Oid>),
    /// These stores were on old revisions; nothing is locked. Never empty.
    Conflicts(Vec<Conflict>),
    /// Counters.
    Status(Box<Status>),
    /// Revisions of an object, newest first.
    History(Vec<TransactionSummary>),
    /// Transactions that can be undone, newest first.
    UndoLog(Vec<TransactionSummary>),
    /// The current revision of an object.
    CurrentRecord(CurrentRecord),
    /// The number of a new iterator.
    Iterator(u64),
    /// A transaction; `None`: there is no further one.
    Transaction(Option<TransactionHead>),
    /// A record of a transaction; `None`: there is no further one.
    TransactionRecord(Option<TransactionRecord>),
    /// It could not be done.
    Failed(Failure),
}

/// A revision and the span of tids for which it is the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded<D> {
    /// The revision's bytes.
    pub data: D,
    /// The revision's tid.
    pub tid: Tid,
    /// The tid of the next revision; `None`: this one is current.
    pub end: Option<Tid>,
}

/// A transaction, in [`Reply::History`] and [`Reply::UndoLog`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionSummary {
    /// Its tid, which is also its time.
    pub tid: Tid,
    /// Bytes: of the revision in a history, of the transaction in an undo log.
    pub size: u64,
    /// Who.
    pub user: Bytes,
    /// What.
    pub description: Bytes,
    /// More, as a MessagePack map; empty for none.
    pub extension: Bytes,
}

/// A transaction as it was committed, without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHead {
    /// Its tid.
    pub tid: Tid,
    /// ZODB's status character: `b' '`, or `b'p'` for a packed transaction.
    pub status: u8,
    /// Who.
    pub user: Bytes,
    /// What.
    pub description: Bytes,
    /// More, as a MessagePack map; empty for none.
    pub extension: Bytes,
}

/// A record of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Whose revision.
    pub oid: Oid,
    /// Its tid.
    pub tid: Tid,
    /// The revision; `None`: the object was deleted, or its creation undone.
    pub data: Option<Bytes>,
    /// The tid of the revision whose data an undo brought back.
    pub origin: Option<Tid>,
    /// Whether a blob belongs to it. (ZEO does not tell: its clients look into the data.)
    pub has_blob: bool,
}

/// An object's current revision, and which object is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentRecord {
    /// Whose revision.
    pub oid: Oid,
    /// Its tid.
    pub tid: Tid,
    /// The revision.
    pub data: Bytes,
    /// The next object that has a current revision.
    pub next: Option<Oid>,
}

/// A store that a client made on a revision that is not the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Whose revision.
    pub oid: Oid,
    /// The tid of the current revision.
    pub committed: Tid,
    /// The serial that the client gave.
    pub given: Tid,
    /// The bytes that the client sent.
    pub data: Bytes,
}
