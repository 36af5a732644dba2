//! The bytes of every kind of message are pinned in `golden.txt`: a change of them is a new
//! version of the protocol. Every line is `kind name: bytes in hexadecimal`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fmt::Write;

use bytes::Bytes;
use protocol::{
    Begin, Codec, Conflict, CurrentRecord, Failure, Incoming, Info, Limits, Loaded, Oid, Push,
    Reply, Request, Status, Tid, TransactionFault, TransactionHead, TransactionId,
    TransactionRecord, TransactionSummary, UndoLog, Wanted,
};
use protocol_proto::Proto;

#[test]
fn every_message_has_its_golden_bytes() {
    let mut text = String::new();
    let mut codec = Proto::new(Limits::default());
    for (name, request) in requests().into_iter().chain(more_requests()) {
        let mut out = Vec::new();
        codec.encode_request(NUMBER, &request, &mut out);
        line(&mut text, &format!("request {name}"), &out);
        assert_eq!(codec.decode_request(&out.into()).unwrap().request, request);
    }
    let mut ping = Vec::new();
    codec.encode_request(NUMBER, &Request::Ping, &mut ping);
    let id = codec.decode_request(&ping.into()).unwrap().id.unwrap();
    for (name, reply) in replies() {
        let mut out = Vec::new();
        codec.encode_reply(&id, &reply, &mut out);
        line(&mut text, &format!("reply {name}"), &out);
    }
    for (name, failure) in failures() {
        let message = failure.to_string();
        let mut out = Vec::new();
        codec.encode_reply(&id, &Reply::Failed(failure), &mut out);
        // The text for people, and the lengths that depend on it, are free to change.
        let at = out.windows(message.len()).position(|text| text == message.as_bytes()).unwrap();
        line(&mut text, &format!("error {name}, code"), &out[at - 4..at - 2]);
        line(&mut text, &format!("error {name}, more"), &out[at + message.len()..]);
    }
    for (name, push) in pushes() {
        let mut out = Vec::new();
        codec.encode_push(&push, &mut out);
        line(&mut text, &format!("push {name}"), &out);
        let incoming = codec.decode_incoming(&out.into(), &mut |_| None);
        assert_eq!(incoming, Ok(Incoming::Push(push)));
    }
    assert_eq!(text, include_str!("golden.txt"));
}

#[test]
fn the_hellos_have_their_golden_bytes() {
    let software = format!("zeoxide {}", env!("CARGO_PKG_VERSION"));
    let length = u8::try_from(software.len()).unwrap();
    let tail = |tag| [&[tag, length], software.as_bytes()].concat();
    let greeting = [&b"\x0a\x07zeoxide\x10\x01\x18\x01"[..], &tail(0x22)].concat();
    assert_eq!(Proto::greeting(), greeting);
    let answer = [&b"\x0a\x07zeoxide\x10\x01"[..], &tail(0x1a)].concat();
    assert_eq!(Proto::answer(&greeting), Ok(answer));
}

fn line(text: &mut String, name: &str, bytes: &[u8]) {
    write!(text, "{name}:").unwrap();
    for byte in bytes {
        write!(text, " {byte:02x}").unwrap();
    }
    text.push('\n');
}

