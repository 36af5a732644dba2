//! Compares a storage with the model.

mod past;

use std::fmt::Debug;

use protocol::{Oid, Tid};
use storage::{Storage, Which};

use crate::{Inbox, Model};

/// Compares all that can be read: every object (and `absent` ones) as of every tid at which
/// something happened and just before and after it, every revision by its serial, current tids,
/// end tids, the counts, histories, and what iterations give. `Err` says what differs.
pub fn same_content(
    storage: &dyn Storage,
    inbox: &Inbox,
    model: &Model,
    absent: &[Oid],
) -> Result<(), String> {
    same("the number of objects", &storage.extent().objects, &(model.oids().len() as u64))?;
    let last_tid = storage.subscribe(&inbox.mailbox);
    storage.unsubscribe(&inbox.mailbox);
    same("the last tid", &last_tid, &model.last_tid())?;
    let absent = absent.iter().copied().filter(|&oid| model.revisions(oid).next().is_none());
    for oid in model.oids().chain(absent) {
        same_object(storage, inbox, model, oid)?;
    }
    past::same(storage, inbox, model)
}

/// Compares what [`Storage::invalidations`] says for all spans between `model`'s transactions.
/// A storage that remembers `transactions` may know more, but nothing wrong.
pub fn same_invalidations(
    storage: &dyn Storage,
    model: &Model,
    transactions: usize,
) -> Result<(), String> {
    let until = model.last_tid();
    for since in [Tid::ZERO].into_iter().chain(model.tids()) {
        for since in [since, since.next()] {
            let what = format!("the invalidations since {since}");
            let Some(mut told) = storage.invalidations(since, until) else {
                if model.remembers(since, transactions) {
                    return Err(format!("{what} are remembered, the storage says they are not"));
                }
                continue;
            };
            told.sort();
            same(&what, &told, &model.changed(since, until).into_iter().collect())?;
        }
    }
    Ok(())
}

fn same_object(
    storage: &dyn Storage,
    inbox: &Inbox,
    model: &Model,
    oid: Oid,
) -> Result<(), String> {
    let what = |what: &str| format!("{what} of {oid}");
    same(&what("the current tid"), &storage.current_tid(oid), &model.current_tid(oid))?;
    let revisions: Vec<_> = model.revisions(oid).collect();
    let bounds = revisions.iter().flat_map(|&tid| [tid, tid.next()]);
    for bound in bounds.chain([Tid::MAX]) {
        let which = Which::Before(bound);
        let loaded = inbox.load(storage, oid, which);
        same(&what(&format!("{which:?}")), &loaded, &model.load(oid, which))?;
    }
    let absent = revisions.last().map_or(Tid(1), |tid| tid.next());
    for &tid in revisions.iter().chain([&absent]) {
        let which = Which::Serial(tid);
        let loaded = inbox.load(storage, oid, which);
        same(&what(&format!("{which:?}")), &loaded, &model.load(oid, which))?;
        if tid != absent {
            let end = storage.end_tid(oid, tid);
            same(&what(&format!("the end of {tid}")), &end, &model.end_tid(oid, tid))?;
        }
    }
    Ok(())
}

fn same<T: Debug + PartialEq>(what: &str, real: &T, right: &T) -> Result<(), String> {
    if real == right { Ok(()) } else { Err(format!("{what} is {real:?} and should be {right:?}")) }
}
