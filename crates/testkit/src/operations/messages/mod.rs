//! A message of every kind that can be sent, with contents like those of a real server's.

mod names;
mod past;

use bytes::Bytes;
use protocol::{
    Begin, Conflict, Expect, Failure, Info, Loaded, Oid, Push, Reply, Request, Status, Tid,
    TransactionFault, TransactionId,
};

/// What one side sends to the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A client asks.
    Request(Request),
    /// A server answers what was asked by a request that expects this.
    Reply(Expect, Reply),
    /// A server tells.
    Push(Push),
}

impl Message {
    /// Its kind, unique among [`fixed`] and [`sized`].
    pub fn name(&self) -> String {
        match self {
            Self::Request(request) => format!("{} request", names::of_request(request)),
            Self::Reply(_, reply) => format!("{} reply", names::of_reply(reply)),
            Self::Push(push) => format!("{} push", names::of_push(push)),
        }
    }
}

/// The kinds of message that carry a record or a list of oids, with about `bytes` bytes of it.
pub fn sized(bytes: usize) -> Vec<Message> {
    let conflict = Conflict { oid: OID, committed: NEXT, given: TID, data: record(bytes) };
    let mut all = vec![
        store(bytes),
        Message::Request(Request::Restore {
            transaction: TRANSACTION,
            oid: OID,
            tid: TID,
            data: Some(record(bytes)),
            origin: None,
        }),
        loaded(bytes),
        Message::Reply(Expect::Data, Reply::Data(record(bytes))),
        Message::Reply(Expect::Vote, Reply::Conflicts(vec![conflict])),
        Message::Reply(Expect::Invalidations, Reply::Invalidations(Some((NEXT, oids(bytes))))),
        Message::Reply(Expect::Oids, Reply::Oids(oids(bytes))),
        Message::Reply(Expect::Vote, Reply::Determined(oids(bytes))),
        Message::Push(Push::Invalidate { tid: NEXT, oids: oids(bytes).into() }),
    ];
    all.extend(past::sized(bytes));
    all
}

/// All other kinds. [`Request::Invalid`] is not there: nobody sends it, decoding makes it.
pub fn fixed() -> Vec<Message> {
    let mut all: Vec<_> = requests().into_iter().map(Message::Request).collect();
    all.extend(replies());
    let failed = |failure| Message::Reply(Expect::Tid, Reply::Failed(failure));
    all.extend(failures().into_iter().map(failed));
    all.push(Message::Push(Push::Info { length: 1_000_000, size: 1 << 30 }));
    all.extend(past::fixed());
    all
}

/// The request that a server sees most.
pub fn load_before() -> Message {
    Message::Request(Request::LoadBefore { oid: OID, before: Tid::MAX })
}

/// Its answer.
pub fn loaded(bytes: usize) -> Message {
    let loaded = Loaded { data: record(bytes), tid: TID, end: None };
    Message::Reply(Expect::Loaded, Reply::Loaded(Some(loaded)))
}

/// A revision to be written.
pub fn store(bytes: usize) -> Message {
    let data = record(bytes);
    Message::Request(Request::Store { transaction: TRANSACTION, oid: OID, serial: TID, data })
}

/// A vote and a finish, each with its answer when all is well.
pub fn two_phases() -> [Message; 4] {
    [
        Message::Request(Request::Vote { transaction: TRANSACTION }),
        Message::Reply(Expect::Vote, Reply::Voted),
        Message::Request(Request::Finish { transaction: TRANSACTION }),
        Message::Reply(Expect::Tid, Reply::Tid(NEXT)),
    ]
}

/// Bytes that are no text and no repetition of one byte.
pub fn record(bytes: usize) -> Bytes {
    (0u8..=250).cycle().take(bytes).collect()
}

