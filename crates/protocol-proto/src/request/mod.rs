//! Requests: `ClientMessage` and [`Request`].

mod past;
mod reads;
mod writes;

use protocol::{Call, Failure, Limits, Malformed, Oid, Request, TransactionId};

use crate::generated::ClientMessage;
use crate::generated::client_message::Request as Wire;
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
            | Wire::Undo(_)
            | Wire::BlobStart(_)
            | Wire::BlobChunk(_)
            | Wire::BlobEnd(_)
            | Wire::BlobShared(_)
            | Wire::EndIterators(_)
            | Wire::Label(_)
            | Wire::KeepAlive(_)
    )
}

fn decode_request(request: Wire, limits: Limits) -> Result<Request, Wrong> {
    match request {
        Wire::Register(message) => Ok(reads::register(message)),
        Wire::GetInfo(_) => Ok(Request::Info),
        Wire::GetLastTransaction(_) => Ok(Request::LastTransaction),
        Wire::GetInvalidations(message) => Ok(reads::invalidations(&message)),
        Wire::LoadBefore(message) => reads::load_before(&message),
        Wire::LoadSerial(message) => reads::load_serial(&message),
        Wire::GetCurrentTid(message) => reads::current_tid(&message),
        Wire::GetNewOids(message) => Ok(Request::NewOids { count: message.count }),
        Wire::LoadBlob(message) => reads::load_blob(&message),
        Wire::GetStatus(_) => Ok(Request::Status),
        Wire::Ping(_) => Ok(Request::Ping),
        Wire::Label(message) => Ok(Request::Label(message.label)),
        Wire::KeepAlive(_) => Ok(Request::KeepAlive),
        Wire::Begin(message) => writes::begin(message, limits),
        Wire::Store(message) => writes::store(message),
        Wire::Delete(message) => writes::delete(&message),
        Wire::CheckCurrentSerial(message) => writes::check(&message),
        Wire::Restore(message) => writes::restore(message),
        Wire::Undo(message) => Ok(writes::undo(&message)),
        Wire::BlobStart(message) => writes::blob_start(&message),
        Wire::BlobChunk(message) => writes::blob_chunk(message),
        Wire::BlobEnd(message) => writes::blob_end(message),
        Wire::BlobShared(message) => writes::blob_shared(message),
        Wire::Vote(message) => {
            Ok(Request::Vote { transaction: transaction_id(message.transaction) })
        }
        Wire::Finish(message) => {
            Ok(Request::Finish { transaction: transaction_id(message.transaction) })
        }
        Wire::Abort(message) => {
            Ok(Request::Abort { transaction: transaction_id(message.transaction) })
        }
        Wire::GetHistory(message) => past::history(&message),
        Wire::GetUndoLog(message) => past::undo_log(message, limits),
        Wire::GetNextRecord(message) => Ok(Request::NextRecord { oid: message.oid.map(Oid) }),
        Wire::Iterate(message) => Ok(past::iterate(&message)),
        Wire::NextTransaction(message) => {
            Ok(Request::NextTransaction { iterator: message.iterator })
        }
        Wire::IterateRecords(message) => Ok(past::iterate_records(&message)),
        Wire::NextTransactionRecord(message) => {
            Ok(Request::NextTransactionRecord { iterator: message.iterator })
        }
        Wire::EndIterators(message) => Ok(Request::EndIterators { iterators: message.iterators }),
        Wire::Pack(message) => Ok(past::pack(&message)),
    }
}

/// `None`: this protocol has no such request.
fn encode_request(request: &Request) -> Option<Wire> {
    reads::encode(request).or_else(|| writes::encode(request)).or_else(|| past::encode(request))
}

/// Oids have no default, though 0 is one: a request that lost its oid must not name the root.
fn required(oid: Option<u64>, transaction: Option<u64>) -> Result<Oid, Wrong> {
    oid.map(Oid).ok_or(Wrong { transaction, what: "no oid" })
}

fn transaction_id(number: u64) -> TransactionId {
    TransactionId(number.into())
}

fn number(transaction: TransactionId) -> Option<u64> {
    u64::try_from(transaction.0).ok()
}
