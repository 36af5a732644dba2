//! Samples of undo, history, iteration, pack and blobs.

use bytes::Bytes;
use protocol::{
    CurrentRecord, Expect, Push, Reply, Request, TransactionHead, TransactionRecord,
    TransactionSummary, UndoLog, Wanted,
};

use super::{Message, NEXT, OID, TID, TRANSACTION, record};

pub(super) fn sized(bytes: usize) -> Vec<Message> {
    let (transaction, oid, serial) = (TRANSACTION, OID, TID);
    let data = record(bytes);
    let current = CurrentRecord { oid, tid: TID, data: data.clone(), next: None };
    let restored = TransactionRecord {
        oid,
        tid: NEXT,
        data: Some(data.clone()),
        origin: Some(TID),
        has_blob: false,
    };
    vec![
        Message::Request(Request::BlobChunk { oid: Some(oid), data: data.clone() }),
        Message::Request(Request::BlobEnd { transaction, oid, serial, data: data.clone() }),
        Message::Request(Request::BlobShared {
            transaction,
            oid,
            serial,
            data: data.clone(),
            file: "BUC1x2y3.tmp".to_owned(),
        }),
        Message::Reply(Expect::CurrentRecord, Reply::CurrentRecord(current)),
        Message::Reply(Expect::TransactionRecord, Reply::TransactionRecord(Some(restored))),
        Message::Push(Push::BlobChunk { oid, serial, data }),
    ]
}

pub(super) fn fixed() -> Vec<Message> {
    let (oid, serial) = (OID, TID);
    let mut all: Vec<_> = requests().into_iter().map(Message::Request).collect();
    all.extend(replies());
    all.push(Message::Push(Push::BlobStart { oid, serial }));
    all.push(Message::Push(Push::BlobStop { oid, serial }));
    all
}

fn requests() -> Vec<Request> {
    let (transaction, oid, serial) = (TRANSACTION, OID, TID);
    // "/plone editor" as MessagePack
    let editor = Wanted::Value(Bytes::from_static(b"\xad/plone editor"));
    let undo_log = UndoLog { first: 0, last: 20, filter: vec![("user_name".to_owned(), editor)] };
    vec![
        Request::Undo { transaction, tid: TID },
        Request::BlobStart { oid: Some(oid) },
        Request::LoadBlob { oid, serial },
        Request::History { oid, count: 20 },
        Request::UndoLog(undo_log),
        Request::NextRecord { oid: Some(oid) },
        Request::Iterate { start: Some(TID), stop: None },
        Request::NextTransaction { iterator: 3 },
        Request::IterateRecords { iterator: 3, tid: TID },
        Request::NextTransactionRecord { iterator: 4 },
        Request::EndIterators { iterators: vec![3, 4] },
        Request::Pack { before: TID, wait: true },
    ]
}

fn replies() -> Vec<Message> {
    let (user, description) = (Bytes::from_static(b" editor"), Bytes::from_static(b"/plone/news"));
    // {"request_type": "Document"} as MessagePack
    let extension = Bytes::from_static(b"\x81\xacrequest_type\xa8Document");
    let summary = TransactionSummary {
        tid: TID,
        size: 1000,
        user: user.clone(),
        description: description.clone(),
        extension: extension.clone(),
    };
    let head = TransactionHead { tid: TID, status: b' ', user, description, extension };
    vec![
        Message::Reply(Expect::History, Reply::History(vec![summary.clone()])),
        Message::Reply(Expect::UndoLog, Reply::UndoLog(vec![summary])),
        Message::Reply(Expect::Iterator, Reply::Iterator(3)),
        Message::Reply(Expect::Transaction, Reply::Transaction(Some(head))),
        Message::Reply(Expect::Transaction, Reply::Transaction(None)),
        Message::Reply(Expect::TransactionRecord, Reply::TransactionRecord(None)),
    ]
}