fn requests() -> Vec<(&'static str, Request)> {
    let transaction = TransactionId(300);
    let (oid, serial, data) = (Oid(0x0102_0304_0506_0708), TID, Bytes::from("data"));
    let begin = Begin {
        transaction,
        user: Bytes::from("user"),
        description: Bytes::from("description"),
        extension: Bytes::from_static(b"\x80"),
        tid: Some(TID),
        status: b'p',
    };
    vec![
        ("register", Request::Register { storage: "1".to_owned(), read_only: true }),
        ("info", Request::Info),
        ("last transaction", Request::LastTransaction),
        ("invalidations", Request::Invalidations { since: TID }),
        ("load before", Request::LoadBefore { oid, before: TID }),
        ("load current", Request::LoadBefore { oid: Oid(0), before: Tid::MAX }),
        ("load serial", Request::LoadSerial { oid, serial }),
        ("current tid", Request::CurrentTid { oid }),
        ("new oids", Request::NewOids { count: 100 }),
        ("begin", Request::Begin(begin)),
        ("store", Request::Store { transaction, oid, serial, data: data.clone() }),
        ("delete", Request::Delete { transaction, oid, serial }),
        ("check current serial", Request::CheckCurrentSerial { transaction, oid, serial }),
        (
            "restore",
            Request::Restore { transaction, oid, tid: TID, data: Some(data.clone()), origin: None },
        ),
        (
            "restore nothing",
            Request::Restore { transaction, oid, tid: TID, data: None, origin: None },
        ),
        (
            "restore undone",
            Request::Restore { transaction, oid, tid: TID, data: None, origin: Some(Tid(1)) },
        ),
        ("vote", Request::Vote { transaction }),
        ("finish", Request::Finish { transaction }),
        ("abort", Request::Abort { transaction }),
        ("status", Request::Status),
        ("ping", Request::Ping),
        ("label", Request::Label("label".to_owned())),
        ("keep alive", Request::KeepAlive),
    ]
}

