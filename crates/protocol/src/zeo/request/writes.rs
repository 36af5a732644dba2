//! What a transaction begins with and consists of: one-way, so what is wrong is the vote's failure.

use bytes::Bytes;

use super::{Decoded, of};
use crate::message::{Begin, Failure, Request};
use crate::zeo::args::{Arg, Args};
use crate::zeo::base64;
use crate::zeo::encoding::Encoding;

pub(super) fn begin<E: Encoding>(args: Args<'_>) -> Decoded {
    let ([transaction, user, description, extension], [tid, status]) = args.at_least()?;
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
        Some(_) => E::msgpack(arg.value).map_err(|not_plain| {
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

pub(super) fn store(args: Args<'_>) -> Decoded {
    let [oid, serial, data, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        let (oid, serial, data) = (oid.oid()?, serial.serial()?, data.data()?);
        Ok(Request::Store { transaction, oid, serial, data })
    })
}

pub(super) fn delete(args: Args<'_>) -> Decoded {
    let [oid, serial, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        Ok(Request::Delete { transaction, oid: oid.oid()?, serial: serial.serial()? })
    })
}

pub(super) fn check(args: Args<'_>) -> Decoded {
    let [oid, serial, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        Ok(Request::CheckCurrentSerial { transaction, oid: oid.oid()?, serial: serial.serial()? })
    })
}

pub(super) fn restore(args: Args<'_>) -> Decoded {
    let [oid, tid, data, previous, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        let origin = previous.tid_or_none()?;
        let (oid, tid, data) = (oid.oid()?, tid.tid()?, data.data_or_none()?);
        Ok(Request::Restore { transaction, oid, tid, data, origin })
    })
}

/// What is not a tid is not the tid of a transaction.
pub(super) fn undo(args: Args<'_>) -> Decoded {
    let [id, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        let tid = base64::to_tid(&id.data()?);
        let tid = tid.ok_or_else(|| Failure::NotUndoable("Invalid transaction id".into()))?;
        Ok(Request::Undo { transaction, tid })
    })
}

pub(super) fn blob_chunk(args: Args<'_>) -> Decoded {
    let [data] = args.exactly()?;
    Ok(Request::BlobChunk { oid: None, data: data.data()? })
}

pub(super) fn blob_end(args: Args<'_>) -> Decoded {
    let [oid, serial, data, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        let (oid, serial, data) = (oid.oid()?, serial.serial()?, data.data()?);
        Ok(Request::BlobEnd { transaction, oid, serial, data })
    })
}

pub(super) fn blob_shared(args: Args<'_>) -> Decoded {
    let [oid, serial, data, file, transaction] = args.exactly()?;
    let transaction = transaction.transaction()?;
    of(transaction, || {
        let (oid, serial, data) = (oid.oid()?, serial.serial()?, data.data()?);
        Ok(Request::BlobShared { transaction, oid, serial, data, file: file.str()?.to_owned() })
    })
}
