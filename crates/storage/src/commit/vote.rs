//! First phase: locks, serials, space.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Conflict, Failure, Oid, Tid};

use crate::api::Meta;
use crate::commit::tids::tid_after;
use crate::commit::transaction::{Check, Pending, Stage, State, Write};
use crate::core::Core;
use crate::locks::{Key, Mode, Owner, Want};
use crate::log::Payload;
use crate::mailbox::Vote;
use crate::open::CommitLocks;
use crate::replica::Role;
use crate::sync::MutexGuard;

impl Core {
    /// Takes a transaction in [`Stage::Voting`] through the locks; the answer may come later.
    pub(crate) fn vote(self: &Arc<Self>, pending: &Arc<Pending>) {
        let mut state = pending.lock();
        state.asked_at = self.clock.now();
        // Blobs first: large ones take long, and nobody should wait for locks meanwhile.
        self.with_blobs(pending, state, Self::find_locks);
    }

    fn find_locks(self: &Arc<Self>, pending: &Arc<Pending>, mut state: MutexGuard<'_, State>) {
        keep_last_writes(&mut state.writes);
        if state.undos.is_empty() {
            self.take_locks(pending, state);
        } else {
            drop(state);
            self.find_undone(pending);
        }
    }

    /// Whoever aborts waits for `state`, and so gives up the locks after they were taken.
    pub(super) fn take_locks(
        self: &Arc<Self>,
        pending: &Arc<Pending>,
        state: MutexGuard<'_, State>,
    ) {
        let wants = self.wants(&pending.meta, &state);
        let now = self.clock.now();
        let granted = self.locks.acquire(pending.owner, wants, now, Arc::clone(pending));
        drop(state);
        if granted.is_none() {
            self.deadlines.expect_waiting(Instant::now());
        }
        self.decide_all(granted, now);
    }

    /// Gives up the locks of `owner` and goes on with the votes that waited for them.
    pub(crate) fn release(self: &Arc<Self>, owner: Owner) {
        let now = self.clock.now();
        self.decide_all(self.locks.release(owner, now), now);
    }

    /// Answers the votes of those who got all their locks at `now`, and of those who get theirs by
    /// that.
    fn decide_all(
        self: &Arc<Self>,
        granted: impl IntoIterator<Item = Arc<Pending>>,
        now: Duration,
    ) {
        let mut granted: VecDeque<_> = granted.into_iter().map(|pending| (pending, now)).collect();
        while let Some((pending, now)) = granted.pop_front() {
            if let Some(refused) = self.decide(&pending, now) {
                // It is [`Stage::Voting`] until its locks are released: a client may vote again
                // without waiting for the answer, and must not meet its old locks.
                let now = self.clock.now();
                let next = self.locks.release(pending.owner, now);
                granted.extend(next.into_iter().map(|pending| (pending, now)));
                self.refuse(pending, refused);
            }
        }
    }

    /// Answers one vote, or says why there is no promise, to be answered once its locks are
    /// released.
    fn decide(
        self: &Arc<Self>,
        pending: &Arc<Pending>,
        now: Duration,
    ) -> Option<Result<Vec<Stale>, Failure>> {
        let mut state = pending.lock();
        if !matches!(state.stage, Stage::Voting(_)) {
            // Aborted in the meantime; the abort has released, or will.
            return None;
        }
        // The clock may have been set back.
        self.timings.lock_wait.record_duration(now.saturating_sub(state.asked_at));
        match self.check(&pending.meta, &state) {
            Ok(stale) if stale.is_empty() && !state.undos.is_empty() => {
                self.resolve_undos(pending, state);
                None
            }
            Ok(stale) if stale.is_empty() => {
                let mut writes = std::mem::take(&mut state.writes);
                if pending.meta.tid.is_some() {
                    // Whoever copies a transaction wants it back as it was.
                    writes.sort_unstable_by_key(|write| write.order);
                }
                state.records = writes.into_iter().map(Write::into_record).collect();
                self.secure_space(pending, state);
                None
            }
            refused => Some(refused),
        }
    }

    /// Gets the log's promise, at once or on another thread, and answers the vote.
    pub(super) fn secure_space(
        self: &Arc<Self>,
        pending: &Arc<Pending>,
        mut state: MutexGuard<'_, State>,
    ) {
        self.assign_blobs(&mut state);
        self.with_blobs(pending, state, Self::promise_space);
    }

