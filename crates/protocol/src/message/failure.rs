//! Why it could not be done.

use bytes::Bytes;

use super::TransactionId;
use crate::ids::{Oid, Tid};

/// Why a request could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No such object, no such revision, or the object was deleted by then.
    #[error("no object {0} (or no such revision)")]
    UnknownOid(Oid),
    /// Something that cannot be an id at all.
    #[error("not an id of 8 bytes: {0:?}")]
    BadId(Bytes),
    /// A write to a read-only server or connection.
    #[error("read-only")]
    ReadOnly,
    /// The request does not fit the state of the transaction.
    #[error(transparent)]
    Transaction(#[from] TransactionFault),
    /// A delete on an old revision, or a client that gave up resolving.
    #[error("database conflict error on {oid}: {given} is not the current serial {committed}")]
    Conflict {
        /// Which object.
        oid: Oid,
        /// The current serial.
        committed: Tid,
        /// The serial that the client gave.
        given: Tid,
    },
    /// A checked revision is not current any more.
    #[error("database read conflict error on {oid}: {given} is not the current serial {committed}")]
    ReadConflict {
        /// Which object.
        oid: Oid,
        /// The current serial.
        committed: Tid,
        /// The serial that the client gave.
        given: Tid,
    },
    /// The revision has no blob, or its file is missing.
    #[error("no blob of object {oid} as of {serial}")]
    UnknownBlob {
        /// Which object.
        oid: Oid,
        /// The revision's tid.
        serial: Tid,
    },
    /// A transaction cannot be undone at all.
    #[error("{0}")]
    NotUndoable(String),
    /// A transaction cannot be undone because of these objects, which changed later.
    #[error("later changes of {} objects are in the way of the undo", .0.len())]
    Undo(Vec<(Oid, String)>),
    /// No iterator of that number.
    #[error("no iterator {0}")]
    UnknownIterator(u64),
    /// An argument of the right type with a value that is none of those possible.
    #[error("{0}")]
    Value(String),
    /// No storage of that name.
    #[error("unknown storage: {0}")]
    UnknownStorage(String),
    /// Wrong number or types of arguments.
    #[error("{0}")]
    Arguments(String),
    /// The server does not offer it.
    #[error("{0}")]
    Unsupported(String),
    /// The storage could not do it (disk full, damaged, refusing writes, ...).
    #[error("{0}")]
    Storage(String),
}

/// How a request can misfit the state of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionFault {
    /// There is no such transaction on this connection.
    #[error("this connection's transaction is {current:?}, not {given:?}")]
    Wrong {
        /// The transaction that the connection has.
        current: Option<TransactionId>,
        /// The one that the request names.
        given: TransactionId,
    },
    /// It has voted.
    #[error("Already voting (locked)")]
    AlreadyVoted,
    /// Its vote still waits for locks.
    #[error("Already voting (waiting)")]
    VoteWaits,
    /// It cannot finish: it has not voted, or the vote was answered with conflicts.
    #[error("not voted")]
    NotVoted,
    /// It was aborted while its vote waited.
    #[error("aborted while the vote waited")]
    Aborted,
    /// Its tid is not above the last one.
    #[error("a copied transaction's tid must be above the last one")]
    OldTid,
}
