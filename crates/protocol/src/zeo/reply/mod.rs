//! What a server sends: results, errors and pushes in ZEO's shapes.

pub(super) mod failure;
pub(super) mod past;

use super::encoding::Writer;
use crate::ids::{Oid, Tid};
use crate::message::{Conflict, Info, Loaded, Push, Reply, Status};

/// The message `(id, 0, '.reply', result)`, or `(id, 2, '.reply', (class name, args))`.
pub(super) fn reply(writer: &mut impl Writer, id: &[u8], reply: &Reply) {
    match reply {
        Reply::Failed(failure) => message(writer, id, 2, |writer| failure::write(writer, failure)),
        reply => message(writer, id, 0, |writer| result(writer, reply)),
    }
}

/// The reply to loadBefore.
pub(super) fn loaded(writer: &mut impl Writer, id: &[u8], loaded: Loaded<&[u8]>) {
    message(writer, id, 0, |writer| revision(writer, loaded));
}

/// The message `(0, True, name, args)`.
pub(super) fn push(writer: &mut impl Writer, push: &Push) {
    writer.tuple(4, |writer| {
        writer.int(0);
        writer.bool(true);
        match push {
            Push::Invalidate { tid, oids: changed } => {
                writer.str(INVALIDATE);
                writer.tuple(2, |writer| {
                    self::tid(writer, *tid);
                    oids(writer, changed);
                });
            }
            Push::Info { length, size } => {
                writer.str(INFO);
                writer.tuple(1, |writer| {
                    writer.map(2, |writer| {
                        count(writer, "length", *length);
                        count(writer, "size", *size);
                    });
                });
            }
            Push::BlobStart { oid, serial } => blob(writer, BLOB_START, *oid, *serial, None),
            Push::BlobChunk { oid, serial, data } => {
                blob(writer, BLOB_CHUNK, *oid, *serial, Some(data));
            }
            Push::BlobStop { oid, serial } => blob(writer, BLOB_STOP, *oid, *serial, None),
        }
    });
}

fn blob(writer: &mut impl Writer, name: &str, oid: Oid, serial: Tid, data: Option<&[u8]>) {
    writer.str(name);
    writer.tuple(if data.is_some() { 3 } else { 2 }, |writer| {
        self::oid(writer, oid);
        tid(writer, serial);
        if let Some(data) = data {
            writer.bytes(data);
        }
    });
}

fn message<W: Writer>(writer: &mut W, id: &[u8], flag: i128, result: impl FnOnce(&mut W)) {
    writer.tuple(4, |writer| {
        writer.raw(id);
        writer.int(flag);
        writer.str(REPLY);
        result(writer);
    });
}

fn result(writer: &mut impl Writer, reply: &Reply) {
    match reply {
        Reply::Done
        | Reply::NotFinished(_)
        | Reply::Invalidations(None)
        | Reply::Loaded(None)
        | Reply::Transaction(None)
        | Reply::TransactionRecord(None) => writer.nil(),
        Reply::Tid(tid) => self::tid(writer, *tid),
        Reply::Info(info) => self::info(writer, info),
        Reply::Invalidations(Some((newest, changed))) => writer.tuple(2, |writer| {
            tid(writer, *newest);
            oids(writer, changed);
        }),
        Reply::Loaded(Some(Loaded { data, tid, end })) => {
            revision(writer, Loaded { data, tid: *tid, end: *end });
        }
        Reply::Data(data) => writer.bytes(data),
        Reply::Oids(fresh) => oids(writer, fresh),
        Reply::Voted => oids(writer, &[]),
        Reply::Determined(determined) => oids(writer, determined),
        Reply::Conflicts(conflicts) => writer.list(conflicts.iter(), conflict),
        Reply::Status(status) => self::status(writer, status),
        Reply::History(revisions) => past::history(writer, revisions),
        Reply::UndoLog(transactions) => past::undo_log(writer, transactions),
        Reply::CurrentRecord(record) => past::current_record(writer, record),
        Reply::Iterator(number) => writer.int(i128::from(*number)),
        Reply::Transaction(Some(head)) => past::transaction(writer, head),
        Reply::TransactionRecord(Some(record)) => past::transaction_record(writer, record),
        Reply::Failed(failure) => failure::write(writer, failure),
    }
}

