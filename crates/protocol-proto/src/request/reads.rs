//! Requests that change nothing.

use protocol::{Request, Tid};

use super::{Wrong, required};
use crate::generated as wire;
use crate::generated::client_message::Request as Wire;

pub(super) fn register(message: wire::Register) -> Request {
    Request::Register { storage: message.storage, read_only: message.read_only }
}

pub(super) fn invalidations(message: &wire::GetInvalidations) -> Request {
    Request::Invalidations { since: Tid(message.since) }
}

pub(super) fn load_before(message: &wire::LoadBefore) -> Result<Request, Wrong> {
    let before = message.before.map_or(Tid::MAX, Tid);
    Ok(Request::LoadBefore { oid: required(message.oid, None)?, before })
}

pub(super) fn load_serial(message: &wire::LoadSerial) -> Result<Request, Wrong> {
    Ok(Request::LoadSerial { oid: required(message.oid, None)?, serial: Tid(message.serial) })
}

pub(super) fn load_blob(message: &wire::LoadBlob) -> Result<Request, Wrong> {
    Ok(Request::LoadBlob { oid: required(message.oid, None)?, serial: Tid(message.serial) })
}

pub(super) fn current_tid(message: &wire::GetCurrentTid) -> Result<Request, Wrong> {
    Ok(Request::CurrentTid { oid: required(message.oid, None)? })
}

/// `None`: it is another kind of request.
pub(super) fn encode(request: &Request) -> Option<Wire> {
    Some(match request {
        Request::Register { storage, read_only } => {
            Wire::Register(wire::Register { storage: storage.clone(), read_only: *read_only })
        }
        Request::Info => Wire::GetInfo(wire::GetInfo {}),
        Request::LastTransaction => Wire::GetLastTransaction(wire::GetLastTransaction {}),
        Request::Invalidations { since } => {
            Wire::GetInvalidations(wire::GetInvalidations { since: since.0 })
        }
        Request::LoadBefore { oid, before } => Wire::LoadBefore(wire::LoadBefore {
            oid: Some(oid.0),
            before: (*before != Tid::MAX).then_some(before.0),
        }),
        Request::LoadSerial { oid, serial } => {
            Wire::LoadSerial(wire::LoadSerial { oid: Some(oid.0), serial: serial.0 })
        }
        Request::CurrentTid { oid } => {
            Wire::GetCurrentTid(wire::GetCurrentTid { oid: Some(oid.0) })
        }
        Request::NewOids { count } => Wire::GetNewOids(wire::GetNewOids { count: *count }),
        Request::Status => Wire::GetStatus(wire::GetStatus {}),
        Request::Ping => Wire::Ping(wire::Ping {}),
        Request::Label(label) => Wire::Label(wire::Label { label: label.clone() }),
        Request::KeepAlive => Wire::KeepAlive(wire::KeepAlive {}),
        Request::LoadBlob { oid, serial } => {
            Wire::LoadBlob(wire::LoadBlob { oid: Some(oid.0), serial: serial.0 })
        }
        _ => return None,
    })
}
