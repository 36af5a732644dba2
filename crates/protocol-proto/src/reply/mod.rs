//! Answers and pushes: `ServerMessage`, [`Reply`] and [`Push`].

mod past;

use protocol::{
    Conflict, Expect, Incoming, Info, Interface, Loaded, Malformed, Oid, Push, Reply, Status, Tid,
};

use crate::generated::server_message::Body;
use crate::generated::{self as wire, ServerMessage};
use crate::{direct, failure};

/// Appends the body of a `ServerMessage`.
pub(crate) fn encode(reply: &Reply, out: &mut Vec<u8>) {
    let body = match reply {
        Reply::Done => Body::Done(wire::Done {}),
        Reply::Tid(tid) => Body::Tid(wire::TidIs { tid: tid.0 }),
        Reply::NotFinished(fault) => Body::Error(failure::encode(&(*fault).into())),
        Reply::Info(info) => Body::Info(encode_info(info)),
        Reply::Invalidations(Some((newest, oids))) => {
            return direct::put_invalidations(*newest, oids, out);
        }
        Reply::Invalidations(None) => Body::Invalidations(wire::Invalidations::default()),
        Reply::Loaded(Some(Loaded { data, tid, end })) => {
            return direct::put_loaded(Loaded { data, tid: *tid, end: *end }, out);
        }
        Reply::Loaded(None) => Body::Loaded(wire::Loaded::default()),
        Reply::Data(data) => return direct::put_data(data, out),
        Reply::Oids(oids) => return direct::put_oids(oids, out),
        Reply::Voted => Body::Voted(wire::Voted {}),
        Reply::Conflicts(conflicts) => Body::Conflicts(wire::Conflicts {
            conflicts: conflicts.iter().map(encode_conflict).collect(),
        }),
        Reply::Status(status) => Body::Status(encode_status(status)),
        Reply::Failed(failure) => Body::Error(failure::encode(failure)),
        Reply::Determined(oids) => {
            Body::Determined(wire::Determined { oids: oids.iter().map(|oid| oid.0).collect() })
        }
        Reply::History(revisions) => Body::History(past::encode_history(revisions)),
        Reply::UndoLog(transactions) => Body::UndoLog(past::encode_undo_log(transactions)),
        Reply::CurrentRecord(record) => Body::CurrentRecord(past::encode_current(record)),
        Reply::Iterator(iterator) => Body::Iterator(wire::IteratorIs { iterator: *iterator }),
        Reply::Transaction(head) => Body::Transaction(past::encode_transaction(head.as_ref())),
        Reply::TransactionRecord(record) => {
            Body::TransactionRecord(past::encode_record(record.as_ref()))
        }
    };
    body.encode(out);
}

pub(crate) fn encode_push(push: &Push, out: &mut Vec<u8>) {
    match push {
        Push::Invalidate { tid, oids } => direct::put_invalidate(*tid, oids, out),
        Push::Info { length, size } => {
            Body::InfoChanged(wire::InfoChanged { length: *length, size: *size }).encode(out);
        }
        Push::BlobStart { oid, serial } => {
            let start = wire::LoadedBlobStart { oid: oid.0, serial: serial.0 };
            Body::LoadedBlobStart(start).encode(out);
        }
        Push::BlobChunk { oid, serial, data } => direct::put_blob_chunk(*oid, *serial, data, out),
        Push::BlobStop { oid, serial } => {
            Body::LoadedBlobStop(wire::LoadedBlobStop { oid: oid.0, serial: serial.0 }).encode(out);
        }
    }
}

pub(crate) fn decode(
    message: ServerMessage,
    expects: &mut dyn FnMut(u64) -> Option<Expect>,
) -> Result<Incoming, Malformed> {
    let Some(body) = message.body else {
        return Err(Malformed("no answer or push that is known".to_owned()));
    };
    if message.id == 0 {
        return decode_push(body).map(Incoming::Push);
    }
    let Some(expected) = expects(message.id) else {
        return Err(Malformed(format!("an answer to {}, which was not asked", message.id)));
    };
    let reply = decode_reply(body)?;
    if fits(&reply, expected) {
        Ok(Incoming::Reply { number: message.id, reply })
    } else {
        Err(Malformed(format!("an answer to {} that is not a {expected:?}", message.id)))
    }
}

