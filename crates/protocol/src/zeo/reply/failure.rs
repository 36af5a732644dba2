//! What a server sends where something could not be done.

use crate::ids::{Oid, Tid};
use crate::message::{Failure, TransactionFault};
use crate::zeo::encoding::Writer;

/// `(class name, args)`: ZEO's client makes the exception from its own table of names, and a
/// `ServerException` of the rest.
pub(super) fn write(writer: &mut impl Writer, failure: &Failure) {
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
        Failure::UnknownBlob { oid, serial } => named(writer, POS_KEY_ERROR, |writer| {
            writer.tuple(3, |writer| {
                writer.str("No blob file");
                super::oid(writer, *oid);
                super::tid(writer, *serial);
            });
        }),
        Failure::NotUndoable(reason) => undo_error(writer, reason),
        Failure::Undo(objects) => undo_errors(writer, objects),
        Failure::UnknownIterator(number) => named(writer, KEY_ERROR, |writer| {
            writer.tuple(1, |writer| writer.int(i128::from(*number)));
        }),
        Failure::Value(why) => text(writer, VALUE_ERROR, why),
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
            super::oid(writer, oid);
            writer.str("class_name");
            writer.nil();
            super::serials(writer, committed, given);
        });
    });
}

fn undo_error(writer: &mut impl Writer, reason: &str) {
    named(writer, UNDO_ERROR, |writer| {
        writer.map(2, |writer| {
            writer.str("_reason");
            writer.str(reason);
            writer.str("_oid");
            writer.nil();
        });
    });
}

/// ZEO has an exception in place of each reason: in pickles an object, which we do not send; in
/// MessagePack a pair, over which the client's `str()` of the error stumbles. It takes text in both.
fn undo_errors(writer: &mut impl Writer, objects: &[(Oid, String)]) {
    named(writer, MULTIPLE_UNDO_ERRORS, |writer| {
        writer.map(1, |writer| {
            writer.str("_errs");
            writer.list(objects.iter(), |writer, (oid, reason)| {
                writer.tuple(2, |writer| {
                    super::oid(writer, *oid);
                    writer.str(reason);
                });
            });
        });
    });
}

pub(in crate::zeo) const POS_KEY_ERROR: &str = "ZODB.POSException.POSKeyError";
pub(in crate::zeo) const READ_ONLY_ERROR: &str = "ZODB.POSException.ReadOnlyError";
pub(in crate::zeo) const STORAGE_TRANSACTION_ERROR: &str =
    "ZODB.POSException.StorageTransactionError";
pub(in crate::zeo) const CONFLICT_ERROR: &str = "ZODB.POSException.ConflictError";
pub(in crate::zeo) const READ_CONFLICT_ERROR: &str = "ZODB.POSException.ReadConflictError";
pub(in crate::zeo) const STORAGE_ERROR: &str = "ZODB.POSException.StorageError";
pub(in crate::zeo) const UNSUPPORTED: &str = "ZODB.POSException.Unsupported";
pub(in crate::zeo) const VALUE_ERROR: &str = "builtins.ValueError";
pub(in crate::zeo) const TYPE_ERROR: &str = "builtins.TypeError";
pub(in crate::zeo) const KEY_ERROR: &str = "builtins.KeyError";
pub(in crate::zeo) const UNDO_ERROR: &str = "ZODB.POSException.UndoError";
pub(in crate::zeo) const MULTIPLE_UNDO_ERRORS: &str = "ZODB.POSException.MultipleUndoErrors";
