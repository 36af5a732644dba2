//! What was committed: revisions, transactions and their records.

use bytes::Bytes;

use super::{oid, tid, tid_or_none};
use crate::message::{CurrentRecord, TransactionHead, TransactionRecord, TransactionSummary};
use crate::zeo::base64;
use crate::zeo::encoding::Writer;
use crate::zeo::extension::{self, Extension};

/// Maps of what is known of each revision and of its transaction's extension.
pub(super) fn history(writer: &mut impl Writer, revisions: &[TransactionSummary]) {
    writer.list(revisions.iter(), |writer, revision| {
        let fields = [
            (TIME, Field::Float(revision.tid.to_unix_seconds())),
            (USER, Field::Bytes(&revision.user)),
            (DESCRIPTION, Field::Bytes(&revision.description)),
            (TID, Field::Bytes(&revision.tid.to_bytes())),
            (SIZE, Field::Int(revision.size)),
        ];
        described(writer, &revision.extension, &fields, Wins::Fields);
    });
}

/// Likewise of each transaction.
pub(super) fn undo_log(writer: &mut impl Writer, transactions: &[TransactionSummary]) {
    writer.list(transactions.iter(), |writer, transaction| {
        let id = base64::of_tid(transaction.tid);
        let fields = [
            (ID, Field::Bytes(id.as_bytes())),
            (TIME, Field::Float(transaction.tid.to_unix_seconds())),
            (USER, Field::Bytes(&transaction.user)),
            (SIZE, Field::Int(transaction.size)),
            (DESCRIPTION, Field::Bytes(&transaction.description)),
        ];
        described(writer, &transaction.extension, &fields, Wins::Extension);
    });
}

/// Which of two entries of one name is sent. In ZODB it is that of the later `dict.update`.
#[derive(Clone, Copy, PartialEq)]
enum Wins {
    Fields,
    /// But not over the id: undoing this transaction would undo another one.
    Extension,
}

/// One map of `fields` and of the extension's entries, in ZODB's order.
fn described<W: Writer>(
    writer: &mut W,
    extension: &Bytes,
    fields: &[(&str, Field<'_>)],
    wins: Wins,
) {
    let extension = Extension::read(extension);
    let firm = |name: &str| wins == Wins::Fields || name == ID;
    let entries = || {
        extension.entries::<W>().filter(|(key, _)| {
            !fields.iter().any(|(name, _)| key.str() == Some(name) && firm(name))
        })
    };
    let fields = || fields.iter().filter(|(name, _)| firm(name) || !extension.has::<W>(name));
    writer.map(entries().count() + fields().count(), |writer| {
        if wins == Wins::Fields {
            extension::put(writer, entries());
        }
        for (name, field) in fields() {
            writer.str(name);
            field.write(writer);
        }
        if wins == Wins::Extension {
            extension::put(writer, entries());
        }
    });
}

/// What stands in a map beside an extension's entries.
enum Field<'a> {
    Bytes(&'a [u8]),
    Float(f64),
    Int(u64),
}

impl Field<'_> {
    fn write(&self, writer: &mut impl Writer) {
        match self {
            Self::Bytes(bytes) => writer.bytes(bytes),
            Self::Float(value) => writer.float(*value),
            Self::Int(value) => writer.int(i128::from(*value)),
        }
    }
}

pub(super) fn current_record(writer: &mut impl Writer, record: &CurrentRecord) {
    writer.tuple(4, |writer| {
        oid(writer, record.oid);
        tid(writer, record.tid);
        writer.bytes(&record.data);
        match record.next {
            Some(next) => oid(writer, next),
            None => writer.nil(),
        }
    });
}

pub(super) fn transaction(writer: &mut impl Writer, head: &TransactionHead) {
    writer.tuple(5, |writer| {
        tid(writer, head.tid);
        writer.str(char::from(head.status).encode_utf8(&mut [0; 4]));
        writer.bytes(&head.user);
        writer.bytes(&head.description);
        extension::write(writer, &head.extension);
    });
}

pub(super) fn transaction_record(writer: &mut impl Writer, record: &TransactionRecord) {
    writer.tuple(4, |writer| {
        oid(writer, record.oid);
        tid(writer, record.tid);
        match &record.data {
            Some(data) => writer.bytes(data),
            None => writer.nil(),
        }
        tid_or_none(writer, record.origin);
    });
}

pub(in crate::zeo) const ID: &str = "id";
pub(in crate::zeo) const TID: &str = "tid";
pub(in crate::zeo) const TIME: &str = "time";
pub(in crate::zeo) const SIZE: &str = "size";
pub(in crate::zeo) const USER: &str = "user_name";
pub(in crate::zeo) const DESCRIPTION: &str = "description";