fn revision(writer: &mut impl Writer, loaded: Loaded<&[u8]>) {
    writer.tuple(3, |writer| {
        writer.bytes(loaded.data);
        tid(writer, loaded.tid);
        tid_or_none(writer, loaded.end);
    });
}

fn info(writer: &mut impl Writer, info: &Info) {
    writer.map(6, |writer| {
        count(writer, "length", info.length);
        count(writer, "size", info.size);
        writer.str("name");
        writer.str(&info.name);
        writer.str("supportsUndo");
        writer.bool(info.supports_undo);
        writer.str("supports_record_iternext");
        writer.bool(info.supports_record_iternext);
        writer.str("interfaces");
        writer.tuple(info.interfaces.len(), |writer| {
            for (module, name) in &info.interfaces {
                writer.tuple(2, |writer| {
                    writer.str(module);
                    writer.str(name);
                });
            }
        });
    });
}

fn conflict(writer: &mut impl Writer, conflict: &Conflict) {
    writer.map(3, |writer| {
        writer.str("oid");
        oid(writer, conflict.oid);
        serials(writer, conflict.committed, conflict.given);
        writer.str("data");
        writer.bytes(&conflict.data);
    });
}

fn status(writer: &mut impl Writer, status: &Status) {
    writer.map(13, |writer| {
        count(writer, "connections", status.connections);
        count(writer, "loads", status.loads);
        count(writer, "stores", status.stores);
        count(writer, "commits", status.commits);
        count(writer, "aborts", status.aborts);
        count(writer, "active_txns", status.active_transactions);
        writer.str("lock_time");
        match status.lock_time {
            Some(time) => writer.float(time),
            None => writer.nil(),
        }
        count(writer, "conflicts", status.conflicts);
        // Conflicts are resolved by clients: the server does not see which.
        count(writer, "conflicts_resolved", 0);
        writer.str("start");
        writer.str(&status.start);
        count(writer, "waiting", status.waiting);
        writer.str("timeout-thread-is-alive");
        match status.timeout_active {
            true => writer.bool(true),
            false => writer.str("stub"),
        }
        writer.str("last-transaction");
        writer.str(&status.last_transaction.to_string());
    });
}

fn serials(writer: &mut impl Writer, committed: Tid, given: Tid) {
    writer.str("serials");
    writer.tuple(2, |writer| {
        tid(writer, committed);
        tid(writer, given);
    });
}

fn count(writer: &mut impl Writer, key: &str, value: u64) {
    writer.str(key);
    writer.int(i128::from(value));
}

fn oids(writer: &mut impl Writer, oids: &[Oid]) {
    writer.list(oids.iter(), |writer, oid| self::oid(writer, *oid));
}

fn oid(writer: &mut impl Writer, oid: Oid) {
    writer.bytes(&oid.to_bytes());
}

fn tid(writer: &mut impl Writer, tid: Tid) {
    writer.bytes(&tid.to_bytes());
}

fn tid_or_none(writer: &mut impl Writer, tid: Option<Tid>) {
    match tid {
        Some(tid) => self::tid(writer, tid),
        None => writer.nil(),
    }
}

/// The name of every answer.
pub(super) const REPLY: &str = ".reply";
pub(super) const INVALIDATE: &str = "invalidateTransaction";
pub(super) const INFO: &str = "info";
pub(super) const BLOB_START: &str = "receiveBlobStart";
pub(super) const BLOB_CHUNK: &str = "receiveBlobChunk";
pub(super) const BLOB_STOP: &str = "receiveBlobStop";