    fn promise_space(self: &Arc<Self>, pending: &Arc<Pending>, mut state: MutexGuard<'_, State>) {
        let bytes = self.log.transaction_bytes(&pending.meta, &state.records);
        if self.log.promise(bytes) {
            self.promised(bytes, pending, &mut state);
            return;
        }
        drop(state);
        let (core, pending) = (Arc::clone(self), Arc::clone(pending));
        self.pool.run(move || match core.log.promise_blocking(bytes) {
            Ok(()) => {
                let mut state = pending.lock();
                match state.stage {
                    Stage::Voting(_) => core.promised(bytes, &pending, &mut state),
                    _ => core.log.forget(bytes),
                }
            }
            Err(failure) => {
                // Whoever minds the disk is not the client.
                tracing::error!("{failure}; the transaction was refused");
                core.release(pending.owner);
                core.refuse(pending, Err(failure));
            }
        });
    }

    fn promised(&self, bytes: u64, pending: &Arc<Pending>, state: &mut State) {
        if let Some(oid) = state.records.iter().map(|record| record.oid).max() {
            self.oids.raise_above(oid);
        }
        state.promised_bytes = bytes;
        if let Stage::Voting(reply) = &state.stage {
            state.watch = self.deadlines.watch(pending, &reply.mailbox);
        }
        let determined = std::mem::take(&mut state.determined);
        state.answer_vote(Ok(match determined.is_empty() {
            true => Vote::Promised,
            false => Vote::Determined(determined),
        }));
    }

    /// Answers a vote whose locks are released; where that needs a temporary file, on another
    /// thread.
    pub(super) fn refuse(&self, pending: Arc<Pending>, refused: Result<Vec<Stale>, Failure>) {
        let reads = refused.as_ref().is_ok_and(|stale| stale.iter().any(Stale::is_spilled));
        let answer = move || {
            let conflicts =
                refused.and_then(|stale| stale.into_iter().map(Stale::into_conflict).collect());
            pending.lock().answer_vote(conflicts.map(Vote::Conflicts));
        };
        if reads { self.pool.run(answer) } else { answer() }
    }

    /// All stores that were made on old revisions, found under the transaction's locks.
    fn check(&self, meta: &Meta, state: &State) -> Result<Vec<Stale>, Failure> {
        self.refusal()?;
        self.replication.check(Role::Primary)?;
        // The time does not matter yet, only whether there will be a tid.
        tid_after(self.publisher.last_tid(), meta.tid, Tid::ZERO)?;
        for &(oid, given) in &state.checks {
            let committed = self.current_tid(oid)?;
            if committed != given {
                return Err(Failure::ReadConflict { oid, committed, given });
            }
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        for write in &state.writes {
            if let Some(stale) = self.stale(write)? {
                bytes += u64::from(stale.payload.len());
                found.push(stale);
            }
        }
        match found.first() {
            Some(&Stale { oid, committed, given, .. }) if bytes > CONFLICT_BYTES => {
                Err(Failure::Conflict { oid, committed, given })
            }
            _ => Ok(found),
        }
    }

    fn stale(&self, write: &Write) -> Result<Option<Stale>, Failure> {
        let oid = write.oid;
        let committed = self.index.current(oid).map(|revision| revision.tid);
        match (write.check, committed) {
            (Check::Store(given), Some(committed)) if given != committed => {
                let payload = write.payload.clone();
                Ok(Some(Stale { oid, committed, given, payload, crc: write.crc }))
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
        if state.writes.is_empty() && state.checks.is_empty() && state.undos.is_empty() {
            wants.push(Want { key: Key::Empty, mode: Mode::Exclusive });
        }
        let object = |oid: &Oid, mode| Want { key: Key::Object(*oid), mode };
        wants.extend(state.writes.iter().map(|write| object(&write.oid, Mode::Exclusive)));
        let undone = state.undos.iter().flat_map(|undo| &undo.oids);
        wants.extend(undone.map(|oid| object(oid, Mode::Exclusive)));
        wants.extend(state.checks.iter().map(|(oid, _)| object(oid, Mode::Shared)));
        // Of two wants of a key the exclusive one comes first, and stays.
        wants.sort_by_key(|want| (want.key, want.mode == Mode::Shared));
        wants.dedup_by_key(|want| want.key);
        wants
    }
}

/// The data of all conflicts of a vote are in memory at once, and then in one message: beyond this
/// the vote fails. Clients resolve counters and small sets, far below it.
const CONFLICT_BYTES: u64 = 64 << 20;

/// A store on an old revision.
pub(super) struct Stale {
    oid: Oid,
    committed: Tid,
    given: Tid,
    payload: Payload,
    crc: u32,
}

impl Stale {
    fn is_spilled(&self) -> bool {
        matches!(self.payload, Payload::Spilled(_))
    }

    /// May block.
    fn into_conflict(self) -> Result<Conflict, Failure> {
        let Self { oid, committed, given, payload, crc } = self;
        Ok(Conflict { oid, committed, given, data: payload.read(oid, crc)? })
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
