//! What a transaction begins with, consists of and ends with.

use super::{call, past, tid, tid_or_none};
use crate::ids::{Oid, Tid};
use crate::message::{Begin, Request, TransactionId};
use crate::zeo::base64;
use crate::zeo::encoding::Writer;
use crate::zeo::extension;

pub(super) fn arguments(writer: &mut impl Writer, request: &Request) {
    match request {
        Request::Begin(begin) => self::begin(writer, begin),
        Request::Store { transaction, oid, serial, data } => {
            store(writer, "storea", (*oid, *serial, data), None, *transaction);
        }
        Request::Delete { transaction, oid, serial } => {
            at(writer, "deleteObject", *oid, *serial, *transaction);
        }
        Request::CheckCurrentSerial { transaction, oid, serial } => {
            at(writer, "checkCurrentSerialInTransaction", *oid, *serial, *transaction);
        }
        Request::Restore { transaction, oid, tid, data, origin } => {
            call(writer, "restorea", 5, |writer| {
                super::oid(writer, *oid);
                super::tid(writer, *tid);
                match data {
                    Some(data) => writer.bytes(data),
                    None => writer.nil(),
                }
                tid_or_none(writer, *origin);
                writer.int(transaction.0);
            });
        }
        Request::Undo { transaction, tid } => call(writer, "undoa", 2, |writer| {
            writer.bytes(base64::of_tid(*tid).as_bytes());
            writer.int(transaction.0);
        }),
        // Whose blob it is stands at the end: ZEO has one upload at a time.
        Request::BlobStart { .. } => call(writer, "storeBlobStart", 0, |_| ()),
        Request::BlobChunk { data, .. } => {
            call(writer, "storeBlobChunk", 1, |writer| writer.bytes(data));
        }
        Request::BlobEnd { transaction, oid, serial, data } => {
            store(writer, "storeBlobEnd", (*oid, *serial, data), None, *transaction);
        }
        Request::BlobShared { transaction, oid, serial, data, file } => {
            let revision = (*oid, *serial, &data[..]);
            store(writer, "storeBlobShared", revision, Some(file), *transaction);
        }
        Request::Vote { transaction } => of_transaction(writer, "vote", *transaction),
        Request::Finish { transaction } => of_transaction(writer, "tpc_finish", *transaction),
        Request::Abort { transaction } => of_transaction(writer, "tpc_abort", *transaction),
        other => past::arguments(writer, other),
    }
}

fn begin(writer: &mut impl Writer, begin: &Begin) {
    call(writer, "tpc_begin", 6, |writer| {
        writer.int(begin.transaction.0);
        writer.bytes(&begin.user);
        writer.bytes(&begin.description);
        extension::write(writer, &begin.extension);
        tid_or_none(writer, begin.tid);
        writer.str(char::from(begin.status).encode_utf8(&mut [0; 4]));
    });
}

fn store(
    writer: &mut impl Writer,
    name: &str,
    (oid, serial, data): (Oid, Tid, &[u8]),
    file: Option<&str>,
    transaction: TransactionId,
) {
    call(writer, name, if file.is_some() { 5 } else { 4 }, |writer| {
        super::oid(writer, oid);
        tid(writer, serial);
        writer.bytes(data);
        if let Some(file) = file {
            writer.str(file);
        }
        writer.int(transaction.0);
    });
}

fn at(writer: &mut impl Writer, name: &str, oid: Oid, serial: Tid, transaction: TransactionId) {
    call(writer, name, 3, |writer| {
        super::oid(writer, oid);
        tid(writer, serial);
        writer.int(transaction.0);
    });
}

fn of_transaction(writer: &mut impl Writer, name: &str, transaction: TransactionId) {
    call(writer, name, 1, |writer| writer.int(transaction.0));
}
