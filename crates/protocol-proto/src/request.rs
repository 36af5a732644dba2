//! Requests: `ClientMessage` and [`Request`].

use protocol::zeo::msgpack;
use protocol::{Begin, Call, Failure, Limits, Malformed, Oid, Request, Tid, TransactionId};

use crate::generated::client_message::Request as Wire;
use crate::generated::{self as wire, ClientMessage};
use crate::{direct, put};

pub(crate) fn decode(message: ClientMessage, limits: Limits) -> Result<Call, Malformed> {
    let Some(request) = message.request else {
        return Err(Malformed("no request that is known".to_owned()));
    };
    let id = match (message.id, is_one_way(&request)) {
        (0, true) => None,
        (0, false) => return Err(Malformed("a call with the id 0".to_owned())),
        (_, true) => return Err(Malformed("a one-way request with an id".to_owned())),
        (id, false) => Some(direct::message_id(id)),
    };
    let request = decode_request(request, limits)
        .unwrap_or_else(|Wrong { transaction, what }| invalid(transaction, what));
    Ok(Call { id, request })
}

pub(crate) fn encode(number: u64, request: &Request, out: &mut Vec<u8>) {
    let id = if request.expects().is_some() { number } else { 0 };
    put(&ClientMessage { id, request: encode_request(request) }, out);
}

/// A whole message with an argument that cannot be.
struct Wrong {
    transaction: Option<u64>,
    what: &'static str,
}

fn invalid(transaction: Option<u64>, what: &str) -> Request {
    Request::Invalid {
        transaction: transaction.map(transaction_id),
        failure: Failure::Arguments(what.to_owned()),
    }
}

fn is_one_way(request: &Wire) -> bool {
    matches!(
        request,
        Wire::Begin(_)
            | Wire::Store(_)
            | Wire::Delete(_)
            | Wire::CheckCurrentSerial(_)
            | Wire::Restore(_)
            | Wire::Label(_)
            | Wire::KeepAlive(_)
    )
}

fn decode_request(request: Wire, limits: Limits) -> Result<Request, Wrong> {
    Ok(match request {
        Wire::Register(wire::Register { storage, read_only }) => {
            Request::Register { storage, read_only }
        }
        Wire::GetInfo(wire::GetInfo {}) => Request::Info,
        Wire::GetLastTransaction(wire::GetLastTransaction {}) => Request::LastTransaction,
        Wire::GetInvalidations(message) => Request::Invalidations { since: Tid(message.since) },
        Wire::LoadBefore(message) => Request::LoadBefore {
            oid: required(message.oid, None)?,
            before: message.before.map_or(Tid::MAX, Tid),
        },
        Wire::LoadSerial(message) => {
            Request::LoadSerial { oid: required(message.oid, None)?, serial: Tid(message.serial) }
        }
        Wire::GetCurrentTid(message) => Request::CurrentTid { oid: required(message.oid, None)? },
        Wire::GetNewOids(message) => Request::NewOids { count: message.count },
        Wire::Begin(message) => Request::Begin(decode_begin(message, limits)?),
        Wire::Store(message) => Request::Store {
            transaction: transaction_id(message.transaction),
            oid: required(message.oid, Some(message.transaction))?,
            serial: Tid(message.serial),
            data: message.data,
        },
        Wire::Delete(message) => Request::Delete {
            transaction: transaction_id(message.transaction),
            oid: required(message.oid, Some(message.transaction))?,
            serial: Tid(message.serial),
        },
        Wire::CheckCurrentSerial(message) => Request::CheckCurrentSerial {
            transaction: transaction_id(message.transaction),
            oid: required(message.oid, Some(message.transaction))?,
            serial: Tid(message.serial),
        },
        Wire::Restore(message) => Request::Restore {
            transaction: transaction_id(message.transaction),
            oid: required(message.oid, Some(message.transaction))?,
            tid: Tid(message.tid),
            data: message.data,
            origin: None,
        },
        Wire::Vote(message) => Request::Vote { transaction: transaction_id(message.transaction) },
        Wire::Finish(message) => {
            Request::Finish { transaction: transaction_id(message.transaction) }
        }
        Wire::Abort(message) => Request::Abort { transaction: transaction_id(message.transaction) },
        Wire::GetStatus(wire::GetStatus {}) => Request::Status,
        Wire::Ping(wire::Ping {}) => Request::Ping,
        Wire::Label(message) => Request::Label(message.label),
        Wire::KeepAlive(wire::KeepAlive {}) => Request::KeepAlive,
    })
}

/// Oids have no default, though 0 is one: a request that lost its oid must not name the root.
fn required(oid: Option<u64>, transaction: Option<u64>) -> Result<Oid, Wrong> {
    oid.map(Oid).ok_or(Wrong { transaction, what: "no oid" })
}

fn decode_begin(message: wire::Begin, limits: Limits) -> Result<Begin, Wrong> {
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
    Ok(Begin {
        transaction: transaction_id(message.transaction),
        user: message.user,
        description: message.description,
        extension: message.extension,
        tid: message.tid.map(Tid),
        status,
    })
}

/// `None`: this protocol has no such request.
fn encode_request(request: &Request) -> Option<Wire> {
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
        Request::Restore { transaction, oid, tid, data, .. } => Wire::Restore(wire::Restore {
            transaction: number(*transaction)?,
            oid: Some(oid.0),
            tid: tid.0,
            data: data.clone(),
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
        Request::Status => Wire::GetStatus(wire::GetStatus {}),
        Request::Ping => Wire::Ping(wire::Ping {}),
        Request::Label(label) => Wire::Label(wire::Label { label: label.clone() }),
        Request::KeepAlive => Wire::KeepAlive(wire::KeepAlive {}),
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

fn transaction_id(number: u64) -> TransactionId {
    TransactionId(number.into())
}

fn number(transaction: TransactionId) -> Option<u64> {
    u64::try_from(transaction.0).ok()
}
