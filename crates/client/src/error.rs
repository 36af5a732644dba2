//! Why something could not be done.

use std::io;
use std::sync::Arc;

use protocol::{Failure, Oid, Tid};

use crate::cache::{OutOfOrder, ServerBehind};
use crate::session::{RequestTooLong, SessionError};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address has no meaning, nobody listens there, or the connection broke at once.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The server closed the connection, as servers do with clients that they do not understand.
    #[error("the server closed the connection during the handshake")]
    Closed,
    /// The server speaks something else.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The storage's name is too long to be sent.
    #[error(transparent)]
    TooLong(#[from] RequestTooLong),
    /// The server does not accept the registration.
    #[error("the server refused: {0}")]
    Refused(Failure),
    /// The server answered with something else.
    #[error("the server answered {asked:?} with something else")]
    WrongReply {
        /// What was asked.
        asked: &'static str,
    },
    /// The server lost data that the cache has.
    #[error(transparent)]
    Behind(#[from] ServerBehind),
    /// Transactions were told in a wrong order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// Why a connection is no more.
#[derive(Debug, thiserror::Error)]
pub enum Disconnect {
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// This client closed it.
    #[error("the connection was closed here")]
    ClosedHere,
    /// The listener panicked, and with it the thread that read from the connection.
    #[error("the client's listener panicked")]
    ListenerPanicked,
    /// It broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The server sent nonsense.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The server told transactions in a wrong order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
}

/// Why a request was not sent, or perhaps not wholly.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// There is no connection; it has to be made anew. A transaction is over with its connection.
    #[error("not connected: {0}")]
    Disconnected(Arc<Disconnect>),
    /// It is too long.
    #[error(transparent)]
    TooLong(#[from] RequestTooLong),
}

/// Why a call has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// It was not sent, or the connection was lost before the answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// There was no answer in time. The connection is still open.
    #[error("no answer in time")]
    TimedOut,
    /// The server could not do it.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The server answered with something else, as ZEO does when a transaction is not there.
    #[error("the server answered with something else")]
    WrongReply,
}

/// Why there is no revision.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// No such object or revision, or the object was deleted by then.
    #[error("no object {0} (or no such revision)")]
    UnknownOid(Oid),
    /// The call failed.
    #[error(transparent)]
    Call(CallError),
}

/// Why a transaction does not begin.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BeginError {
    /// Another thread's transaction, on this client, took too long to end.
    #[error("the client's other transaction did not end in time")]
    Busy,
    /// The client was connected read-only.
    #[error("the client is connected read-only")]
    ReadOnly,
    /// The request could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why a vote failed for good: the transaction can only be aborted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VoteError {
    /// A revision that was checked is not current any more.
    #[error("{oid} was read as of {given}, but was changed by {committed}")]
    ReadConflict {
        /// Which object.
        oid: Oid,
        /// The current serial.
        committed: Tid,
        /// The serial that was checked.
        given: Tid,
    },
    /// A deleted object was changed meanwhile.
    #[error("{oid} was deleted as of {given}, but was changed by {committed}")]
    Conflict {
        /// Which object.
        oid: Oid,
        /// The current serial.
        committed: Tid,
        /// The serial that was given.
        given: Tid,
    },
    /// An object that was checked or deleted is not there.
    #[error("no object {0}")]
    UnknownOid(Oid),
    /// The storage or the connection is read-only.
    #[error("read-only")]
    ReadOnly,
    /// There is no such transaction, or none that can be undone.
    #[error("cannot be undone: {0}")]
    NotUndoable(String),
    /// These objects, each with the reason, keep a transaction from being undone.
    #[error("later changes of {} objects are in the way of the undo", .0.len())]
    Undo(Vec<(Oid, String)>),
    /// A blob could not be sent wholly.
    #[error("a blob was not sent wholly")]
    BlobIncomplete,
    /// The call failed.
    #[error(transparent)]
    Call(CallError),
}

/// Why a blob is not there, or only a part of it.
#[derive(Debug, thiserror::Error)]
pub enum LoadBlobError {
    /// The revision has none, or the server has lost it.
    #[error("no blob of object {oid} as of {serial}")]
    UnknownBlob {
        /// Which object.
        oid: Oid,
        /// The revision's tid.
        serial: Tid,
    },
    /// It could not be written to where the caller wants it.
    #[error("cannot write the blob: {0}")]
    Write(#[source] io::Error),
    /// The call failed.
    #[error(transparent)]
    Call(CallError),
}

/// Why a blob was not sent: the transaction can only be aborted.
#[derive(Debug, thiserror::Error)]
pub enum StoreBlobError {
    /// It could not be read from where the caller has it.
    #[error("cannot read the blob: {0}")]
    Read(#[source] io::Error),
    /// The requests could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// Why it is not known that a transaction has finished.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FinishError {
    /// The answer is missing, or the storage failed: the transaction has finished, or not at all, or
    /// will finish yet.
    #[error("the transaction may have finished or not: {0}")]
    InDoubt(CallError),
    /// It has not finished, and will not.
    #[error("the transaction has not finished: {0}")]
    NotFinished(CallError),
}

impl From<CallError> for LoadError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(Failure::UnknownOid(oid)) => Self::UnknownOid(oid),
            error => Self::Call(error),
        }
    }
}

impl From<CallError> for VoteError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(Failure::ReadConflict { oid, committed, given }) => {
                Self::ReadConflict { oid, committed, given }
            }
            CallError::Failed(Failure::Conflict { oid, committed, given }) => {
                Self::Conflict { oid, committed, given }
            }
            CallError::Failed(Failure::UnknownOid(oid)) => Self::UnknownOid(oid),
            CallError::Failed(Failure::ReadOnly) => Self::ReadOnly,
            CallError::Failed(Failure::NotUndoable(reason)) => Self::NotUndoable(reason),
            CallError::Failed(Failure::Undo(objects)) => Self::Undo(objects),
            error => Self::Call(error),
        }
    }
}

impl From<CallError> for LoadBlobError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(Failure::UnknownBlob { oid, serial }) => {
                Self::UnknownBlob { oid, serial }
            }
            error => Self::Call(error),
        }
    }
}
