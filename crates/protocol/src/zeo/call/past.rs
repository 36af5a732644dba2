//! What was committed: history, the undo log, iteration and pack.

use super::{call, tid_or_none};
use crate::message::{Request, UndoLog, Wanted};
use crate::zeo::encoding::Writer;
use crate::zeo::msgpack;

pub(super) fn arguments(writer: &mut impl Writer, request: &Request) {
    match request {
        Request::History { oid, count } => call(writer, "history", 2, |writer| {
            super::oid(writer, *oid);
            writer.int(i128::from(*count));
        }),
        Request::UndoLog(wanted) => undo_log(writer, wanted),
        Request::NextRecord { oid } => call(writer, "record_iternext", 1, |writer| match oid {
            Some(oid) => super::oid(writer, *oid),
            None => writer.nil(),
        }),
        Request::Iterate { start, stop } => call(writer, "iterator_start", 2, |writer| {
            tid_or_none(writer, *start);
            tid_or_none(writer, *stop);
        }),
        Request::NextTransaction { iterator } => {
            call(writer, "iterator_next", 1, |writer| writer.int(i128::from(*iterator)));
        }
        Request::IterateRecords { iterator, tid } => {
            call(writer, "iterator_record_start", 2, |writer| {
                writer.int(i128::from(*iterator));
                super::tid(writer, *tid);
            });
        }
        Request::NextTransactionRecord { iterator } => {
            call(writer, "iterator_record_next", 1, |writer| writer.int(i128::from(*iterator)));
        }
        Request::EndIterators { iterators } => call(writer, "iterator_gc", 1, |writer| {
            writer.list(iterators.iter(), |writer, number| writer.int(i128::from(*number)));
        }),
        Request::Pack { before, wait } => call(writer, "pack", 2, |writer| {
            writer.float(before.to_unix_seconds());
            writer.bool(*wait);
        }),
        // What was not written by `super` and by `super::writes` has no form.
        _ => {}
    }
}

fn undo_log(writer: &mut impl Writer, UndoLog { first, last, filter }: &UndoLog) {
    let slice = |writer: &mut _| {
        Writer::int(writer, i128::from(*first));
        Writer::int(writer, i128::from(*last));
    };
    if filter.is_empty() {
        return call(writer, "undoLog", 2, slice);
    }
    call(writer, "undoInfo", 3, |writer| {
        slice(writer);
        writer.map(filter.len(), |writer| {
            for (key, wanted) in filter {
                writer.str(key);
                match wanted {
                    Wanted::Value(value) => msgpack::copy(value, writer),
                    Wanted::Prefix(path) => writer.prefix(path),
                }
            }
        });
    });
}
