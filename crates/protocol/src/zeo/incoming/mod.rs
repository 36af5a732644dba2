//! What a client reads: replies, for which it knows what it waits for, and pushes.

mod failure;
mod past;

use super::reply::{BLOB_CHUNK, BLOB_START, BLOB_STOP, INFO, INVALIDATE, REPLY};
use super::value::Value;
use crate::codec::{Incoming, Malformed};
use crate::ids::{Oid, Tid};
use crate::message::{Conflict, Expect, Info, Interface, Loaded, Push, Reply, Status};

/// Reads a whole message.
pub(super) fn decode(
    message: Value<'_>,
    expects: &mut dyn FnMut(u64) -> Option<Expect>,
) -> Result<Incoming, Malformed> {
    let [id, flag, name, arguments] =
        message.array().ok_or_else(|| Malformed("not a message of four parts".into()))?;
    match name.str() {
        Some(REPLY) => {
            let number = id.int().and_then(|id| u64::try_from(id).ok());
            let (number, expect) = number
                .and_then(|number| Some((number, expects(number)?)))
                .ok_or_else(|| Malformed("a reply to no call".into()))?;
            let reply = if flag.is_true() {
                Reply::Failed(failure::read(arguments).ok_or_else(|| unlike("an error"))?)
            } else {
                reply(arguments, expect).ok_or_else(|| unlike(&format!("{expect:?}")))?
            };
            Ok(Incoming::Reply { number, reply })
        }
        Some(name) => push(name, arguments).map(Incoming::Push),
        None => Err(unlike("a message")),
    }
}

fn push(name: &str, arguments: Value<'_>) -> Result<Push, Malformed> {
    let push = match name {
        INVALIDATE => arguments.array().and_then(|[changed_by, changed]| {
            Some(Push::Invalidate { tid: tid(changed_by)?, oids: oids(changed)?.into() })
        }),
        INFO => arguments.array().and_then(|[info]| {
            Some(Push::Info { length: count(info, "length")?, size: count(info, "size")? })
        }),
        BLOB_START => revision(arguments).map(|(oid, serial)| Push::BlobStart { oid, serial }),
        BLOB_CHUNK => arguments.array().and_then(|[oid, serial, data]| {
            let (oid, serial) = (self::oid(oid)?, tid(serial)?);
            Some(Push::BlobChunk { oid, serial, data: data.data()? })
        }),
        BLOB_STOP => revision(arguments).map(|(oid, serial)| Push::BlobStop { oid, serial }),
        _ => return Err(Malformed(format!("no such callback: {name:.40?}"))),
    };
    push.ok_or_else(|| unlike(name))
}

fn revision(arguments: Value<'_>) -> Option<(Oid, Tid)> {
    let [oid, serial] = arguments.array()?;
    Some((self::oid(oid)?, tid(serial)?))
}

fn unlike(what: &str) -> Malformed {
    Malformed(format!("unlike {what}"))
}

/// A result of the kind that is waited for.
fn reply(result: Value<'_>, expect: Expect) -> Option<Reply> {
    Some(match expect {
        // Nothing is said, so nothing is looked at.
        Expect::Done => Reply::Done,
        // ZEO finishes a transaction that is not there with None.
        Expect::Tid if result.is_none() => Reply::Done,
        Expect::Tid => Reply::Tid(tid(result)?),
        Expect::Info => Reply::Info(info(result)?),
        Expect::Invalidations if result.is_none() => Reply::Invalidations(None),
        Expect::Invalidations => {
            let [newest, changed] = result.array()?;
            Reply::Invalidations(Some((tid(newest)?, oids(changed)?)))
        }
        Expect::Loaded if result.is_none() => Reply::Loaded(None),
        Expect::Loaded => {
            let [data, start, end] = result.array()?;
            let (data, tid, end) = (data.data()?, tid(start)?, optional(end, tid)?);
            Reply::Loaded(Some(Loaded { data, tid, end }))
        }
        Expect::Data => Reply::Data(result.data()?),
        Expect::Oids => Reply::Oids(oids(result)?),
        Expect::Vote => vote(result)?,
        Expect::Status => Reply::Status(Box::new(status(result)?)),
        Expect::History => Reply::History(past::history(result)?),
        Expect::UndoLog => Reply::UndoLog(past::undo_log(result)?),
        Expect::CurrentRecord => Reply::CurrentRecord(past::current_record(result)?),
        Expect::Iterator => Reply::Iterator(u64::try_from(result.int()?).ok()?),
        Expect::Transaction => Reply::Transaction(optional(result, past::transaction)?),
        Expect::TransactionRecord => {
            Reply::TransactionRecord(optional(result, past::transaction_record)?)
        }
    })
}

