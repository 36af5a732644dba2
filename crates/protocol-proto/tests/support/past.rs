//! Undo, history, iteration and pack.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::{
    CurrentRecord, Reply, Request, TransactionHead, TransactionRecord, TransactionSummary, UndoLog,
    Wanted,
};

use super::{data, extensions, oids, tids, transactions};

pub(super) fn requests() -> impl Strategy<Value = Request> {
    let iterators = any::<u64>;
    prop_oneof![
        (transactions(), tids()).prop_map(|(transaction, tid)| Request::Undo { transaction, tid }),
        (oids(), any::<u32>()).prop_map(|(oid, count)| Request::History { oid, count }),
        undo_logs().prop_map(Request::UndoLog),
        option::of(oids()).prop_map(|oid| Request::NextRecord { oid }),
        (option::of(tids()), option::of(tids()))
            .prop_map(|(start, stop)| Request::Iterate { start, stop }),
        iterators().prop_map(|iterator| Request::NextTransaction { iterator }),
        (iterators(), tids()).prop_map(|(iterator, tid)| Request::IterateRecords { iterator, tid }),
        iterators().prop_map(|iterator| Request::NextTransactionRecord { iterator }),
        vec(iterators(), 0..5).prop_map(|iterators| Request::EndIterators { iterators }),
        (tids(), any::<bool>()).prop_map(|(before, wait)| Request::Pack { before, wait }),
    ]
}

fn undo_logs() -> impl Strategy<Value = UndoLog> {
    let wanted = prop_oneof![
        Just(Wanted::Value(b"\xc0"[..].into())),
        Just(Wanted::Value(b"\xc4\x05/ joe"[..].into())),
        any::<String>().prop_map(Wanted::Prefix),
    ];
    (any::<u64>(), any::<u64>(), vec((any::<String>(), wanted), 0..4))
        .prop_map(|(first, last, filter)| UndoLog { first, last, filter })
}

fn summaries() -> impl Strategy<Value = TransactionSummary> {
    (tids(), any::<u64>(), data(), data(), extensions()).prop_map(
        |(tid, size, user, description, extension)| TransactionSummary {
            tid,
            size,
            user,
            description,
            extension,
        },
    )
}

fn heads() -> impl Strategy<Value = TransactionHead> {
    (tids(), 1..128u8, data(), data(), extensions()).prop_map(
        |(tid, status, user, description, extension)| TransactionHead {
            tid,
            status,
            user,
            description,
            extension,
        },
    )
}

fn records() -> impl Strategy<Value = TransactionRecord> {
    (oids(), tids(), option::of(data()), option::of(tids()), any::<bool>()).prop_map(
        |(oid, tid, data, origin, has_blob)| TransactionRecord { oid, tid, data, origin, has_blob },
    )
}

pub(super) fn replies() -> impl Strategy<Value = Reply> {
    prop_oneof![
        vec(summaries(), 0..4).prop_map(Reply::History),
        vec(summaries(), 0..4).prop_map(Reply::UndoLog),
        (oids(), tids(), data(), option::of(oids())).prop_map(|(oid, tid, data, next)| {
            Reply::CurrentRecord(CurrentRecord { oid, tid, data, next })
        }),
        any::<u64>().prop_map(Reply::Iterator),
        option::of(heads()).prop_map(Reply::Transaction),
        option::of(records()).prop_map(Reply::TransactionRecord),
    ]
}
