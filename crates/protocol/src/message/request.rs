//! What a client may ask.

use bytes::Bytes;

use super::Failure;
#[cfg(doc)]
use super::Reply;
use crate::ids::{Oid, Tid};

/// A client's own name for its transaction; the server only compares and echoes it. ZEO's client
/// sends Python's `id()` of the transaction object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub i128);

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Choose the storage of this connection and subscribe to its invalidations.
    Register {
        /// The storage's name.
        storage: String,
        /// The client promises not to write.
        read_only: bool,
    },
    /// Sizes, name and abilities of the storage.
    Info,
    /// The newest tid that this connection has been told of.
    LastTransaction,
    /// The oids changed after `since`.
    Invalidations {
        /// The newest tid that the client's cache knows.
        since: Tid,
    },
    /// The newest revision of `oid` with a tid below `before`.
    LoadBefore {
        /// Whose revision.
        oid: Oid,
        /// Exclusive bound; [`Tid::MAX`] asks for the current revision.
        before: Tid,
    },
    /// Exactly one revision.
    LoadSerial {
        /// Whose revision.
        oid: Oid,
        /// Its tid.
        serial: Tid,
    },
    /// The tid of the current revision.
    CurrentTid {
        /// Whose revision.
        oid: Oid,
    },
    /// Fresh oids.
    NewOids {
        /// How many the client would like; a server may give fewer, never none.
        count: u32,
    },
    /// Start a transaction.
    Begin(Begin),
    /// Write a revision.
    Store {
        /// Which transaction.
        transaction: TransactionId,
        /// Whose revision.
        oid: Oid,
        /// The tid of the revision that the client changed; zero for a new object.
        serial: Tid,
        /// The revision.
        data: Bytes,
    },
    /// Delete an object (external garbage collectors do).
    Delete {
        /// Which transaction.
        transaction: TransactionId,
        /// Which object.
        oid: Oid,
        /// The tid of the revision that the client saw.
        serial: Tid,
    },
    /// The transaction is only right if this revision is still the current one.
    CheckCurrentSerial {
        /// Which transaction.
        transaction: TransactionId,
        /// Which object.
        oid: Oid,
        /// The tid of the revision that the client saw.
        serial: Tid,
    },
    /// Copy a revision from elsewhere, without conflict checks.
    Restore {
        /// Which transaction; it was begun with a tid.
        transaction: TransactionId,
        /// Whose revision.
        oid: Oid,
        /// The revision's tid: that of its transaction, or the vote fails.
        tid: Tid,
        /// The revision; `None`: the object's creation was undone.
        data: Option<Bytes>,
        /// The tid of the revision whose data an undo brought back.
        origin: Option<Tid>,
    },
    /// Undo a transaction in this one.
    Undo {
        /// Which transaction.
        transaction: TransactionId,
        /// The transaction that is undone.
        tid: Tid,
    },
    /// Begin the upload of a blob's file.
    BlobStart {
        /// Whose blob; `None` (ZEO): the connection's only upload.
        oid: Option<Oid>,
    },
    /// The next bytes of an upload.
    BlobChunk {
        /// As in [`Self::BlobStart`].
        oid: Option<Oid>,
        /// The bytes.
        data: Bytes,
    },
    /// Write a revision with the blob that was uploaded.
    BlobEnd {
        /// Which transaction.
        transaction: TransactionId,
        /// Whose revision.
        oid: Oid,
        /// As in [`Self::Store`].
        serial: Tid,
        /// The revision.
        data: Bytes,
    },
    /// Write a revision with a blob that the client has put into the shared blob directory.
    BlobShared {
        /// Which transaction.
        transaction: TransactionId,
        /// Whose revision.
        oid: Oid,
        /// As in [`Self::Store`].
        serial: Tid,
        /// The revision.
        data: Bytes,
        /// The file's name in the object's directory.
        file: String,
    },
    /// First phase of two-phase commit.
    Vote {
        /// Which transaction.
        transaction: TransactionId,
    },
    /// Second phase.
    Finish {
        /// Which transaction.
        transaction: TransactionId,
    },
    /// Forget the transaction.
    Abort {
        /// Which transaction.
        transaction: TransactionId,
    },
    /// The file of a blob, told by [`super::Push::BlobStart`] and so on before the answer.
    LoadBlob {
        /// Whose blob.
        oid: Oid,
        /// The revision's tid.
        serial: Tid,
    },
    /// The newest revisions of an object.
    History {
        /// Whose revisions.
        oid: Oid,
        /// How many at most.
        count: u32,
    },
    /// Transactions that can be undone, newest first.
    UndoLog(UndoLog),
    /// The current revision of the first object that has one at or after `oid`.
    NextRecord {
        /// `None`: from the first object on.
        oid: Option<Oid>,
    },
    /// Begin to iterate over transactions in tid order. The iterator is the connection's.
    Iterate {
        /// The first tid; `None`: the first there is.
        start: Option<Tid>,
        /// The last tid; `None`: none.
        stop: Option<Tid>,
    },
    /// The next transaction of an iterator; at the end there is none, and the iterator is gone.
    NextTransaction {
        /// As [`Reply::Iterator`] gave it.
        iterator: u64,
    },
    /// Begin to iterate over the records of the transaction that an iterator gave last.
    IterateRecords {
        /// As [`Reply::Iterator`] gave it.
        iterator: u64,
        /// The transaction's tid.
        tid: Tid,
    },
    /// The next record of an iterator over records; at the end there is none, and it is gone.
    NextTransactionRecord {
        /// As [`Reply::Iterator`] gave it.
        iterator: u64,
    },
    /// Forget iterators; those that are not there are ignored.
    EndIterators {
        /// As [`Reply::Iterator`] gave them.
        iterators: Vec<u64>,
    },
    /// Drop the revisions that were superseded before a time.
    Pack {
        /// The time, as a tid: what is current as of it is kept.
        before: Tid,
        /// The answer comes at the end, and not at once.
        wait: bool,
    },
    /// Counters of the storage.
    Status,
    /// Answered in order with everything else: a barrier.
    Ping,
    /// A name for this connection in the server's log.
    Label(String),
    /// Sent so that the connection is not idle.
    KeepAlive,
    /// A whole message whose arguments are wrong.
    Invalid {
        /// The transaction it names, if it names one.
        transaction: Option<TransactionId>,
        /// What to answer.
        failure: Failure,
    },
}

