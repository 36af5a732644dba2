//! What a transaction begins with, consists of and ends with.

use protocol::zeo::msgpack;
use protocol::{Begin, Limits, Request, Tid};

use super::{Wrong, number, required, transaction_id};
use crate::generated as wire;
use crate::generated::client_message::Request as Wire;

pub(super) fn begin(message: wire::Begin, limits: Limits) -> Result<Request, Wrong> {
    // Clients of other protocols will get it in their own encoding.
    if !message.extension.is_empty() && !msgpack::is_map(&message.extension, &limits) {
        let transaction = Some(message.transaction);
        return Err(Wrong { transaction, what: "the extension is not a MessagePack map" });
    }
    let status = match u8::try_from(message.status) {
        Ok(0) => b' ',
        Ok(status) if status.is_ascii() => status,
        _ => {
            let transaction = Some(message.transaction);
            return Err(Wrong { transaction, what: "the status is not an ASCII character" });
        }
    };
    Ok(Request::Begin(Begin {
        transaction: transaction_id(message.transaction),
        user: message.user,
        description: message.description,
        extension: message.extension,
        tid: message.tid.map(Tid),
        status,
    }))
}

pub(super) fn store(message: wire::Store) -> Result<Request, Wrong> {
    Ok(Request::Store {
        transaction: transaction_id(message.transaction),
        oid: required(message.oid, Some(message.transaction))?,
        serial: Tid(message.serial),
        data: message.data,
    })
}

pub(super) fn delete(message: &wire::Delete) -> Result<Request, Wrong> {
    Ok(Request::Delete {
        transaction: transaction_id(message.transaction),
        oid: required(message.oid, Some(message.transaction))?,
        serial: Tid(message.serial),
    })
}

pub(super) fn check(message: &wire::CheckCurrentSerial) -> Result<Request, Wrong> {
    Ok(Request::CheckCurrentSerial {
        transaction: transaction_id(message.transaction),
        oid: required(message.oid, Some(message.transaction))?,
        serial: Tid(message.serial),
    })
}

pub(super) fn restore(message: wire::Restore) -> Result<Request, Wrong> {
    Ok(Request::Restore {
        transaction: transaction_id(message.transaction),
        oid: required(message.oid, Some(message.transaction))?,
        tid: Tid(message.tid),
        data: message.data,
        origin: message.origin.map(Tid),
    })
}

pub(super) fn undo(message: &wire::Undo) -> Request {
    Request::Undo { transaction: transaction_id(message.transaction), tid: Tid(message.tid) }
}

pub(super) fn blob_start(message: &wire::BlobStart) -> Result<Request, Wrong> {
    Ok(Request::BlobStart { oid: Some(required(message.oid, None)?) })
}

pub(super) fn blob_chunk(message: wire::BlobChunk) -> Result<Request, Wrong> {
    Ok(Request::BlobChunk { oid: Some(required(message.oid, None)?), data: message.data })
}

pub(super) fn blob_end(message: wire::BlobEnd) -> Result<Request, Wrong> {
    Ok(Request::BlobEnd {
        transaction: transaction_id(message.transaction),
        oid: required(message.oid, Some(message.transaction))?,
        serial: Tid(message.serial),
        data: message.data,
    })
}

pub(super) fn blob_shared(message: wire::BlobShared) -> Result<Request, Wrong> {
    Ok(Request::BlobShared {
        transaction: transaction_id(message.transaction),
        oid: required(message.oid, Some(message.transaction))?,
        serial: Tid(message.serial),
        data: message.data,
        file: message.file,
    })
}

/// `None`: it is another kind of request, or one of another protocol.
pub(super) fn encode(request: &Request) -> Option<Wire> {
    Some(match request {
        Request::Begin(begin) => Wire::Begin(encode_begin(begin)?),
        Request::Store { transaction, oid, serial, data } => Wire::Store(wire::Store {
            transaction: number(*transaction)?,
            oid: Some(oid.0),
            serial: serial.0,
            data: data.clone(),
        }),
        Request::Delete { transaction, oid, serial } => Wire::Delete(wire::Delete {
            transaction: number(*transaction)?,
            oid: Some(oid.0),
            serial: serial.0,
        }),
        Request::CheckCurrentSerial { transaction, oid, serial } => {
            Wire::CheckCurrentSerial(wire::CheckCurrentSerial {
                transaction: number(*transaction)?,
                oid: Some(oid.0),
                serial: serial.0,
            })
        }
        Request::Restore { transaction, oid, tid, data, origin } => Wire::Restore(wire::Restore {
            transaction: number(*transaction)?,
            oid: Some(oid.0),
            tid: tid.0,
            data: data.clone(),
            origin: origin.map(|origin| origin.0),
        }),
        Request::Vote { transaction } => {
            Wire::Vote(wire::Vote { transaction: number(*transaction)? })
        }
        Request::Finish { transaction } => {
            Wire::Finish(wire::Finish { transaction: number(*transaction)? })
        }
        Request::Abort { transaction } => {
            Wire::Abort(wire::Abort { transaction: number(*transaction)? })
        }
        Request::Undo { transaction, tid } => {
            Wire::Undo(wire::Undo { transaction: number(*transaction)?, tid: tid.0 })
        }
        other => return encode_blob(other),
    })
}

fn encode_blob(request: &Request) -> Option<Wire> {
    Some(match request {
        Request::BlobStart { oid: Some(oid) } => {
            Wire::BlobStart(wire::BlobStart { oid: Some(oid.0) })
        }
        Request::BlobChunk { oid: Some(oid), data } => {
            Wire::BlobChunk(wire::BlobChunk { oid: Some(oid.0), data: data.clone() })
        }
        Request::BlobEnd { transaction, oid, serial, data } => Wire::BlobEnd(wire::BlobEnd {
            transaction: number(*transaction)?,
            oid: Some(oid.0),
            serial: serial.0,
            data: data.clone(),
        }),
        Request::BlobShared { transaction, oid, serial, data, file } => {
            Wire::BlobShared(wire::BlobShared {
                transaction: number(*transaction)?,
                oid: Some(oid.0),
                serial: serial.0,
                data: data.clone(),
                file: file.clone(),
            })
        }
        _ => return None,
    })
}

fn encode_begin(begin: &Begin) -> Option<wire::Begin> {
    Some(wire::Begin {
        transaction: number(begin.transaction)?,
        user: begin.user.clone(),
        description: begin.description.clone(),
        extension: begin.extension.clone(),
        tid: begin.tid.map(|tid| tid.0),
        status: if begin.status == b' ' { 0 } else { begin.status.into() },
    })
}