/// Blobs, undo, history, iteration and pack.
fn more_requests() -> Vec<(&'static str, Request)> {
    let transaction = TransactionId(300);
    let (oid, serial, data) = (Oid(0x0102_0304_0506_0708), TID, Bytes::from("data"));
    let undo_log = UndoLog {
        first: 1,
        last: 20,
        filter: vec![
            ("user_name".to_owned(), Wanted::Prefix("/a".to_owned())),
            ("k".to_owned(), Wanted::Value(Bytes::from_static(b"\xa1v"))),
        ],
    };
    vec![
        ("undo", Request::Undo { transaction, tid: TID }),
        ("blob start", Request::BlobStart { oid: Some(oid) }),
        ("blob chunk", Request::BlobChunk { oid: Some(oid), data: data.clone() }),
        ("blob end", Request::BlobEnd { transaction, oid, serial, data: data.clone() }),
        (
            "blob shared",
            Request::BlobShared { transaction, oid, serial, data, file: "x.tmp".to_owned() },
        ),
        ("load blob", Request::LoadBlob { oid, serial }),
        ("history", Request::History { oid, count: 10 }),
        ("undo log", Request::UndoLog(undo_log)),
        ("next record", Request::NextRecord { oid: Some(Oid(0)) }),
        ("first record", Request::NextRecord { oid: None }),
        ("iterate", Request::Iterate { start: Some(Tid(0)), stop: Some(TID) }),
        ("iterate all", Request::Iterate { start: None, stop: None }),
        ("next transaction", Request::NextTransaction { iterator: 1 }),
        ("iterate records", Request::IterateRecords { iterator: 1, tid: TID }),
        ("next transaction record", Request::NextTransactionRecord { iterator: 2 }),
        ("end iterators", Request::EndIterators { iterators: vec![1, 2] }),
        ("pack", Request::Pack { before: TID, wait: true }),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let data = Bytes::from("data");
    let (oid, committed, given) = (Oid(1), TID, Tid(2));
    let loaded = Loaded { data: data.clone(), tid: TID, end: None };
    let ended = Loaded { end: Some(Tid(TID.0 + 1)), ..loaded.clone() };
    let info = Info {
        length: 1,
        size: 2,
        name: "name".to_owned(),
        supports_undo: true,
        supports_record_iternext: true,
        interfaces: vec![("ZODB.interfaces", "IStorage")],
    };
    let status = Status {
        connections: 1,
        loads: 2,
        stores: 3,
        commits: 4,
        aborts: 5,
        active_transactions: 6,
        lock_time: Some(7.5),
        conflicts: 8,
        start: "start".to_owned(),
        waiting: 9,
        timeout_active: true,
        last_transaction: TID,
    };
    let (user, description) = (Bytes::from("user"), Bytes::from("description"));
    let extension = Bytes::from_static(b"\x81\xa1k\xa1v");
    let summary = TransactionSummary {
        tid: TID,
        size: 5,
        user: user.clone(),
        description: description.clone(),
        extension: extension.clone(),
    };
    let head = TransactionHead { tid: TID, status: b'p', user, description, extension };
    let current = CurrentRecord { oid, tid: TID, data: data.clone(), next: Some(Oid(2)) };
    let record = TransactionRecord {
        oid,
        tid: TID,
        data: Some(data.clone()),
        origin: Some(Tid(2)),
        has_blob: true,
    };
    vec![
        ("done", Reply::Done),
        ("tid", Reply::Tid(TID)),
        ("info", Reply::Info(info)),
        ("invalidations", Reply::Invalidations(Some((TID, vec![Oid(1), Oid(2)])))),
        ("no invalidations", Reply::Invalidations(None)),
        ("loaded", Reply::Loaded(Some(loaded))),
        ("loaded old", Reply::Loaded(Some(ended))),
        ("loaded none", Reply::Loaded(None)),
        ("data", Reply::Data(data.clone())),
        ("oids", Reply::Oids(vec![Oid(1), Oid(2)])),
        ("voted", Reply::Voted),
        ("conflicts", Reply::Conflicts(vec![Conflict { oid, committed, given, data }])),
        ("status", Reply::Status(Box::new(status))),
        ("determined", Reply::Determined(vec![Oid(1), Oid(2)])),
        ("history", Reply::History(vec![summary.clone(), summary.clone()])),
        ("undo log", Reply::UndoLog(vec![summary])),
        ("current record", Reply::CurrentRecord(current)),
        ("iterator", Reply::Iterator(1)),
        ("transaction", Reply::Transaction(Some(head))),
        ("transaction none", Reply::Transaction(None)),
        ("transaction record", Reply::TransactionRecord(Some(record))),
        ("transaction record none", Reply::TransactionRecord(None)),
    ]
}

fn pushes() -> Vec<(&'static str, Push)> {
    let (oid, serial) = (Oid(1), TID);
    vec![
        ("invalidate", Push::Invalidate { tid: TID, oids: [Oid(1), Oid(2)].into() }),
        ("info", Push::Info { length: 1, size: 2 }),
        ("blob start", Push::BlobStart { oid, serial }),
        ("blob chunk", Push::BlobChunk { oid, serial, data: Bytes::from("data") }),
        ("blob stop", Push::BlobStop { oid, serial }),
    ]
}

fn failures() -> Vec<(&'static str, Failure)> {
    let (oid, committed, given) = (Oid(1), TID, Tid(2));
    let wrong =
        TransactionFault::Wrong { current: Some(TransactionId(1)), given: TransactionId(2) };
    vec![
        ("unknown oid", Failure::UnknownOid(oid)),
        ("bad id", Failure::BadId(Bytes::from("seven.."))),
        ("read-only", Failure::ReadOnly),
        ("conflict", Failure::Conflict { oid, committed, given }),
        ("read conflict", Failure::ReadConflict { oid, committed, given }),
        ("unknown storage", Failure::UnknownStorage("2".to_owned())),
        ("arguments", Failure::Arguments("text".to_owned())),
        ("unsupported", Failure::Unsupported("text".to_owned())),
        ("storage", Failure::Storage("text".to_owned())),
        ("wrong transaction", Failure::Transaction(wrong)),
        ("already voted", Failure::Transaction(TransactionFault::AlreadyVoted)),
        ("vote waits", Failure::Transaction(TransactionFault::VoteWaits)),
        ("not voted", Failure::Transaction(TransactionFault::NotVoted)),
        ("aborted", Failure::Transaction(TransactionFault::Aborted)),
        ("old tid", Failure::Transaction(TransactionFault::OldTid)),
        ("unknown blob", Failure::UnknownBlob { oid, serial: TID }),
        ("not undoable", Failure::NotUndoable("text".to_owned())),
        ("undo", Failure::Undo(vec![(oid, "why".to_owned()), (Oid(2), String::new())])),
        ("unknown iterator", Failure::UnknownIterator(1)),
        ("value", Failure::Value("text".to_owned())),
    ]
}

const NUMBER: u64 = 1000;
const TID: Tid = Tid(0x0411_2233_4455_6677);
