//! First phase: locks, serials, space.

use std::collections::VecDeque;
use std::sync::Arc;

use protocol::{Conflict, Failure, Oid, Tid};

use crate::api::Meta;
use crate::commit::tids::tid_after;
use crate::commit::transaction::{Check, Pending, Stage, State, Write};
use crate::core::Core;
use crate::locks::{Key, Mode, Owner, Want};
use crate::log::Payload;
use crate::mailbox::{Completion, ReplyTo, Vote};
use crate::open::CommitLocks;

impl Core {
    /// Takes a transaction in [`Stage::Voting`] through the locks; the answer may come later.
    pub(crate) fn vote(self: &Arc<Self>, pending: &Arc<Pending>) {
        let wants = {
            let mut state = pending.lock();
            keep_last_writes(&mut state.writes);
            self.wants(&pending.meta, &state)
        };
        let granted =
            self.locks.acquire(pending.owner, wants, self.clock.now(), Arc::clone(pending));
        self.decide_all(granted);
    }

    /// Gives up the locks of `owner` and goes on with the votes that waited for them.
    pub(crate) fn release(self: &Arc<Self>, owner: Owner) {
        self.decide_all(self.locks.release(owner, self.clock.now()));
    }

    /// Answers the votes of those who hold all their locks, and of those who get theirs by that.
    fn decide_all(self: &Arc<Self>, granted: impl IntoIterator<Item = Arc<Pending>>) {
        let mut granted: VecDeque<_> = granted.into_iter().collect();
        while let Some(pending) = granted.pop_front() {
            if let Some((reply, voted)) = self.decide(&pending) {
                // The answer comes after the release: whoever has it may vote again at once, on
                // another thread, and must not meet its old locks.
                granted.extend(self.locks.release(pending.owner, self.clock.now()));
                reply.send(Completion::Voted(voted));
            }
        }
    }

    /// Answers one vote, or says how to answer it once its locks are released.
    fn decide(
        self: &Arc<Self>,
        pending: &Arc<Pending>,
    ) -> Option<(ReplyTo, Result<Vote, Failure>)> {
        let mut state = pending.lock();
        let Stage::Voting(reply) = &state.stage else {
            // Aborted in the meantime; the abort has released, or will.
            return None;
        };
        let reply = reply.clone();
        match self.check(&pending.meta, &state) {
            Err(failure) => {
                state.stage = Stage::Ended;
                Some((reply, Err(failure)))
            }
            Ok(conflicts) if !conflicts.is_empty() => {
                state.stage = Stage::Open;
                Some((reply, Ok(Vote::Conflicts(conflicts))))
            }
            Ok(_) => {
                let writes = std::mem::take(&mut state.writes);
                state.records = writes.into_iter().map(Write::into_record).collect();
                self.secure_space(pending, &mut state, reply);
                None
            }
        }
    }

    /// Gets the log's promise, at once or on another thread, and answers the vote.
    fn secure_space(self: &Arc<Self>, pending: &Arc<Pending>, state: &mut State, reply: ReplyTo) {
        let bytes = self.log.transaction_bytes(&pending.meta, &state.records);
        if self.log.promise(bytes) {
            self.promised(bytes, state, &reply);
            return;
        }
        let (core, pending) = (Arc::clone(self), Arc::clone(pending));
        self.pool.run(move || {
            let promise = core.log.promise_blocking(bytes);
            let mut state = pending.lock();
            let still_voting = matches!(state.stage, Stage::Voting(_));
            match promise {
                Ok(()) if still_voting => core.promised(bytes, &mut state, &reply),
                Ok(()) => core.log.forget(bytes),
                Err(failure) => {
                    state.stage = Stage::Ended;
                    drop(state);
                    core.release(pending.owner);
                    if still_voting {
                        reply.send(Completion::Voted(Err(failure)));
                    }
                }
            }
        });
    }

    fn promised(&self, bytes: u64, state: &mut State, reply: &ReplyTo) {
        if let Some(record) = state.records.last() {
            self.oids.raise_above(record.oid);
        }
        state.promised_bytes = bytes;
        state.stage = Stage::Voted;
        reply.send(Completion::Voted(Ok(Vote::Promised)));
    }

    /// All conflicts of the transaction with what is current, under its locks.
    fn check(&self, meta: &Meta, state: &State) -> Result<Vec<Conflict>, Failure> {
        self.refusal()?;
        // The time does not matter yet, only whether there will be a tid.
        tid_after(self.publisher.last_tid(), meta.tid, Tid::ZERO)?;
        for &(oid, given) in &state.checks {
            let committed = self.current_tid(oid)?;
            if committed != given {
                return Err(Failure::ReadConflict { oid, committed, given });
            }
        }
        let mut conflicts = Vec::new();
        for write in &state.writes {
            conflicts.extend(self.conflict(write)?);
        }
        Ok(conflicts)
    }

    fn conflict(&self, write: &Write) -> Result<Option<Conflict>, Failure> {
        let oid = write.oid;
        let committed = self.index.current(oid).map(|revision| revision.tid);
        match (write.check, committed) {
            (Check::Store(given), Some(committed)) if given != committed => {
                let data = match &write.payload {
                    Payload::Memory(data) => data.clone(),
                    Payload::None => bytes::Bytes::new(),
                    Payload::Spilled(spilled) => spilled.read().map_err(|error| {
                        Failure::Storage(format!("temporary file of a transaction: {error}"))
                    })?,
                };
                Ok(Some(Conflict { oid, committed, given, data }))
            }
            (Check::Delete(given), Some(committed)) if given != committed => {
                Err(Failure::Conflict { oid, committed, given })
            }
            (Check::Delete(_), None) => Err(Failure::UnknownOid(oid)),
            _ => Ok(None),
        }
    }

    /// The tid of the current revision, with data.
    pub(crate) fn current_tid(&self, oid: Oid) -> Result<Tid, Failure> {
        let current = self.index.current(oid).filter(|revision| revision.place.has_data());
        current.map(|revision| revision.tid).ok_or(Failure::UnknownOid(oid))
    }

    /// What a transaction locks, in ascending order.
    fn wants(&self, meta: &Meta, state: &State) -> Vec<Want> {
        let alone = meta.tid.is_some() || self.options.commit_locks == CommitLocks::Global;
        let whole = if alone { Mode::Exclusive } else { Mode::Shared };
        let mut wants = vec![Want { key: Key::Whole, mode: whole }];
        if alone {
            return wants;
        }
        if state.writes.is_empty() && state.checks.is_empty() {
            wants.push(Want { key: Key::Empty, mode: Mode::Exclusive });
        }
        let object = |oid: &Oid, mode| Want { key: Key::Object(*oid), mode };
        wants.extend(state.writes.iter().map(|write| object(&write.oid, Mode::Exclusive)));
        wants.extend(state.checks.iter().map(|(oid, _)| object(oid, Mode::Shared)));
        // Of two wants of a key the exclusive one comes first, and stays.
        wants.sort_by_key(|want| (want.key, want.mode == Mode::Shared));
        wants.dedup_by_key(|want| want.key);
        wants
    }
}

/// Sorts by oid; of several writes of an object the last one counts.
fn keep_last_writes(writes: &mut Vec<Write>) {
    writes.sort_by_key(|write| write.oid);
    // `dedup_by` keeps the first of equals, so it gets the later one's content.
    writes.dedup_by(|later, kept| {
        let same = later.oid == kept.oid;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
}
