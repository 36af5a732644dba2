//! [`Failure`] as an `Error` message.

use bytes::Bytes;
use protocol::{Failure, Oid, Tid, TransactionFault, TransactionId};

use crate::generated::{Error, ErrorCode, Obstacle};

pub(crate) fn encode(failure: &Failure) -> Error {
    let mut error = Error { message: failure.to_string(), ..Error::default() };
    let code = match failure {
        Failure::UnknownOid(oid) => {
            error.oid = oid.0;
            ErrorCode::UnknownOid
        }
        Failure::BadId(bytes) => {
            error.subject = bytes.clone();
            ErrorCode::BadId
        }
        Failure::ReadOnly => ErrorCode::ReadOnly,
        Failure::Transaction(fault) => encode_fault(*fault, &mut error),
        Failure::Conflict { oid, committed, given } => {
            (error.oid, error.committed, error.given) = (oid.0, committed.0, given.0);
            ErrorCode::Conflict
        }
        Failure::ReadConflict { oid, committed, given } => {
            (error.oid, error.committed, error.given) = (oid.0, committed.0, given.0);
            ErrorCode::ReadConflict
        }
        Failure::UnknownStorage(name) => {
            error.subject = Bytes::copy_from_slice(name.as_bytes());
            ErrorCode::UnknownStorage
        }
        Failure::Arguments(_) => ErrorCode::Arguments,
        Failure::Unsupported(_) => ErrorCode::Unsupported,
        Failure::Storage(_) => ErrorCode::Storage,
        Failure::UnknownBlob { oid, serial } => {
            (error.oid, error.given) = (oid.0, serial.0);
            ErrorCode::UnknownBlob
        }
        Failure::NotUndoable(_) => ErrorCode::NotUndoable,
        Failure::Undo(objects) => {
            error.obstacles = objects.iter().map(obstacle).collect();
            ErrorCode::Undo
        }
        Failure::UnknownIterator(iterator) => {
            error.iterator = *iterator;
            ErrorCode::UnknownIterator
        }
        Failure::Value(_) => ErrorCode::Value,
    };
    error.set_code(code);
    error
}

pub(crate) fn decode(error: Error) -> Failure {
    let (oid, committed, given) = (Oid(error.oid), Tid(error.committed), Tid(error.given));
    match error.code() {
        // A code of a newer server is decoded as unspecified.
        ErrorCode::Unspecified | ErrorCode::Storage => Failure::Storage(error.message),
        ErrorCode::UnknownOid => Failure::UnknownOid(oid),
        ErrorCode::BadId => Failure::BadId(error.subject),
        ErrorCode::ReadOnly => Failure::ReadOnly,
        ErrorCode::Conflict => Failure::Conflict { oid, committed, given },
        ErrorCode::ReadConflict => Failure::ReadConflict { oid, committed, given },
        ErrorCode::UnknownStorage => {
            Failure::UnknownStorage(String::from_utf8_lossy(&error.subject).into_owned())
        }
        ErrorCode::Arguments => Failure::Arguments(error.message),
        ErrorCode::Unsupported => Failure::Unsupported(error.message),
        ErrorCode::WrongTransaction => Failure::Transaction(TransactionFault::Wrong {
            current: error.current_transaction.map(|id| TransactionId(id.into())),
            given: TransactionId(error.given_transaction.into()),
        }),
        ErrorCode::AlreadyVoted => Failure::Transaction(TransactionFault::AlreadyVoted),
        ErrorCode::VoteWaits => Failure::Transaction(TransactionFault::VoteWaits),
        ErrorCode::NotVoted => Failure::Transaction(TransactionFault::NotVoted),
        ErrorCode::Aborted => Failure::Transaction(TransactionFault::Aborted),
        ErrorCode::OldTid => Failure::Transaction(TransactionFault::OldTid),
        ErrorCode::UnknownBlob => Failure::UnknownBlob { oid, serial: given },
        ErrorCode::NotUndoable => Failure::NotUndoable(error.message),
        ErrorCode::Undo => {
            let object = |object: Obstacle| (Oid(object.oid), object.reason);
            Failure::Undo(error.obstacles.into_iter().map(object).collect())
        }
        ErrorCode::UnknownIterator => Failure::UnknownIterator(error.iterator),
        ErrorCode::Value => Failure::Value(error.message),
    }
}

fn obstacle((oid, reason): &(Oid, String)) -> Obstacle {
    Obstacle { oid: oid.0, reason: reason.clone() }
}

fn encode_fault(fault: TransactionFault, error: &mut Error) -> ErrorCode {
    match fault {
        TransactionFault::Wrong { current, given } => {
            error.current_transaction = current.map(number);
            error.given_transaction = number(given);
            ErrorCode::WrongTransaction
        }
        TransactionFault::AlreadyVoted => ErrorCode::AlreadyVoted,
        TransactionFault::VoteWaits => ErrorCode::VoteWaits,
        TransactionFault::NotVoted => ErrorCode::NotVoted,
        TransactionFault::Aborted => ErrorCode::Aborted,
        TransactionFault::OldTid => ErrorCode::OldTid,
    }
}

/// The ids that a connection of this protocol names are 64 bits wide: nothing is lost.
fn number(transaction: TransactionId) -> u64 {
    u64::try_from(transaction.0).unwrap_or(u64::MAX)
}
