//! Compares what was with the model: histories, the undo log, and iteration.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::{Failure, Oid, Tid, TransactionSummary, UndoLog};
use storage::{Completion, Storage};

use super::same as same_value;
use crate::past::{current_records, iterate};
use crate::{Inbox, Model};

/// All of it; `Err` says what differs.
pub(super) fn same(storage: &dyn Storage, inbox: &Inbox, model: &Model) -> Result<(), String> {
    let tids: Vec<Tid> = model.tids().collect();
    let mut all = all_from(storage, inbox, None, model)?;
    let mut right: Vec<_> = tids.iter().map(|tid| (*tid, model.written(*tid))).collect();
    // A pack may leave a transaction without its records, or nothing of it.
    let is_left = |(tid, records): &Written| *tid > model.packed_to() || !records.is_empty();
    if let Some((tid, _)) = all.iter().find(|(tid, _)| tids.binary_search(tid).is_err()) {
        return Err(format!("an iteration gives {tid}, which was never committed"));
    }
    all.retain(is_left);
    right.retain(is_left);
    same_value("what an iteration gives", &all, &right)?;
    // The middle is in some segment between others.
    for start in tids.get(tids.len() / 2).into_iter().flat_map(|tid| [*tid, tid.next()]) {
        let mut some = all_from(storage, inbox, Some(start), model)?;
        some.retain(is_left);
        let right: Vec<_> = right.iter().filter(|(tid, _)| *tid >= start).cloned().collect();
        same_value(&format!("what an iteration from {start} gives"), &some, &right)?;
    }
    let undoable: Vec<_> = tids.iter().copied().filter(|tid| *tid > model.packed_to()).collect();
    same_undo_log(storage, inbox, &undoable)?;
    let current: Vec<_> = current_records(storage, inbox)
        .map_err(|failure| failure.to_string())?
        .into_iter()
        .map(|record| (record.oid, record.tid))
        .collect();
    let exists = |oid: Oid| Some((oid, model.current_tid(oid).ok()?));
    same_value("all current records", &current, &model.oids().filter_map(exists).collect())?;
    for oid in model.oids() {
        let told = tids_of(inbox.ask(|reply| storage.history(oid, u32::MAX, reply)))?;
        let mut right: Vec<_> = model.revisions(oid).collect();
        right.reverse();
        same_value(&format!("the history of {oid}"), &told, &right)?;
    }
    Ok(())
}

type Written = (Tid, BTreeMap<Oid, Option<Bytes>>);

fn all_from(
    storage: &dyn Storage,
    inbox: &Inbox,
    start: Option<Tid>,
    model: &Model,
) -> Result<Vec<Written>, String> {
    let found = iterate(storage, inbox, start, None).map_err(|failure| failure.to_string())?;
    for (head, _) in &found {
        let is_packed = head.tid <= model.packed_to();
        same_value(&format!("whether {} is packed", head.tid), &(head.status == b'p'), &is_packed)?;
    }
    let written = found.into_iter().map(|(head, records)| {
        (head.tid, records.into_iter().map(|record| (record.oid, record.data)).collect())
    });
    Ok(written.collect())
}

fn same_undo_log(storage: &dyn Storage, inbox: &Inbox, tids: &[Tid]) -> Result<(), String> {
    let newest_first: Vec<Tid> = tids.iter().rev().copied().collect();
    for (first, last) in [(0, u64::MAX), (1, 3)] {
        let query = UndoLog { first, last, filter: Vec::new() };
        let told = tids_of(inbox.ask(|reply| storage.undo_log(query, reply)))?;
        let wanted = usize::try_from(last - first).unwrap_or(usize::MAX);
        let right: Vec<_> =
            newest_first.iter().skip(first as usize).take(wanted).copied().collect();
        same_value(&format!("the undo log {first}..{last}"), &told, &right)?;
    }
    Ok(())
}

fn tids_of(answer: Completion) -> Result<Vec<Tid>, String> {
    let tids = |summaries: Vec<TransactionSummary>| summaries.iter().map(|one| one.tid).collect();
    match answer {
        Completion::History(answer) | Completion::UndoLog(answer) => {
            answer.map(tids).map_err(|failure: Failure| failure.to_string())
        }
        other => Err(format!("answered by {other:?}")),
    }
}