fn requests() -> Vec<Request> {
    let (transaction, oid, serial) = (TRANSACTION, OID, TID);
    let mut all = vec![
        Request::Register { storage: "1".to_owned(), read_only: false },
        Request::Info,
        Request::LastTransaction,
        Request::Invalidations { since: TID },
        Request::LoadBefore { oid, before: Tid::MAX },
        Request::LoadSerial { oid, serial },
        Request::CurrentTid { oid },
        Request::NewOids { count: 100 },
        Request::Begin(Begin {
            transaction,
            user: Bytes::from_static(b" editor"),
            description: Bytes::from_static(b"/plone/news/2026/a-page/edit"),
            // {"request_type": "Document"} as MessagePack
            extension: Bytes::from_static(b"\x81\xacrequest_type\xa8Document"),
            tid: None,
            status: b' ',
        }),
        Request::Delete { transaction, oid, serial },
        Request::CheckCurrentSerial { transaction, oid, serial },
        Request::Abort { transaction },
        Request::Status,
        Request::Ping,
        Request::Label("instance-1".to_owned()),
        Request::KeepAlive,
    ];
    for message in two_phases() {
        if let Message::Request(request) = message {
            all.push(request);
        }
    }
    all
}

fn replies() -> Vec<Message> {
    let info = Info {
        length: 1_000_000,
        size: 1 << 30,
        name: "file:/srv/zeoxide/main".to_owned(),
        supports_undo: false,
        supports_record_iternext: false,
        interfaces: vec![("ZODB.interfaces", "IStorageRestoreable")],
    };
    let status = Status {
        connections: 64,
        loads: 1_000_000,
        stores: 50_000,
        commits: 10_000,
        lock_time: Some(1_795_426_200.25),
        start: "Mon Nov 23 09:30:00 2026".to_owned(),
        last_transaction: NEXT,
        ..Status::default()
    };
    let mut all = vec![
        Message::Reply(Expect::Done, Reply::Done),
        Message::Reply(Expect::Tid, Reply::NotFinished(TransactionFault::NotVoted)),
        Message::Reply(Expect::Info, Reply::Info(info)),
        Message::Reply(Expect::Invalidations, Reply::Invalidations(None)),
        Message::Reply(Expect::Loaded, Reply::Loaded(None)),
        Message::Reply(Expect::Status, Reply::Status(Box::new(status))),
    ];
    all.extend(two_phases().into_iter().filter(|message| matches!(message, Message::Reply(..))));
    all
}

fn failures() -> Vec<Failure> {
    let (oid, committed, given) = (OID, NEXT, TID);
    vec![
        Failure::UnknownOid(OID),
        Failure::BadId(Bytes::from_static(b"short")),
        Failure::ReadOnly,
        Failure::Transaction(TransactionFault::Wrong { current: None, given: TRANSACTION }),
        Failure::Conflict { oid, committed, given },
        Failure::ReadConflict { oid, committed, given },
        Failure::UnknownStorage("2".to_owned()),
        Failure::Arguments("loadBefore takes 2 arguments".to_owned()),
        Failure::Unsupported("undo is not offered".to_owned()),
        Failure::Storage("the disk is full".to_owned()),
        Failure::UnknownBlob { oid, serial: TID },
        Failure::NotUndoable("Invalid transaction id".to_owned()),
        Failure::Undo(vec![(OID, "it was changed by a later transaction".to_owned())]),
        Failure::UnknownIterator(3),
        Failure::Value("../a.tmp".to_owned()),
    ]
}

/// As many oids as take `bytes` bytes.
fn oids(bytes: usize) -> Vec<Oid> {
    (OID.0..).map(Oid).take(bytes / size_of::<Oid>()).collect()
}

const OID: Oid = Oid(0x1234);
const TID: Tid = Tid(0x0411_2233_4455_6677);
const NEXT: Tid = Tid(0x0411_2233_4455_7788);
/// As ZEO's client has them: the address of a Python object.
const TRANSACTION: TransactionId = TransactionId(0x7f7f_5b2d_1c00);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_there_once() {
        let all: Vec<_> = fixed().into_iter().chain(sized(100)).collect();
        let names: BTreeSet<_> = all.iter().map(Message::name).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        let count = |is: fn(&Message) -> bool| all.iter().filter(|message| is(message)).count();
        // The arms of the functions in `names`, without what is never sent.
        assert_eq!(count(|message| matches!(message, Message::Request(_))), 35);
        assert_eq!(count(|message| matches!(message, Message::Reply(..))), 22 + 15);
        assert_eq!(count(|message| matches!(message, Message::Push(_))), 5);
    }
}