/// Which transactions [`Request::UndoLog`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoLog {
    /// How many of those that pass the filter to skip.
    pub first: u64,
    /// Up to which, exclusively.
    pub last: u64,
    /// Entries that a transaction's description must have, all of them.
    pub filter: Vec<(String, Wanted)>,
}

/// What an entry of a transaction's description must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Equal to this value, one MessagePack value; text and bytes of the same content are equal.
    Value(Bytes),
    /// A path at or below this one (Python's `ZopeUndo.Prefix`).
    Prefix(String),
}

/// How a transaction starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The client's name for it.
    pub transaction: TransactionId,
    /// Who, in bytes of the client's choice.
    pub user: Bytes,
    /// What, likewise.
    pub description: Bytes,
    /// More, as a MessagePack map; empty for none.
    pub extension: Bytes,
    /// Only when a transaction is copied from elsewhere: its tid.
    pub tid: Option<Tid>,
    /// One ASCII character of ZODB's; `b' '` for an ordinary transaction.
    pub status: u8,
}

/// Which kind of [`Reply`] a request gets when it succeeds (ZEO's replies do not say).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// [`Reply::Done`].
    Done,
    /// [`Reply::Tid`].
    Tid,
    /// [`Reply::Info`].
    Info,
    /// [`Reply::Invalidations`].
    Invalidations,
    /// [`Reply::Loaded`].
    Loaded,
    /// [`Reply::Data`].
    Data,
    /// [`Reply::Oids`].
    Oids,
    /// [`Reply::Voted`], [`Reply::Determined`] or [`Reply::Conflicts`].
    Vote,
    /// [`Reply::Status`].
    Status,
    /// [`Reply::History`].
    History,
    /// [`Reply::UndoLog`].
    UndoLog,
    /// [`Reply::CurrentRecord`].
    CurrentRecord,
    /// [`Reply::Iterator`].
    Iterator,
    /// [`Reply::Transaction`].
    Transaction,
    /// [`Reply::TransactionRecord`].
    TransactionRecord,
}

impl Request {
    /// What answers this request; `None` if it is one-way: nothing does.
    pub fn expects(&self) -> Option<Expect> {
        Some(match self {
            Self::Register { .. }
            | Self::LastTransaction
            | Self::CurrentTid { .. }
            | Self::Finish { .. } => Expect::Tid,
            Self::Info => Expect::Info,
            Self::Invalidations { .. } => Expect::Invalidations,
            Self::LoadBefore { .. } => Expect::Loaded,
            Self::LoadSerial { .. } => Expect::Data,
            Self::NewOids { .. } => Expect::Oids,
            Self::Vote { .. } => Expect::Vote,
            Self::Status => Expect::Status,
            Self::History { .. } => Expect::History,
            Self::UndoLog(_) => Expect::UndoLog,
            Self::NextRecord { .. } => Expect::CurrentRecord,
            Self::Iterate { .. } | Self::IterateRecords { .. } => Expect::Iterator,
            Self::NextTransaction { .. } => Expect::Transaction,
            Self::NextTransactionRecord { .. } => Expect::TransactionRecord,
            Self::LoadBlob { .. }
            | Self::Pack { .. }
            | Self::Abort { .. }
            | Self::Ping
            | Self::Invalid { .. } => Expect::Done,
            Self::Begin(_)
            | Self::Store { .. }
            | Self::Delete { .. }
            | Self::CheckCurrentSerial { .. }
            | Self::Restore { .. }
            | Self::Undo { .. }
            | Self::BlobStart { .. }
            | Self::BlobChunk { .. }
            | Self::BlobEnd { .. }
            | Self::BlobShared { .. }
            | Self::EndIterators { .. }
            | Self::Label(_)
            | Self::KeepAlive => return None,
        })
    }
}
