//! What was committed: history, the undo log, iteration and pack.

use std::time::Duration;

use bytes::Bytes;

use super::Decoded;
use crate::ids::Tid;
use crate::message::{Failure, Request, UndoLog, Wanted};
use crate::zeo::args::{Arg, Args};
use crate::zeo::encoding::Encoding;
use crate::zeo::msgpack::MsgPackWriter;
use crate::zeo::value::Value;

/// What is no oid is no object: ZEO looks for that first, and `history(None, None)` has to be a
/// `POSKeyError`, which its client does not log.
pub(super) fn history(args: Args<'_>) -> Decoded {
    let ([oid], [count]) = args.at_least()?;
    let oid = match oid.oid() {
        Err(Failure::Arguments(_)) => Err(Failure::BadId(Bytes::new())),
        oid => oid,
    }?;
    Ok(Request::History { oid, count: count.map_or(Ok(1), Arg::count)? })
}

pub(super) fn undo_log(args: Args<'_>) -> Decoded {
    let ([], [first, last]) = args.at_least()?;
    Ok(Request::UndoLog(undo_log_of(first, last, Vec::new())?))
}

pub(super) fn undo_info<E: Encoding>(args: Args<'_>) -> Decoded {
    let ([], [first, last, filter]) = args.at_least()?;
    let filter = filter.map_or(Ok(Vec::new()), self::filter::<E>)?;
    Ok(Request::UndoLog(undo_log_of(first, last, filter)?))
}

/// A negative `last` says how many are wanted.
fn undo_log_of(
    first: Option<Arg<'_>>,
    last: Option<Arg<'_>>,
    filter: Vec<(String, Wanted)>,
) -> Result<UndoLog, Failure> {
    let first = first.map_or(Ok(0), Arg::int)?;
    let last = last.map_or(Ok(UNDO_LOG_LAST), Arg::int)?;
    let last = if last < 0 { first.saturating_sub(last) } else { last };
    let index = |index: i128| u64::try_from(index.max(0)).unwrap_or(u64::MAX);
    Ok(UndoLog { first: index(first), last: index(last), filter })
}

fn filter<E: Encoding>(arg: Arg<'_>) -> Result<Vec<(String, Wanted)>, Failure> {
    match arg.value.pairs() {
        Some(mut pairs) => pairs.try_fold(Vec::new(), |mut filter, (key, value)| {
            let key = key.str().ok_or_else(|| arg.mistyped("a filter with text as keys"))?;
            filter.push((key.to_owned(), wanted::<E>(arg, value)?));
            Ok(filter)
        }),
        None if !arg.value.is_true() => Ok(Vec::new()),
        None => Err(arg.mistyped("a filter as dict")),
    }
}

fn wanted<E: Encoding>(arg: Arg<'_>, value: Value<'_>) -> Result<Wanted, Failure> {
    if let Some(path) = value.prefix() {
        return Ok(Wanted::Prefix(path));
    }
    let plain = Some(value).filter(Value::fits::<MsgPackWriter<'_>>);
    let value = plain.and_then(|value| E::msgpack(value).ok());
    value.map(Wanted::Value).ok_or_else(|| arg.mistyped("a filter of plain data"))
}

pub(super) fn next_record(args: Args<'_>) -> Decoded {
    let ([], [oid]) = args.at_least()?;
    Ok(Request::NextRecord { oid: oid.map_or(Ok(None), Arg::oid_or_none)? })
}

pub(super) fn iterate(args: Args<'_>) -> Decoded {
    let [start, stop] = args.exactly()?;
    Ok(Request::Iterate { start: start.tid_or_none()?, stop: stop.tid_or_none()? })
}

pub(super) fn next_transaction(args: Args<'_>) -> Decoded {
    let [iterator] = args.exactly()?;
    Ok(Request::NextTransaction { iterator: iterator.number()? })
}

pub(super) fn iterate_records(args: Args<'_>) -> Decoded {
    let [iterator, tid] = args.exactly()?;
    Ok(Request::IterateRecords { iterator: iterator.number()?, tid: tid.tid()? })
}

pub(super) fn next_transaction_record(args: Args<'_>) -> Decoded {
    let [iterator] = args.exactly()?;
    Ok(Request::NextTransactionRecord { iterator: iterator.number()? })
}

/// What is not a number was never given out, so that there is nothing to forget.
pub(super) fn end_iterators(args: Args<'_>) -> Decoded {
    let [iterators] = args.exactly()?;
    let numbers = iterators.value.sequence().ok_or_else(|| iterators.mistyped("a list"))?;
    let number = |number: Value<'_>| number.int().and_then(|number| u64::try_from(number).ok());
    Ok(Request::EndIterators { iterators: numbers.filter_map(number).collect() })
}

/// Who does not say otherwise waits.
pub(super) fn pack(args: Args<'_>) -> Decoded {
    let ([time], [wait]) = args.at_least::<1, 1>()?;
    let wait = wait.is_none_or(|wait| wait.value.is_true());
    let time = time.value.float().ok_or_else(|| time.mistyped("a time in seconds"))?;
    let before = Duration::try_from_secs_f64(time.clamp(0.0, TIME_MAX))
        .map_err(|_| Failure::Value(format!("pack(): {time} is not a time")))?;
    Ok(Request::Pack { before: Tid::from_unix(before), wait })
}

/// What `undoLog()` and `undoInfo()` mean.
const UNDO_LOG_LAST: i128 = -20;

/// Seconds, in the 52nd century. Tids end with the 59th.
const TIME_MAX: f64 = 1e11;
