//! What must be true of a disk after a crash.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeSet;

use protocol::{Failure, Oid, Tid};
use storage::{Completion, Options, Storage};
use testkit::{Draft, Inbox, Model, SimDisk, Write, compare};

use crate::script::Script;
use crate::support;

/// What an image may have lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Nothing that was answered.
    Answered,
    /// The last transactions, answered or not.
    Anything,
}

/// Opens `image`, which shows the script's disk after `ops` changes, in several ways; `Err` says
/// what is wrong. Returns how many bytes were set aside.
pub(crate) fn judge(
    script: &Script,
    image: &SimDisk,
    ops: usize,
    promise: Promise,
    seed: u64,
) -> Result<usize, String> {
    let options = script.options;
    let bare = support::copy(image);
    support::remove_indexes(&bare);
    let bare_model = content(script, &bare, ops, promise)?;

    let before = support::copy(image);
    let start = image.op_count();
    let model = content(script, image, ops, promise)?;
    if model != bare_model {
        return Err("the index and the log do not agree".to_owned());
    }
    let set_aside = nothing_is_thrown_away(&before, image)?;
    power_goes_again(script, image, (start, ops), promise, seed, &model)
        .map_err(|what| format!("after another power cut: {what}"))?;

    let grown = goes_on(script, image, ops, &model)?;
    let killed = support::copy(image);
    let storage = open(&killed, options)?;
    compare::same_content(&*storage, &Inbox::new(), &grown, &[])?;
    Ok(set_aside)
}

fn open(image: &SimDisk, options: Options) -> Result<std::sync::Arc<dyn Storage>, String> {
    support::open(image, options).map_err(|error| format!("it does not open: {error}"))
}

/// The power goes (again), while `image` recovers or just afterwards.
fn power_goes_again(
    script: &Script,
    image: &SimDisk,
    (start, ops): (usize, usize),
    promise: Promise,
    seed: u64,
    model: &Model,
) -> Result<(), String> {
    let end = image.op_count();
    let during = start + seed as usize % (end - start + 1);
    for cut in [during, end] {
        let again = image.power_cut(cut, seed);
        // What a first power cut had left, and what was shown to clients, is there for good.
        let sure = cut == end || start == 0;
        let promise = match script.options.sync {
            storage::Sync::None if !sure => Promise::Anything,
            _ => promise,
        };
        let found = content(script, &again, ops, promise)?;
        if sure && found != *model {
            return Err("the content changes".to_owned());
        }
    }
    Ok(())
}

/// Compares what is on the disk with what the script knows, and returns it.
fn content(
    script: &Script,
    image: &SimDisk,
    ops: usize,
    promise: Promise,
) -> Result<Model, String> {
    let storage = open(image, script.options)?;
    let inbox = Inbox::new();
    let mut there = Vec::new();
    for told in &script.told {
        let tid = first_tid(&*storage, &inbox, told.marker)?;
        match (told.answer_by(ops), tid) {
            (Some(Ok(answered)), found) if found == Some(*answered) => (),
            (Some(Ok(_)), None) if promise == Promise::Anything => (),
            (Some(Ok(_)), found) => return Err(format!("{found:?} is there of {told:?}")),
            (Some(Err(_)), Some(_)) => return Err(format!("failed, and there: {told:?}")),
            (None, Some(tid)) => {
                if told.asked.is_none_or(|asked| asked >= ops) {
                    return Err(format!("nobody asked for {told:?}"));
                }
                if told.tid().is_some_and(|later| later != tid) {
                    return Err(format!("{tid} is there of {told:?}"));
                }
            }
            (_, None) => (),
        }
        there.extend(tid.map(|tid| (tid, &told.draft)));
    }
    there.sort_by_key(|(tid, _)| *tid);
    let mut model = Model::new();
    for (tid, draft) in there {
        if tid <= model.last_tid() {
            return Err(format!("{tid} is there twice"));
        }
        model.apply(tid, draft);
    }
    if let Some(gap) = script.model.tids().zip(model.tids()).find(|(all, there)| all < there) {
        return Err(format!("{} is there, and {} before it is not", gap.1, gap.0));
    }
    let oids: Vec<Oid> = script.oids().into_iter().collect();
    compare::same_content(&*storage, &inbox, &model, &oids)?;
    compare::same_invalidations(&*storage, &model, script.options.invalidation_queue_size)?;
    Ok(model)
}

/// The tid of an object's first revision: an undo may have taken its data away.
fn first_tid(storage: &dyn Storage, inbox: &Inbox, oid: Oid) -> Result<Option<Tid>, String> {
    match inbox.ask(|reply| storage.history(oid, u32::MAX, reply)) {
        Completion::History(Ok(history)) => Ok(history.last().map(|first| first.tid)),
        Completion::History(Err(Failure::UnknownOid(_))) => Ok(None),
        other => Err(format!("the history of {oid}: {other:?}")),
    }
}

/// Whatever was cut off a segment lies in `torn`; returns how many bytes that are.
pub(crate) fn nothing_is_thrown_away(before: &SimDisk, after: &SimDisk) -> Result<usize, String> {
    if before.read("/data/format").is_none() {
        // Its creation was interrupted, and started again.
        return Ok(0);
    }
    let torn: Vec<_> = after.files("/data/torn", ".torn");
    let mut cut_bytes = 0;
    for path in before.files("/data/segments", ".log") {
        let old = before.read(&path).unwrap();
        // A segment without a whole header was never used.
        let Some(new) = after.read(&path) else { continue };
        let Some(cut) = old.strip_prefix(&new[..]) else {
            return Err(format!("{} was changed", path.display()));
        };
        if !cut.is_empty() && !torn.iter().any(|torn| after.read(torn).as_deref() == Some(cut)) {
            return Err(format!("{} bytes of {} are gone", cut.len(), path.display()));
        }
        cut_bytes += cut.len();
    }
    Ok(cut_bytes)
}

/// Hands out oids and commits, as after any start.
fn goes_on(script: &Script, image: &SimDisk, ops: usize, model: &Model) -> Result<Model, String> {
    let storage = open(image, script.options)?;
    let inbox = Inbox::new();
    let given: BTreeSet<Oid> =
        script.handed_out.iter().filter(|(_, when)| *when <= ops).map(|(oid, _)| *oid).collect();
    let fresh = inbox.new_oids(&*storage, 100).map_err(|failure| failure.to_string())?;
    if let Some(oid) =
        fresh.iter().find(|oid| given.contains(oid) || model.serial(**oid) > Tid::ZERO)
    {
        return Err(format!("{oid} is handed out again"));
    }
    let mut draft = Draft::default();
    let old = model.oids().last();
    for oid in old.into_iter().chain(fresh.first().copied()) {
        let data = "after the crash".into();
        draft.write(oid, Write::Store { serial: model.serial(oid), data });
    }
    let records: Vec<(Oid, Tid, &[u8])> = draft
        .writes
        .keys()
        .map(|oid| (*oid, model.serial(*oid), &b"after the crash"[..]))
        .collect();
    let tid = inbox.commit(&*storage, &records).map_err(|why| format!("no commit: {why:?}"))?;
    if tid <= model.last_tid() {
        return Err(format!("{tid} is not above {}", model.last_tid()));
    }
    let mut grown = model.clone();
    grown.apply(tid, &draft);
    compare::same_content(&*storage, &inbox, &grown, &[])?;
    Ok(grown)
}
