//! What a client sends: requests in the shapes of ZEO's own client.

use super::encoding::{Encoding, Writer};
use super::reply::REPLY;
use super::request::DEFAULT_NEW_OIDS;
use crate::ids::{Oid, Tid};
use crate::message::{Begin, Request, TransactionId};

/// Appends `request` to `out`.
///
/// A [`Request::Invalid`] has no form on the wire: nothing is appended.
pub(super) fn encode<E: Encoding>(out: &mut Vec<u8>, number: u64, request: &Request) {
    match request {
        Request::KeepAlive => E::write(out, |writer| {
            writer.tuple(4, |writer| {
                writer.int(-1);
                writer.int(0);
                writer.str(REPLY);
                writer.nil();
            });
        }),
        Request::Invalid { .. } => {}
        request => E::write(out, |writer| {
            writer.tuple(4, |writer| {
                let one_way = request.expects().is_none();
                writer.int(if one_way { 0 } else { i128::from(number) });
                writer.bool(one_way);
                arguments::<E>(writer, request);
            });
        }),
    }
}

/// The name and the arguments.
fn arguments<E: Encoding>(writer: &mut E::Writer<'_>, request: &Request) {
    match request {
        Request::Register { storage, read_only } => call(writer, "register", 2, |writer| {
            writer.str(storage);
            writer.bool(*read_only);
        }),
        Request::Info => call(writer, "get_info", 0, |_| ()),
        Request::LastTransaction => call(writer, "lastTransaction", 0, |_| ()),
        Request::Invalidations { since } => {
            call(writer, "getInvalidations", 1, |writer| tid(writer, *since));
        }
        Request::LoadBefore { oid, before } => revision(writer, "loadBefore", *oid, *before),
        Request::LoadSerial { oid, serial } => revision(writer, "loadSerial", *oid, *serial),
        Request::CurrentTid { oid } => call(writer, "getTid", 1, |writer| self::oid(writer, *oid)),
        Request::NewOids { count: DEFAULT_NEW_OIDS } => call(writer, "new_oids", 0, |_| ()),
        Request::NewOids { count } => {
            call(writer, "new_oids", 1, |writer| writer.int(i128::from(*count)));
        }
        Request::Begin(begin) => self::begin::<E>(writer, begin),
        Request::Store { transaction, oid, serial, data } => call(writer, "storea", 4, |writer| {
            self::oid(writer, *oid);
            tid(writer, *serial);
            writer.bytes(data);
            writer.int(transaction.0);
        }),
        Request::Delete { transaction, oid, serial } => {
            write_at(writer, "deleteObject", *oid, *serial, *transaction);
        }
        Request::CheckCurrentSerial { transaction, oid, serial } => {
            write_at(writer, "checkCurrentSerialInTransaction", *oid, *serial, *transaction);
        }
        Request::Restore { transaction, oid, tid, data, .. } => {
            call(writer, "restorea", 5, |writer| {
                self::oid(writer, *oid);
                self::tid(writer, *tid);
                match data {
                    Some(data) => writer.bytes(data),
                    None => writer.nil(),
                }
                writer.nil();
                writer.int(transaction.0);
            });
        }
        Request::Vote { transaction } => of_transaction(writer, "vote", *transaction),
        Request::Finish { transaction } => of_transaction(writer, "tpc_finish", *transaction),
        Request::Abort { transaction } => of_transaction(writer, "tpc_abort", *transaction),
        Request::Status => call(writer, "server_status", 0, |_| ()),
        Request::Ping => call(writer, "ping", 0, |_| ()),
        Request::Label(label) => call(writer, "set_client_label", 1, |writer| writer.str(label)),
        Request::Unsupported { method } => call(writer, method, 0, |_| ()),
        // `encode` does not come here with these.
        _ => {}
    }
}

fn begin<E: Encoding>(writer: &mut E::Writer<'_>, begin: &Begin) {
    call(writer, "tpc_begin", 6, |writer| {
        writer.int(begin.transaction.0);
        writer.bytes(&begin.user);
        writer.bytes(&begin.description);
        E::write_extension(&begin.extension, writer);
        match begin.tid {
            Some(tid) => self::tid(writer, tid),
            None => writer.nil(),
        }
        writer.str(char::from(begin.status).encode_utf8(&mut [0; 4]));
    });
}

fn call<W: Writer>(writer: &mut W, name: &str, arguments: usize, write: impl FnOnce(&mut W)) {
    writer.str(name);
    writer.tuple(arguments, write);
}

fn revision(writer: &mut impl Writer, name: &str, oid: Oid, tid: Tid) {
    call(writer, name, 2, |writer| {
        self::oid(writer, oid);
        self::tid(writer, tid);
    });
}

fn write_at(
    writer: &mut impl Writer,
    name: &str,
    oid: Oid,
    serial: Tid,
    transaction: TransactionId,
) {
    call(writer, name, 3, |writer| {
        self::oid(writer, oid);
        tid(writer, serial);
        writer.int(transaction.0);
    });
}

fn of_transaction(writer: &mut impl Writer, name: &str, transaction: TransactionId) {
    call(writer, name, 1, |writer| writer.int(transaction.0));
}

fn oid(writer: &mut impl Writer, oid: Oid) {
    writer.bytes(&oid.to_bytes());
}

fn tid(writer: &mut impl Writer, tid: Tid) {
    writer.bytes(&tid.to_bytes());
}
