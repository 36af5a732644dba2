//! A client's transaction.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Failure, Oid, Tid, TransactionFault};

use crate::api::{Meta, Transaction};
use crate::blobs::Upload;
use crate::commit::committer::{self, Finish};
use crate::commit::deadlines::Watch;
use crate::commit::room::Room;
use crate::commit::undo::Undo;
use crate::core::Core;
use crate::index::Place;
use crate::locks::Owner;
use crate::log::{Payload, Record, record_crc};
use crate::mailbox::{Completion, ReplyTo, Vote};
use crate::oids;
use crate::sync::{Mutex, MutexGuard};

/// What is shared between the client's handle, the locks and the committer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) owner: Owner,
    pub(crate) meta: Meta,
    state: Mutex<State>,
}

/// How far a transaction has come, and what it asks for.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) stage: Stage,
    pub(crate) writes: Vec<Write>,
    /// Revisions that must be current, `(oid, serial)`.
    pub(crate) checks: Vec<(Oid, Tid)>,
    /// Transactions to undo, in the order in which they were asked for.
    pub(crate) undos: Vec<Undo>,
    /// Bytes that the log has promised; nonzero only in [`Stage::Voted`].
    pub(crate) promised_bytes: u64,
    /// What becomes of `writes` at a successful vote: each oid once, ascending, but in a
    /// copied transaction in the order in which they came.
    pub(crate) records: Vec<Record>,
    /// Blobs of objects in `writes` or `records`.
    pub(crate) blobs: BTreeMap<Oid, Upload>,
    /// Objects in `records` that an undo changes.
    pub(crate) determined: Vec<Oid>,
    /// For all of it.
    pub(crate) room: Room,
    /// Counts writes and undos.
    order: u32,
    /// When the vote was asked, in Unix time.
    pub(crate) asked_at: Duration,
    /// In [`Stage::Voted`], if there is a time limit.
    pub(crate) watch: Option<Watch>,
}

/// What is not data stays in memory, however little of that is there: this many take about 1 GiB.
pub(crate) const MAX_RECORDS: usize = 16 << 20;

#[derive(Debug)]
pub(crate) enum Stage {
    /// It takes stores; it has not voted, or its vote met conflicts.
    Open,
    /// It waits for locks, holds them and waits for space, or gives them back.
    Voting(ReplyTo),
    /// Its locks are held and its space is promised.
    Voted,
    /// It is the committer's.
    Finishing,
    /// It failed, or is over.
    Ended,
}

#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) oid: Oid,
    pub(crate) check: Check,
    pub(crate) payload: Payload,
    pub(crate) crc: u32,
    /// Which of the transaction's writes and undos it is, from 1 on.
    pub(crate) order: u32,
}

/// What must be true of the current revision for a write to be right.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Check {
    /// It has this serial, or there is none; else a conflict that the client may resolve.
    Store(Tid),
    /// It has this serial; else the transaction fails.
    Delete(Tid),
    /// Nothing; with the revision's origin, zero for none.
    Restore(Tid),
}

impl Write {
    pub(crate) fn into_record(self) -> Record {
        let Self { oid, check, payload, crc, .. } = self;
        let origin = match check {
            Check::Restore(origin) => origin,
            Check::Store(_) | Check::Delete(_) => Tid::ZERO,
        };
        Record { oid, payload, has_blob: false, origin, crc }
    }
}

impl Pending {
    pub(crate) fn new(owner: Owner, meta: Meta) -> Self {
        Self { owner, meta, state: Mutex::new(State::new()) }
    }

    /// A transaction that another storage has committed.
    pub(crate) fn received(owner: Owner, meta: Meta, room: Room) -> Self {
        let mut state = State::new();
        (state.stage, state.room) = (Stage::Finishing, room);
        Self { owner, meta, state: Mutex::new(state) }
    }

