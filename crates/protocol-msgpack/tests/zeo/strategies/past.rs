//! Undo, history, iteration and pack.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::{
    CurrentRecord, Expect, Reply, Request, Tid, TransactionHead, TransactionRecord,
    TransactionSummary, UndoLog, Wanted,
};

use super::{data, extension, oid, tid, transaction};

pub(super) fn request() -> impl Strategy<Value = Request> {
    let iterator = any::<u64>;
    prop_oneof![
        (transaction(), tid()).prop_map(|(transaction, tid)| Request::Undo { transaction, tid }),
        (oid(), any::<u32>()).prop_map(|(oid, count)| Request::History { oid, count }),
        undo_log().prop_map(Request::UndoLog),
        option::of(oid()).prop_map(|oid| Request::NextRecord { oid }),
        (option::of(tid()), option::of(tid()))
            .prop_map(|(start, stop)| Request::Iterate { start, stop }),
        iterator().prop_map(|iterator| Request::NextTransaction { iterator }),
        (iterator(), tid()).prop_map(|(iterator, tid)| Request::IterateRecords { iterator, tid }),
        iterator().prop_map(|iterator| Request::NextTransactionRecord { iterator }),
        vec(iterator(), 0..5).prop_map(|iterators| Request::EndIterators { iterators }),
        // A float has not all bits of a tid: whole minutes fit.
        (0u64..1 << 30, any::<bool>()).prop_map(|(minute, wait)| Request::Pack {
            before: Tid::from_unix(Duration::from_secs(minute * 60)),
            wait,
        }),
    ]
}

fn undo_log() -> impl Strategy<Value = UndoLog> {
    let wanted = prop_oneof![
        Just(&b"\xc0"[..]),
        Just(&b"\xa5/ joe"[..]),
        Just(&b"\xc4\x05/ joe"[..]),
        Just(&b"\x92\x01\x81\xa1k\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18"[..]),
    ]
    .prop_map(|value| Wanted::Value(Bytes::from(value)));
    (any::<u64>(), any::<u64>(), vec((".{0,20}", wanted), 0..4))
        .prop_map(|(first, last, filter)| UndoLog { first, last, filter })
}

fn summary() -> impl Strategy<Value = TransactionSummary> {
    (tid(), any::<u64>(), data(), data(), extension()).prop_map(
        |(tid, size, user, description, extension)| TransactionSummary {
            tid,
            size,
            user,
            description,
            extension,
        },
    )
}

fn head() -> impl Strategy<Value = TransactionHead> {
    (tid(), 0u8..0x80, data(), data(), extension()).prop_map(
        |(tid, status, user, description, extension)| TransactionHead {
            tid,
            status,
            user,
            description,
            extension,
        },
    )
}

fn record() -> impl Strategy<Value = TransactionRecord> {
    (oid(), tid(), option::of(data()), option::of(tid())).prop_map(|(oid, tid, data, origin)| {
        TransactionRecord { oid, tid, data, origin, has_blob: false }
    })
}

pub(super) fn reply() -> impl Strategy<Value = (Expect, Reply)> {
    prop_oneof![
        vec(summary(), 0..3).prop_map(|found| (Expect::History, Reply::History(found))),
        vec(summary(), 0..3).prop_map(|found| (Expect::UndoLog, Reply::UndoLog(found))),
        (oid(), tid(), data(), option::of(oid())).prop_map(|(oid, tid, data, next)| {
            let record = CurrentRecord { oid, tid, data, next };
            (Expect::CurrentRecord, Reply::CurrentRecord(record))
        }),
        any::<u64>().prop_map(|number| (Expect::Iterator, Reply::Iterator(number))),
        option::of(head()).prop_map(|head| (Expect::Transaction, Reply::Transaction(head))),
        option::of(record())
            .prop_map(|record| (Expect::TransactionRecord, Reply::TransactionRecord(record))),
    ]
}