/// Nothing, conflicts, or the oids of records that the server has determined itself.
fn vote(result: Value<'_>) -> Option<Reply> {
    if let Some(determined) = oids(result).filter(|oids| !oids.is_empty()) {
        return Some(Reply::Determined(determined));
    }
    let conflicts = result.sequence()?.map(|conflict| {
        let [committed, given] = conflict.get("serials")?.array()?;
        Some(Conflict {
            oid: oid(conflict.get("oid")?)?,
            committed: tid(committed)?,
            given: tid(given)?,
            data: conflict.get("data")?.data()?,
        })
    });
    let conflicts: Vec<Conflict> = conflicts.collect::<Option<_>>()?;
    Some(if conflicts.is_empty() { Reply::Voted } else { Reply::Conflicts(conflicts) })
}

fn info(map: Value<'_>) -> Option<Info> {
    let interfaces = map.get("interfaces")?.sequence()?.filter_map(interface).collect();
    Some(Info {
        length: count(map, "length")?,
        size: count(map, "size")?,
        name: map.get("name")?.str()?.to_owned(),
        supports_undo: map.get("supportsUndo")?.is_true(),
        supports_record_iternext: map.get("supports_record_iternext")?.is_true(),
        interfaces,
    })
}

/// An interface that a client can make use of: one it knows.
fn interface(pair: Value<'_>) -> Option<Interface> {
    let [module, name] = pair.array()?;
    let (module, name) = (module.str()?, name.str()?);
    INTERFACES.into_iter().find(|known| *known == (module, name))
}

fn status(map: Value<'_>) -> Option<Status> {
    Some(Status {
        connections: count(map, "connections")?,
        loads: count(map, "loads")?,
        stores: count(map, "stores")?,
        commits: count(map, "commits")?,
        aborts: count(map, "aborts")?,
        active_transactions: count(map, "active_txns")?,
        lock_time: map.get("lock_time")?.float(),
        conflicts: count(map, "conflicts")?,
        start: map.get("start")?.str()?.to_owned(),
        waiting: count(map, "waiting")?,
        // Without a timeout it is the word "stub".
        timeout_active: map.get("timeout-thread-is-alive")?.str().is_none(),
        last_transaction: Tid(hexadecimal(map.get("last-transaction")?.str()?)?),
    })
}

fn hexadecimal(digits: &str) -> Option<u64> {
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

fn oids(list: Value<'_>) -> Option<Vec<Oid>> {
    list.sequence()?.map(oid).collect()
}

fn oid(value: Value<'_>) -> Option<Oid> {
    Oid::try_from(value.bytes()?).ok()
}

fn tid(value: Value<'_>) -> Option<Tid> {
    Tid::try_from(value.bytes()?).ok()
}

/// `None`, or what `read` makes of it; without a value if it makes nothing.
fn optional<'a, T>(value: Value<'a>, read: fn(Value<'a>) -> Option<T>) -> Option<Option<T>> {
    if value.is_none() { Some(None) } else { read(value).map(Some) }
}

fn count(map: Value<'_>, key: &str) -> Option<u64> {
    u64::try_from(map.get(key)?.int()?).ok()
}

/// What the storages of ZODB and ZEO offer to clients.
const INTERFACES: [Interface; 11] = [
    ("ZODB.interfaces", "IBlobStorageRestoreable"),
    ("ZODB.interfaces", "IBlobStorage"),
    ("ZODB.interfaces", "IStorageRestoreable"),
    ("ZODB.interfaces", "IStorageIteration"),
    ("ZODB.interfaces", "IStorageUndoable"),
    ("ZODB.interfaces", "IStorageCurrentRecordIteration"),
    ("ZODB.interfaces", "IExternalGC"),
    ("ZODB.interfaces", "IStorage"),
    ("ZODB.interfaces", "IMultiCommitStorage"),
    ("ZODB.interfaces", "IMVCCStorage"),
    ("zope.interface", "Interface"),
];
