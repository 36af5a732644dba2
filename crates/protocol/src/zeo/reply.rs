//! What a server sends: results, errors and pushes in ZEO's shapes.

use super::encoding::Writer;
use crate::ids::{Oid, Tid};
use crate::message::{Conflict, Failure, Info, Loaded, Push, Reply, Status, TransactionFault};

/// The message `(id, 0, '.reply', result)`, or `(id, 2, '.reply', (class name, args))`.
pub(super) fn reply(writer: &mut impl Writer, id: &[u8], reply: &Reply) {
    match reply {
        Reply::Failed(failure) => message(writer, id, 2, |writer| self::failure(writer, failure)),
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
            _ => {
                writer.str(INFO);
                writer.tuple(0, |_| ());
            }
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
        Reply::Done | Reply::NotFinished(_) | Reply::Invalidations(None) | Reply::Loaded(None) => {
            writer.nil()
        }
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
        Reply::Failed(failure) => self::failure(writer, failure),
        _ => writer.nil(),
    }
}

fn revision(writer: &mut impl Writer, loaded: Loaded<&[u8]>) {
    writer.tuple(3, |writer| {
        writer.bytes(loaded.data);
        tid(writer, loaded.tid);
        match loaded.end {
            Some(end) => tid(writer, end),
            None => writer.nil(),
        }
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

/// `(class name, args)`: ZEO's client makes the exception from its own table of names, and a
/// `ServerException` of the rest.
fn failure(writer: &mut impl Writer, failure: &Failure) {
    match failure {
        Failure::UnknownOid(oid) => error(writer, POS_KEY_ERROR, &oid.to_bytes()),
        Failure::BadId(bytes) => error(writer, POS_KEY_ERROR, bytes),
        Failure::ReadOnly => named(writer, READ_ONLY_ERROR, |writer| writer.tuple(0, |_| ())),
        Failure::Transaction(TransactionFault::Wrong { current, given }) => {
            named(writer, STORAGE_TRANSACTION_ERROR, |writer| {
                writer.tuple(2, |writer| {
                    match current {
                        Some(current) => writer.int(current.0),
                        None => writer.nil(),
                    }
                    writer.int(given.0);
                });
            });
        }
        Failure::Transaction(fault) => text(writer, STORAGE_TRANSACTION_ERROR, &fault.to_string()),
        Failure::Conflict { oid, committed, given } => {
            let message = "database conflict error";
            conflict_error(writer, CONFLICT_ERROR, message, *oid, (*committed, *given));
        }
        Failure::ReadConflict { oid, committed, given } => {
            let message = "database read conflict error";
            conflict_error(writer, READ_CONFLICT_ERROR, message, *oid, (*committed, *given));
        }
        Failure::UnknownStorage(_) => text(writer, VALUE_ERROR, &failure.to_string()),
        Failure::Arguments(why) => text(writer, TYPE_ERROR, why),
        Failure::Unsupported(why) => text(writer, UNSUPPORTED, why),
        Failure::Storage(why) => text(writer, STORAGE_ERROR, why),
        _ => text(writer, STORAGE_ERROR, &failure.to_string()),
    }
}

fn named<W: Writer>(writer: &mut W, name: &str, arguments: impl FnOnce(&mut W)) {
    writer.tuple(2, |writer| {
        writer.str(name);
        arguments(writer);
    });
}

fn error(writer: &mut impl Writer, name: &str, argument: &[u8]) {
    named(writer, name, |writer| writer.tuple(1, |writer| writer.bytes(argument)));
}

fn text(writer: &mut impl Writer, name: &str, argument: &str) {
    named(writer, name, |writer| writer.tuple(1, |writer| writer.str(argument)));
}

fn conflict_error(
    writer: &mut impl Writer,
    name: &str,
    message: &str,
    oid: Oid,
    (committed, given): (Tid, Tid),
) {
    named(writer, name, |writer| {
        writer.map(4, |writer| {
            writer.str("message");
            writer.str(message);
            writer.str("oid");
            self::oid(writer, oid);
            writer.str("class_name");
            writer.nil();
            serials(writer, committed, given);
        });
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

/// The name of every answer.
pub(super) const REPLY: &str = ".reply";
pub(super) const INVALIDATE: &str = "invalidateTransaction";
pub(super) const INFO: &str = "info";

pub(super) const POS_KEY_ERROR: &str = "ZODB.POSException.POSKeyError";
pub(super) const READ_ONLY_ERROR: &str = "ZODB.POSException.ReadOnlyError";
pub(super) const STORAGE_TRANSACTION_ERROR: &str = "ZODB.POSException.StorageTransactionError";
pub(super) const CONFLICT_ERROR: &str = "ZODB.POSException.ConflictError";
pub(super) const READ_CONFLICT_ERROR: &str = "ZODB.POSException.ReadConflictError";
pub(super) const STORAGE_ERROR: &str = "ZODB.POSException.StorageError";
pub(super) const UNSUPPORTED: &str = "ZODB.POSException.Unsupported";
pub(super) const VALUE_ERROR: &str = "builtins.ValueError";
pub(super) const TYPE_ERROR: &str = "builtins.TypeError";