fn fits(reply: &Reply, expected: Expect) -> bool {
    let kind = match reply {
        Reply::Done => Expect::Done,
        Reply::Tid(_) => Expect::Tid,
        Reply::Info(_) => Expect::Info,
        Reply::Invalidations(_) => Expect::Invalidations,
        Reply::Loaded(_) => Expect::Loaded,
        Reply::Data(_) => Expect::Data,
        Reply::Oids(_) => Expect::Oids,
        Reply::Voted | Reply::Determined(_) | Reply::Conflicts(_) => Expect::Vote,
        Reply::Status(_) => Expect::Status,
        Reply::Failed(_) | Reply::NotFinished(_) => return true,
        Reply::History(_) => Expect::History,
        Reply::UndoLog(_) => Expect::UndoLog,
        Reply::CurrentRecord(_) => Expect::CurrentRecord,
        Reply::Iterator(_) => Expect::Iterator,
        Reply::Transaction(_) => Expect::Transaction,
        Reply::TransactionRecord(_) => Expect::TransactionRecord,
    };
    kind == expected
}

fn decode_push(body: Body) -> Result<Push, Malformed> {
    match body {
        Body::Invalidate(wire::Invalidate { tid, oids }) => {
            Ok(Push::Invalidate { tid: Tid(tid), oids: oids.into_iter().map(Oid).collect() })
        }
        Body::InfoChanged(wire::InfoChanged { length, size }) => Ok(Push::Info { length, size }),
        Body::LoadedBlobStart(wire::LoadedBlobStart { oid, serial }) => {
            Ok(Push::BlobStart { oid: Oid(oid), serial: Tid(serial) })
        }
        Body::LoadedBlobChunk(wire::LoadedBlobChunk { oid, serial, data }) => {
            Ok(Push::BlobChunk { oid: Oid(oid), serial: Tid(serial), data })
        }
        Body::LoadedBlobStop(wire::LoadedBlobStop { oid, serial }) => {
            Ok(Push::BlobStop { oid: Oid(oid), serial: Tid(serial) })
        }
        _ => Err(Malformed("an answer with the id 0".to_owned())),
    }
}

fn decode_reply(body: Body) -> Result<Reply, Malformed> {
    Ok(match body {
        Body::Done(wire::Done {}) => Reply::Done,
        Body::Tid(wire::TidIs { tid }) => Reply::Tid(Tid(tid)),
        Body::Info(info) => Reply::Info(decode_info(info)),
        Body::Invalidations(wire::Invalidations { newest_tid, oids }) => {
            Reply::Invalidations(newest_tid.map(|tid| (Tid(tid), decode_oids(oids))))
        }
        Body::Loaded(wire::Loaded { tid, end, data }) => {
            Reply::Loaded(tid.map(|tid| Loaded { data, tid: Tid(tid), end: end.map(Tid) }))
        }
        Body::Data(wire::Data { data }) => Reply::Data(data),
        Body::Oids(wire::Oids { oids }) => Reply::Oids(decode_oids(oids)),
        Body::Voted(wire::Voted {}) => Reply::Voted,
        Body::Conflicts(wire::Conflicts { conflicts }) if conflicts.is_empty() => {
            return Err(Malformed("a conflict without objects".to_owned()));
        }
        Body::Conflicts(wire::Conflicts { conflicts }) => {
            Reply::Conflicts(conflicts.into_iter().map(decode_conflict).collect())
        }
        Body::Status(status) => Reply::Status(Box::new(decode_status(status))),
        Body::Error(error) => Reply::Failed(failure::decode(error)),
        Body::Determined(wire::Determined { oids }) if oids.is_empty() => {
            return Err(Malformed("nothing that was determined".to_owned()));
        }
        Body::Determined(wire::Determined { oids }) => Reply::Determined(decode_oids(oids)),
        Body::History(history) => Reply::History(past::decode_summaries(history.revisions)),
        Body::UndoLog(log) => Reply::UndoLog(past::decode_summaries(log.transactions)),
        Body::CurrentRecord(record) => Reply::CurrentRecord(past::decode_current(record)),
        Body::Iterator(wire::IteratorIs { iterator }) => Reply::Iterator(iterator),
        Body::Transaction(transaction) => {
            Reply::Transaction(past::decode_transaction(transaction)?)
        }
        Body::TransactionRecord(record) => Reply::TransactionRecord(past::decode_record(record)),
        Body::Invalidate(_)
        | Body::InfoChanged(_)
        | Body::LoadedBlobStart(_)
        | Body::LoadedBlobChunk(_)
        | Body::LoadedBlobStop(_) => {
            return Err(Malformed("a push with an id".to_owned()));
        }
    })
}

