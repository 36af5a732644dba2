//! What a client reads: replies, for which it knows what it waits for, and pushes.

use super::reply::{
    CONFLICT_ERROR, INFO, INVALIDATE, POS_KEY_ERROR, READ_CONFLICT_ERROR, READ_ONLY_ERROR, REPLY,
    STORAGE_ERROR, STORAGE_TRANSACTION_ERROR, TYPE_ERROR, UNSUPPORTED, VALUE_ERROR,
};
use super::value::Value;
use crate::codec::{Incoming, Malformed};
use crate::ids::{Oid, Tid};
use crate::message::{
    Conflict, Expect, Failure, Info, Interface, Loaded, Push, Reply, Status, TransactionFault,
    TransactionId,
};

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
                Reply::Failed(failure(arguments).ok_or_else(|| unlike("an error"))?)
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
        _ => return Err(Malformed(format!("no such callback: {name:.40?}"))),
    };
    push.ok_or_else(|| unlike(name))
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
            let end = if end.is_none() { None } else { Some(tid(end)?) };
            Reply::Loaded(Some(Loaded { data: data.data()?, tid: tid(start)?, end }))
        }
        Expect::Data => Reply::Data(result.data()?),
        Expect::Oids => Reply::Oids(oids(result)?),
        Expect::Vote => vote(result)?,
        Expect::Status => Reply::Status(Box::new(status(result)?)),
        _ => return None,
    })
}

/// Oids in place of conflicts, records that a server has changed on its own, are refused: this
/// client would go on with bytes that are not those of the server.
fn vote(result: Value<'_>) -> Option<Reply> {
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

/// The inverse of what `reply` writes, and sense made of the rest that ZEO sends.
fn failure(error: Value<'_>) -> Option<Failure> {
    let [name, arguments] = error.array()?;
    let name = name.str()?;
    let known =
        match name {
            POS_KEY_ERROR => key(arguments),
            READ_ONLY_ERROR => Some(Failure::ReadOnly),
            STORAGE_TRANSACTION_ERROR => transaction(arguments),
            CONFLICT_ERROR => conflict(arguments)
                .map(|(oid, committed, given)| Failure::Conflict { oid, committed, given }),
            READ_CONFLICT_ERROR => conflict(arguments)
                .map(|(oid, committed, given)| Failure::ReadConflict { oid, committed, given }),
            VALUE_ERROR => text(arguments)
                .and_then(|text| text.strip_prefix("unknown storage: "))
                .map(|storage| Failure::UnknownStorage(storage.to_owned())),
            TYPE_ERROR => text(arguments).map(|text| Failure::Arguments(text.to_owned())),
            UNSUPPORTED => text(arguments).map(|text| Failure::Unsupported(text.to_owned())),
            STORAGE_ERROR => text(arguments).map(|text| Failure::Storage(text.to_owned())),
            _ => None,
        };
    Some(known.unwrap_or_else(|| Failure::Storage(describe(name, arguments))))
}

/// `[oid]`, `[oid, tid]`, or of a blob `[text, oid, tid]`.
fn key(arguments: Value<'_>) -> Option<Failure> {
    let bytes = arguments.sequence()?.find_map(|argument| argument.bytes().map(|_| argument))?;
    Some(
        oid(bytes)
            .map_or_else(|| Failure::BadId(bytes.data().unwrap_or_default()), Failure::UnknownOid),
    )
}

fn transaction(arguments: Value<'_>) -> Option<Failure> {
    if let Some([current, given]) = arguments.array() {
        return Some(Failure::Transaction(TransactionFault::Wrong {
            current: current.int().map(TransactionId),
            given: TransactionId(given.int()?),
        }));
    }
    let text = text(arguments)?;
    let fault = FAULTS.into_iter().find(|fault| fault.to_string() == text)?;
    Some(Failure::Transaction(fault))
}

fn conflict(map: Value<'_>) -> Option<(Oid, Tid, Tid)> {
    let [committed, given] = map.get("serials")?.array()?;
    Some((oid(map.get("oid")?)?, tid(committed)?, tid(given)?))
}

/// The only argument of an exception.
fn text<'a>(arguments: Value<'a>) -> Option<&'a str> {
    let [text] = arguments.array()?;
    text.str()
}

/// An exception that has no [`Failure`] of its own.
fn describe(name: &str, arguments: Value<'_>) -> String {
    match arguments.sequence().and_then(|mut arguments| arguments.find_map(|text| text.str())) {
        Some(text) => format!("{name}: {text}"),
        None => name.to_owned(),
    }
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

fn count(map: Value<'_>, key: &str) -> Option<u64> {
    u64::try_from(map.get(key)?.int()?).ok()
}

/// The faults that are told by their text.
const FAULTS: [TransactionFault; 5] = [
    TransactionFault::AlreadyVoted,
    TransactionFault::VoteWaits,
    TransactionFault::NotVoted,
    TransactionFault::Aborted,
    TransactionFault::OldTid,
];

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
