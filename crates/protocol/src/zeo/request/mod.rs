//! The method table, as a server reads it: a name and arguments become a [`Request`].

mod past;
mod writes;

use super::args::{Arg, Args};
use super::encoding::Encoding;
use super::value::Value;
use crate::codec::Malformed;
use crate::message::{Failure, Request, TransactionId};

/// The request that calls `name` with `arguments`. Only an unknown name is an error.
pub(super) fn decode<E: Encoding>(name: &str, arguments: Value<'_>) -> Result<Request, Malformed> {
    let args = |method| Args { method, values: arguments };
    let decoded = match name {
        "loadBefore" => load_before(args("loadBefore")),
        "storea" => writes::store(args("storea")),
        "tpc_begin" => writes::begin::<E>(args("tpc_begin")),
        "vote" => of_transaction(args("vote"), |transaction| Request::Vote { transaction }),
        "tpc_finish" => {
            of_transaction(args("tpc_finish"), |transaction| Request::Finish { transaction })
        }
        "tpc_abort" => {
            of_transaction(args("tpc_abort"), |transaction| Request::Abort { transaction })
        }
        "register" => register(args("register")),
        "get_info" => nullary(args("get_info"), Request::Info),
        "lastTransaction" => nullary(args("lastTransaction"), Request::LastTransaction),
        "getInvalidations" => invalidations(args("getInvalidations")),
        "loadSerial" => load_serial(args("loadSerial")),
        "getTid" => current_tid(args("getTid")),
        "new_oids" => new_oids(args("new_oids")),
        // In ZEO's table, too, and no method behind it.
        "new_oid" => {
            Err(Failure::Unsupported("new_oid() is not there, new_oids() is".into()).into())
        }
        "deleteObject" => writes::delete(args("deleteObject")),
        "checkCurrentSerialInTransaction" => writes::check(args("checkCurrentSerialInTransaction")),
        "restorea" => writes::restore(args("restorea")),
        "undoa" => writes::undo(args("undoa")),
        "storeBlobStart" => nullary(args("storeBlobStart"), Request::BlobStart { oid: None }),
        "storeBlobChunk" => writes::blob_chunk(args("storeBlobChunk")),
        "storeBlobEnd" => writes::blob_end(args("storeBlobEnd")),
        "storeBlobShared" => writes::blob_shared(args("storeBlobShared")),
        "sendBlob" => load_blob(args("sendBlob")),
        "history" => past::history(args("history")),
        "undoLog" => past::undo_log(args("undoLog")),
        "undoInfo" => past::undo_info::<E>(args("undoInfo")),
        "record_iternext" => past::next_record(args("record_iternext")),
        "iterator_start" => past::iterate(args("iterator_start")),
        "iterator_next" => past::next_transaction(args("iterator_next")),
        "iterator_record_start" => past::iterate_records(args("iterator_record_start")),
        "iterator_record_next" => past::next_transaction_record(args("iterator_record_next")),
        "iterator_gc" => past::end_iterators(args("iterator_gc")),
        "pack" => past::pack(args("pack")),
        "server_status" => nullary(args("server_status"), Request::Status),
        "ping" => nullary(args("ping"), Request::Ping),
        "set_client_label" => label(args("set_client_label")),
        _ => return Err(Malformed(format!("no such method: {name:.40?}"))),
    };
    Ok(decoded.unwrap_or_else(|Invalid { transaction, failure }| Request::Invalid {
        transaction,
        failure,
    }))
}

fn nullary(args: Args<'_>, request: Request) -> Decoded {
    let [] = args.exactly()?;
    Ok(request)
}

fn register(args: Args<'_>) -> Decoded {
    let [storage, read_only] = args.exactly()?;
    let storage = storage.str()?.to_owned();
    Ok(Request::Register { storage, read_only: read_only.value.is_true() })
}

fn invalidations(args: Args<'_>) -> Decoded {
    let [since] = args.exactly()?;
    Ok(Request::Invalidations { since: since.tid()? })
}

fn load_before(args: Args<'_>) -> Decoded {
    let [oid, before] = args.exactly()?;
    Ok(Request::LoadBefore { oid: oid.oid()?, before: before.tid()? })
}

fn load_serial(args: Args<'_>) -> Decoded {
    let [oid, serial] = args.exactly()?;
    Ok(Request::LoadSerial { oid: oid.oid()?, serial: serial.tid()? })
}

fn load_blob(args: Args<'_>) -> Decoded {
    let [oid, serial] = args.exactly()?;
    Ok(Request::LoadBlob { oid: oid.oid()?, serial: serial.tid()? })
}

fn current_tid(args: Args<'_>) -> Decoded {
    let [oid] = args.exactly()?;
    Ok(Request::CurrentTid { oid: oid.oid()? })
}

fn new_oids(args: Args<'_>) -> Decoded {
    let ([], [count]) = args.at_least()?;
    Ok(Request::NewOids { count: count.map_or(Ok(DEFAULT_NEW_OIDS), Arg::count)? })
}

fn label(args: Args<'_>) -> Decoded {
    let [label] = args.exactly()?;
    Ok(Request::Label(label.str()?.to_owned()))
}

fn of_transaction(args: Args<'_>, request: impl FnOnce(TransactionId) -> Request) -> Decoded {
    let [transaction] = args.exactly()?;
    Ok(request(transaction.transaction()?))
}

/// From here on a failure is that of `transaction`.
fn of(transaction: TransactionId, request: impl FnOnce() -> Result<Request, Failure>) -> Decoded {
    request().map_err(|failure| Invalid { transaction: Some(transaction), failure })
}

type Decoded = Result<Request, Invalid>;

/// Becomes [`Request::Invalid`].
struct Invalid {
    transaction: Option<TransactionId>,
    failure: Failure,
}

impl From<Failure> for Invalid {
    fn from(failure: Failure) -> Self {
        Self { transaction: None, failure }
    }
}

/// What `new_oids()` means; ZEO gives out no more at once.
pub(super) const DEFAULT_NEW_OIDS: u32 = 100;