    /// Whether some of its data are in a temporary file.
    pub(crate) fn has_file(&self) -> bool {
        self.lock().room.has_file()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's handle. Dropping it aborts, unless the committer has the transaction.
pub(crate) struct Handle {
    core: Arc<Core>,
    pending: Arc<Pending>,
}

impl Handle {
    pub(crate) fn new(core: Arc<Core>, owner: Owner, meta: Meta) -> Self {
        let Meta { user, description, extension, tid, status } = meta;
        let [user, description, extension] =
            [user, description, extension].map(|part| Bytes::copy_from_slice(&part));
        let meta = Meta { user, description, extension, tid, status };
        Self { core, pending: Arc::new(Pending::new(owner, meta)) }
    }

    /// The state, if stores are still taken.
    fn open(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let state = self.pending.lock();
        match state.stage.fault() {
            None => Ok(state),
            Some(fault) => Err(fault.into()),
        }
    }

    fn write(&self, oid: Oid, check: Check, data: Option<Bytes>) -> Result<(), Failure> {
        let mut state = self.open()?;
        if data.as_ref().is_some_and(|data| data.len() >= Place::DATA_BYTES_END) {
            return Err(Failure::Storage(format!("the data of object {oid} exceed 2 GiB")));
        }
        if oid.0 >= oids::LIMIT {
            let what = format!("object {oid}: an oid must be below {}", Oid(oids::LIMIT));
            return Err(Failure::Storage(what));
        }
        state.admit(size_of::<Write>())?;
        let crc = record_crc(oid, data.as_deref());
        let payload = match data {
            None => Payload::None,
            Some(data) => state.room.keep(&self.core, data)?,
        };
        let order = state.next_order();
        state.writes.push(Write { oid, check, payload, crc, order });
        Ok(())
    }
}

impl Stage {
    /// Why stores are not taken and a vote is not possible.
    fn fault(&self) -> Option<TransactionFault> {
        match self {
            Self::Open => None,
            Self::Voting(_) => Some(TransactionFault::VoteWaits),
            Self::Voted | Self::Finishing => Some(TransactionFault::AlreadyVoted),
            Self::Ended => Some(TransactionFault::NotVoted),
        }
    }
}

impl State {
    fn new() -> Self {
        Self {
            stage: Stage::Open,
            writes: Vec::new(),
            checks: Vec::new(),
            undos: Vec::new(),
            promised_bytes: 0,
            records: Vec::new(),
            blobs: BTreeMap::new(),
            determined: Vec::new(),
            room: Room::default(),
            order: 0,
            asked_at: Duration::ZERO,
            watch: None,
        }
    }

    /// Counts one more write or check, which takes so many bytes besides its data.
    fn admit(&mut self, bytes: usize) -> Result<(), Failure> {
        if self.writes.len() + self.checks.len() + self.undos.len() >= MAX_RECORDS {
            let what = format!("a transaction writes and checks at most {MAX_RECORDS} objects");
            return Err(Failure::Storage(what));
        }
        self.room.count(bytes);
        Ok(())
    }

    fn next_order(&mut self) -> u32 {
        self.order = self.order.saturating_add(1);
        self.order
    }

    /// Ends a vote, unless the transaction was aborted meanwhile: then nobody waits for it.
    pub(crate) fn answer_vote(&mut self, answer: Result<Vote, Failure>) {
        let next = match &answer {
            Ok(Vote::Promised | Vote::Determined(_)) => Stage::Voted,
            Ok(Vote::Conflicts(_)) => Stage::Open,
            Err(_) => Stage::Ended,
        };
        if let Stage::Voting(reply) = &self.stage {
            let reply = reply.clone();
            self.stage = next;
            // The caller has the state locked, so that no later vote is answered before.
            reply.send(Completion::Voted(answer));
        }
    }
}

impl Transaction for Handle {
    fn store(&mut self, oid: Oid, serial: Tid, data: Bytes) -> Result<(), Failure> {
        self.write(oid, Check::Store(serial), Some(data))
    }

    fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        blob: Upload,
    ) -> Result<(), Failure> {
        self.write(oid, Check::Store(serial), Some(data))?;
        self.open()?.blobs.insert(oid, blob);
        Ok(())
    }

    fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), Failure> {
        self.write(oid, Check::Delete(serial), None)
    }

    fn check_current_serial(&mut self, oid: Oid, serial: Tid) -> Result<(), Failure> {
        let mut state = self.open()?;
        state.admit(size_of::<(Oid, Tid)>())?;
        state.checks.push((oid, serial));
        Ok(())
    }

    fn restore(
        &mut self,
        oid: Oid,
        data: Option<Bytes>,
        origin: Option<Tid>,
    ) -> Result<(), Failure> {
        self.write(oid, Check::Restore(origin.unwrap_or(Tid::ZERO)), data)
    }

    fn undo(&mut self, tid: Tid) -> Result<(), Failure> {
        let mut state = self.open()?;
        state.admit(size_of::<Undo>())?;
        let order = state.next_order();
        state.undos.push(Undo { tid, order, oids: Vec::new() });
        Ok(())
    }

    fn vote(&mut self, reply: ReplyTo) -> Result<(), Failure> {
        let mut state = self.open()?;
        state.stage = Stage::Voting(reply);
        drop(state);
        self.core.vote(&self.pending);
        Ok(())
    }

    fn finish(&mut self, reply: ReplyTo) -> Result<(), Failure> {
        let mut state = self.pending.lock();
        if !matches!(state.stage, Stage::Voted) {
            return Err(TransactionFault::NotVoted.into());
        }
        state.stage = Stage::Finishing;
        // Its time is over no more.
        state.watch = None;
        let pending = Arc::clone(&self.pending);
        let promised_bytes = std::mem::take(&mut state.promised_bytes);
        let records = std::mem::take(&mut state.records);
        let blobs = std::mem::take(&mut state.blobs);
        drop(state);
        let asked = Instant::now();
        let (reply, digest) = (Some(reply), None);
        let finish = Finish { pending, records, blobs, promised_bytes, reply, digest, asked };
        committer::enqueue(&self.core, finish);
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let state = self.pending.lock();
        if !matches!(state.stage, Stage::Finishing) {
            self.core.abandon(&self.pending, state);
        }
    }
}

impl Core {
    /// Ends a transaction that is not the committer's, and gives up what it holds.
    pub(crate) fn abandon(self: &Arc<Self>, pending: &Pending, mut state: MutexGuard<'_, State>) {
        state.stage = Stage::Ended;
        state.watch = None;
        let promised_bytes = std::mem::take(&mut state.promised_bytes);
        state.writes = Vec::new();
        state.records = Vec::new();
        state.blobs = BTreeMap::new();
        drop(state);
        self.log.forget(promised_bytes);
        self.release(pending.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_only_checks_ends_somewhere() {
        let mut state = State::new();
        state.checks = vec![(Oid(7), Tid::ZERO); MAX_RECORDS - 1];
        state.admit(16).unwrap();
        state.checks.push((Oid(7), Tid::ZERO));
        let failure = state.admit(16).unwrap_err();
        assert!(
            matches!(&failure, Failure::Storage(text) if text.contains("16777216")),
            "{failure}"
        );
    }
}
