//! The method table, as a server reads it: a name and arguments become a [`Request`].

use bytes::Bytes;

use super::args::{Arg, Args};
use super::encoding::Encoding;
use super::value::Value;
use crate::codec::Malformed;
use crate::message::{Begin, Failure, Request, TransactionId};

/// The request that calls `name` with `arguments`. Only an unknown name is an error.
pub(super) fn decode<E: Encoding>(name: &str, arguments: Value<'_>) -> Result<Request, Malformed> {
    let args = |method| Args { method, values: arguments };
    let decoded = match name {
        "loadBefore" => load_before(args("loadBefore")),
        "storea" => store(args("storea")),
        "tpc_begin" => begin::<E>(args("tpc_begin")),
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
        "deleteObject" => delete(args("deleteObject")),
        "checkCurrentSerialInTransaction" => check(args("checkCurrentSerialInTransaction")),
        "restorea" => restore(args("restorea")),
        "server_status" => nullary(args("server_status"), Request::Status),
        "ping" => nullary(args("ping"), Request::Ping),
        "set_client_label" => label(args("set_client_label")),
        "undoa" => not_offered::<2>(args("undoa"), "undo is not supported"),
        "storeBlobEnd" => not_offered::<4>(args("storeBlobEnd"), NO_BLOBS),
        "storeBlobShared" => not_offered::<5>(args("storeBlobShared"), NO_BLOBS),
        _ => Ok(unsupported(name)?),
    };
    Ok(decoded.unwrap_or_else(|Invalid { transaction, failure }| Request::Invalid {
        transaction,
        failure,
    }))
}

/// ZEO has these methods; this version offers none of them.
fn unsupported(name: &str) -> Result<Request, Malformed> {
    UNSUPPORTED
        .iter()
        .find(|method| **method == name)
        .map(|method| Request::Unsupported { method })
        .ok_or_else(|| Malformed(format!("no such method: {name:.40?}")))
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

fn current_tid(args: Args<'_>) -> Decoded {
    let [oid] = args.exactly()?;
    Ok(Request::CurrentTid { oid: oid.oid()? })
}

fn new_oids(args: Args<'_>) -> Decoded {
    let [count] = args.up_to(0)?;
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

fn begin<E: Encoding>(args: Args<'_>) -> Decoded {
    let [Some(transaction), Some(user), Some(description), Some(extension), tid, status] =
        args.up_to(4)?
    else {
        // `up_to` counted four, so this is not reached.
        return Err(Failure::Arguments("tpc_begin() takes 4 to 6 arguments".into()).into());
    };
    let transaction = transaction.transaction()?;
    of(transaction, || {
        Ok(Request::Begin(Begin {
            transaction,
            user: user.data()?,
            description: description.data()?,
            extension: self::extension::<E>(extension)?,
            tid: tid.map_or(Ok(None), Arg::tid_or_none)?,
            status: status.map_or(Ok(b' '), self::status)?,
        }))
    })
}

fn extension<E: Encoding>(arg: Arg<'_>) -> Result<Bytes, Failure> {
    match arg.value.entries() {
        Some(0) => Ok(Bytes::new()),
        Some(_) => E::extension(arg.value).map_err(|not_plain| {
            Failure::Arguments(format!("the extension of a transaction: {not_plain}"))
        }),
        None if arg.value.is_none() => Ok(Bytes::new()),
        None => Err(arg.mistyped("an extension as dict")),
    }
}

fn status(arg: Arg<'_>) -> Result<u8, Failure> {
    match arg.value.data().as_deref() {
        Some(&[status]) if status.is_ascii() => Ok(status),
        _ => Err(arg.mistyped("a status of one character")),
    }
}

fn store(args: Args<'_>) -> Decoded {
    let [oid, serial, data, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        let (oid, serial, data) = (oid.oid()?, serial.serial()?, data.data()?);
        Ok(Request::Store { transaction, oid, serial, data })
    })
}

fn delete(args: Args<'_>) -> Decoded {
    let [oid, serial, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        Ok(Request::Delete { transaction, oid: oid.oid()?, serial: serial.serial()? })
    })
}

fn check(args: Args<'_>) -> Decoded {
    let [oid, serial, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        Ok(Request::CheckCurrentSerial { transaction, oid: oid.oid()?, serial: serial.serial()? })
    })
}

fn restore(args: Args<'_>) -> Decoded {
    let [oid, tid, data, previous, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        let origin = previous.tid_or_none()?;
        let (oid, tid, data) = (oid.oid()?, tid.tid()?, data.data_or_none()?);
        Ok(Request::Restore { transaction, oid, tid, data, origin })
    })
}

/// A one-way method that names its transaction last. Its answer is the vote's.
fn not_offered<const N: usize>(args: Args<'_>, why: &str) -> Decoded {
    let named: [Arg<'_>; N] = args.exactly()?;
    let transaction = named.last().map(|transaction| transaction.transaction()).transpose()?;
    Err(Invalid { transaction, failure: Failure::Unsupported(why.to_owned()) })
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

const NO_BLOBS: &str = "blobs are not supported";

const UNSUPPORTED: [&str; 14] = [
    "history",
    "iterator_gc",
    "iterator_next",
    "iterator_record_next",
    "iterator_record_start",
    "iterator_start",
    "new_oid",
    "pack",
    "record_iternext",
    "sendBlob",
    "storeBlobChunk",
    "storeBlobStart",
    "undoInfo",
    "undoLog",
];
