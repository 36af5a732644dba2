//! What was committed: history, the undo log, iteration and pack.

use protocol::zeo::msgpack;
use protocol::{Limits, Request, Tid, UndoLog, Wanted};

use super::{Wrong, required};
use crate::generated as wire;
use crate::generated::client_message::Request as Wire;
use crate::generated::wanted::What;

pub(super) fn history(message: &wire::GetHistory) -> Result<Request, Wrong> {
    Ok(Request::History { oid: required(message.oid, None)?, count: message.count })
}

pub(super) fn undo_log(message: wire::GetUndoLog, limits: Limits) -> Result<Request, Wrong> {
    let entry = |entry: wire::Wanted| match entry.what {
        Some(What::Value(value)) if msgpack::is_value(&value, &limits) => {
            Ok((entry.key, Wanted::Value(value)))
        }
        Some(What::Prefix(prefix)) => Ok((entry.key, Wanted::Prefix(prefix))),
        Some(What::Value(_)) => Err(wrong("a wanted value is not MessagePack")),
        None => Err(wrong("an entry that nothing is wanted of")),
    };
    let filter = message.filter.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Request::UndoLog(UndoLog { first: message.first, last: message.last, filter }))
}

fn wrong(what: &'static str) -> Wrong {
    Wrong { transaction: None, what }
}

pub(super) fn iterate(message: &wire::Iterate) -> Request {
    Request::Iterate { start: message.start.map(Tid), stop: message.stop.map(Tid) }
}

pub(super) fn iterate_records(message: &wire::IterateRecords) -> Request {
    Request::IterateRecords { iterator: message.iterator, tid: Tid(message.tid) }
}

pub(super) fn pack(message: &wire::Pack) -> Request {
    Request::Pack { before: Tid(message.before), wait: !message.in_background }
}

/// `None`: it is another kind of request.
pub(super) fn encode(request: &Request) -> Option<Wire> {
    Some(match request {
        Request::History { oid, count } => {
            Wire::GetHistory(wire::GetHistory { oid: Some(oid.0), count: *count })
        }
        Request::UndoLog(UndoLog { first, last, filter }) => {
            let filter = filter.iter().map(encode_entry).collect();
            Wire::GetUndoLog(wire::GetUndoLog { first: *first, last: *last, filter })
        }
        Request::NextRecord { oid } => {
            Wire::GetNextRecord(wire::GetNextRecord { oid: oid.map(|oid| oid.0) })
        }
        Request::Iterate { start, stop } => Wire::Iterate(wire::Iterate {
            start: start.map(|start| start.0),
            stop: stop.map(|stop| stop.0),
        }),
        Request::NextTransaction { iterator } => {
            Wire::NextTransaction(wire::NextTransaction { iterator: *iterator })
        }
        Request::IterateRecords { iterator, tid } => {
            Wire::IterateRecords(wire::IterateRecords { iterator: *iterator, tid: tid.0 })
        }
        Request::NextTransactionRecord { iterator } => {
            Wire::NextTransactionRecord(wire::NextTransactionRecord { iterator: *iterator })
        }
        Request::EndIterators { iterators } => {
            Wire::EndIterators(wire::EndIterators { iterators: iterators.clone() })
        }
        Request::Pack { before, wait } => {
            Wire::Pack(wire::Pack { before: before.0, in_background: !wait })
        }
        _ => return None,
    })
}

fn encode_entry((key, wanted): &(String, Wanted)) -> wire::Wanted {
    let what = match wanted {
        Wanted::Value(value) => What::Value(value.clone()),
        Wanted::Prefix(prefix) => What::Prefix(prefix.clone()),
    };
    wire::Wanted { key: key.clone(), what: Some(what) }
}
