//! Why a server did not do what was asked.

use super::{oid, tid};
use crate::ids::{Oid, Tid};
use crate::message::{Failure, TransactionFault, TransactionId};
use crate::zeo::reply::failure::{
    CONFLICT_ERROR, KEY_ERROR, MULTIPLE_UNDO_ERRORS, POS_KEY_ERROR, READ_CONFLICT_ERROR,
    READ_ONLY_ERROR, STORAGE_ERROR, STORAGE_TRANSACTION_ERROR, TYPE_ERROR, UNDO_ERROR, UNSUPPORTED,
    VALUE_ERROR,
};
use crate::zeo::value::Value;

/// The inverse of what `reply` writes, and sense made of the rest that ZEO sends.
pub(super) fn read(error: Value<'_>) -> Option<Failure> {
    let [name, arguments] = error.array()?;
    let name = name.str()?;
    let text = || text(arguments).map(str::to_owned);
    let known =
        match name {
            POS_KEY_ERROR => key(arguments),
            READ_ONLY_ERROR => Some(Failure::ReadOnly),
            STORAGE_TRANSACTION_ERROR => transaction(arguments),
            CONFLICT_ERROR => conflict(arguments)
                .map(|(oid, committed, given)| Failure::Conflict { oid, committed, given }),
            READ_CONFLICT_ERROR => conflict(arguments)
                .map(|(oid, committed, given)| Failure::ReadConflict { oid, committed, given }),
            UNDO_ERROR => reason(arguments).map(Failure::NotUndoable),
            MULTIPLE_UNDO_ERRORS => undo(arguments).map(Failure::Undo),
            KEY_ERROR => iterator(arguments).map(Failure::UnknownIterator),
            VALUE_ERROR => text().map(value),
            TYPE_ERROR => text().map(Failure::Arguments),
            UNSUPPORTED => text().map(Failure::Unsupported),
            STORAGE_ERROR => text().map(Failure::Storage),
            _ => None,
        };
    Some(known.unwrap_or_else(|| Failure::Storage(describe(name, arguments))))
}

/// `[oid]`, `[oid, tid]`, or of a blob `[text, oid, tid]`.
fn key(arguments: Value<'_>) -> Option<Failure> {
    if let Some([_, oid, serial]) = arguments.array() {
        return Some(Failure::UnknownBlob { oid: super::oid(oid)?, serial: tid(serial)? });
    }
    let key = arguments.sequence()?.next()?;
    let unlike = || key.data().map(Failure::BadId);
    oid(key).map(Failure::UnknownOid).or_else(unlike)
}

fn value(text: String) -> Failure {
    match text.strip_prefix("unknown storage: ") {
        Some(storage) => Failure::UnknownStorage(storage.to_owned()),
        None => Failure::Value(text),
    }
}

/// Of an `UndoError`.
fn reason(map: Value<'_>) -> Option<String> {
    map.get("_reason")?.str().map(str::to_owned)
}

/// Pairs of an oid and a reason, which ZEO wraps in an `UndoError`, `(name, map)`.
fn undo(map: Value<'_>) -> Option<Vec<(Oid, String)>> {
    let object = |object: Value<'_>| {
        let [oid, why] = object.array()?;
        let wrapped = || why.array().and_then(|[_, map]| reason(map));
        Some((super::oid(oid)?, why.str().map(str::to_owned).or_else(wrapped)?))
    };
    map.get("_errs")?.sequence()?.map(object).collect()
}

fn iterator(arguments: Value<'_>) -> Option<u64> {
    let [number] = arguments.array()?;
    u64::try_from(number.int()?).ok()
}

fn transaction(arguments: Value<'_>) -> Option<Failure> {
    if let Some([current, given]) = arguments.array() {
        return Some(Failure::Transaction(TransactionFault::Wrong {
            current: current.int().map(TransactionId),
            given: TransactionId(given.int()?),
        }));
    }
    let text = text(arguments)?;
    let fault = FAULTS.into_iter().find(|fault| fault.to_string() == text)?;
    Some(Failure::Transaction(fault))
}

fn conflict(map: Value<'_>) -> Option<(Oid, Tid, Tid)> {
    let [committed, given] = map.get("serials")?.array()?;
    Some((oid(map.get("oid")?)?, tid(committed)?, tid(given)?))
}

/// The only argument of an exception.
fn text<'a>(arguments: Value<'a>) -> Option<&'a str> {
    let [text] = arguments.array()?;
    text.str()
}

/// An exception that has no [`Failure`] of its own.
fn describe(name: &str, arguments: Value<'_>) -> String {
    match arguments.sequence().and_then(|mut arguments| arguments.find_map(|text| text.str())) {
        Some(text) => format!("{name}: {text}"),
        None => name.to_owned(),
    }
}

/// The faults that are told by their text.
const FAULTS: [TransactionFault; 5] = [
    TransactionFault::AlreadyVoted,
    TransactionFault::VoteWaits,
    TransactionFault::NotVoted,
    TransactionFault::Aborted,
    TransactionFault::OldTid,
];