fn decode_oids(oids: Vec<u64>) -> Vec<Oid> {
    oids.into_iter().map(Oid).collect()
}

fn encode_info(info: &Info) -> wire::Info {
    wire::Info {
        length: info.length,
        size: info.size,
        name: info.name.clone(),
        supports_undo: info.supports_undo,
        supports_record_iternext: info.supports_record_iternext,
        interfaces: info
            .interfaces
            .iter()
            .map(|(module, name)| format!("{module}.{name}"))
            .collect(),
    }
}

/// Interfaces that this build does not know mean nothing to it, and are left out.
fn decode_info(info: wire::Info) -> Info {
    let known = |interface: &String| {
        let (module, name) = interface.rsplit_once('.')?;
        INTERFACES.iter().copied().find(|known| *known == (module, name))
    };
    Info {
        length: info.length,
        size: info.size,
        supports_undo: info.supports_undo,
        supports_record_iternext: info.supports_record_iternext,
        interfaces: info.interfaces.iter().filter_map(known).collect(),
        name: info.name,
    }
}

fn encode_conflict(conflict: &Conflict) -> wire::Conflict {
    wire::Conflict {
        oid: conflict.oid.0,
        committed: conflict.committed.0,
        given: conflict.given.0,
        data: conflict.data.clone(),
    }
}

fn decode_conflict(conflict: wire::Conflict) -> Conflict {
    Conflict {
        oid: Oid(conflict.oid),
        committed: Tid(conflict.committed),
        given: Tid(conflict.given),
        data: conflict.data,
    }
}

fn encode_status(status: &Status) -> wire::Status {
    wire::Status {
        connections: status.connections,
        loads: status.loads,
        stores: status.stores,
        commits: status.commits,
        aborts: status.aborts,
        active_transactions: status.active_transactions,
        lock_time: status.lock_time,
        conflicts: status.conflicts,
        start: status.start.clone(),
        waiting: status.waiting,
        timeout_active: status.timeout_active,
        last_transaction: status.last_transaction.0,
    }
}

fn decode_status(status: wire::Status) -> Status {
    Status {
        connections: status.connections,
        loads: status.loads,
        stores: status.stores,
        commits: status.commits,
        aborts: status.aborts,
        active_transactions: status.active_transactions,
        lock_time: status.lock_time,
        conflicts: status.conflicts,
        start: status.start,
        waiting: status.waiting,
        timeout_active: status.timeout_active,
        last_transaction: Tid(status.last_transaction),
    }
}

/// The interfaces of ZODB that a storage can keep.
const INTERFACES: [Interface; 9] = [
    ("ZODB.interfaces", "IBlobStorageRestoreable"),
    ("ZODB.interfaces", "IBlobStorage"),
    ("ZODB.interfaces", "IStorageRestoreable"),
    ("ZODB.interfaces", "IStorageIteration"),
    ("ZODB.interfaces", "IStorageUndoable"),
    ("ZODB.interfaces", "IStorageCurrentRecordIteration"),
    ("ZODB.interfaces", "IExternalGC"),
    ("ZODB.interfaces", "IStorage"),
    ("zope.interface", "Interface"),
];
