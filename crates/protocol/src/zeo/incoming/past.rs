//! What was committed: revisions, transactions and their records.

use super::{oid, optional, tid};
use crate::ids::Tid;
use crate::message::{CurrentRecord, TransactionHead, TransactionRecord, TransactionSummary};
use crate::zeo::base64;
use crate::zeo::extension;
use crate::zeo::reply::past::{DESCRIPTION, ID, SIZE, TID, TIME, USER};
use crate::zeo::value::Value;

pub(super) fn history(list: Value<'_>) -> Option<Vec<TransactionSummary>> {
    let summary = |map: Value<'_>| summary(map, tid(map.get(TID)?)?, TID);
    list.sequence()?.map(summary).collect()
}

pub(super) fn undo_log(list: Value<'_>) -> Option<Vec<TransactionSummary>> {
    let summary = |map: Value<'_>| summary(map, base64::to_tid(&map.get(ID)?.data()?)?, ID);
    list.sequence()?.map(summary).collect()
}

/// An extension's entry may have taken the place of any other: what is not of the right kind is
/// taken for empty.
fn summary(map: Value<'_>, tid: Tid, id: &str) -> Option<TransactionSummary> {
    let bytes = |key| map.get(key).and_then(|value| value.data()).unwrap_or_default();
    let size = map.get(SIZE).and_then(|size| size.int());
    map.entries().map(|_| TransactionSummary {
        tid,
        size: size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        user: bytes(USER),
        description: bytes(DESCRIPTION),
        extension: extension::of_map(map, &[id, TIME, SIZE, USER, DESCRIPTION]),
    })
}

pub(super) fn current_record(record: Value<'_>) -> Option<CurrentRecord> {
    let [oid, tid, data, next] = record.array()?;
    Some(CurrentRecord {
        oid: self::oid(oid)?,
        tid: self::tid(tid)?,
        data: data.data()?,
        next: optional(next, self::oid)?,
    })
}

pub(super) fn transaction(head: Value<'_>) -> Option<TransactionHead> {
    let [tid, status, user, description, extension] = head.array()?;
    let status = status.data()?;
    let [status] = <[u8; 1]>::try_from(&status[..]).ok()?;
    extension.entries()?;
    Some(TransactionHead {
        tid: self::tid(tid)?,
        status,
        user: user.data()?,
        description: description.data()?,
        extension: extension::of_map(extension, &[]),
    })
}

/// ZEO does not say which records have blobs.
pub(super) fn transaction_record(record: Value<'_>) -> Option<TransactionRecord> {
    let [oid, tid, data, origin] = record.array()?;
    Some(TransactionRecord {
        oid: self::oid(oid)?,
        tid: self::tid(tid)?,
        data: optional(data, |data| data.data())?,
        origin: optional(origin, self::tid)?,
        has_blob: false,
    })
}
