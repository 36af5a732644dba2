//! What a client sends: requests in the shapes of ZEO's own client.

mod past;
mod writes;

use super::encoding::{Encoding, Writer};
use super::reply::REPLY;
use super::request::DEFAULT_NEW_OIDS;
use crate::ids::{Oid, Tid};
use crate::message::Request;

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
                arguments(writer, request);
            });
        }),
    }
}

/// The name and the arguments.
fn arguments(writer: &mut impl Writer, request: &Request) {
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
        Request::Status => call(writer, "server_status", 0, |_| ()),
        Request::Ping => call(writer, "ping", 0, |_| ()),
        Request::Label(label) => call(writer, "set_client_label", 1, |writer| writer.str(label)),
        Request::LoadBlob { oid, serial } => revision(writer, "sendBlob", *oid, *serial),
        other => writes::arguments(writer, other),
    }
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
