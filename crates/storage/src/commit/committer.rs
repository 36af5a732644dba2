//! Second phase: one thread takes all transactions that wait to finish (or one, with
//! [`Sync::Each`]), gives them their tids, appends them with one write and one sync, and publishes
//! them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Instant;

use protocol::{Failure, Oid, Tid};

use crate::blobs::Upload;
use crate::commit::tids::tid_after;
use crate::commit::transaction::Pending;
use crate::core::Core;
use crate::index::{Place, Revision};
use crate::log::{AppendError, Digest, LogTransaction, Position, Record};
use crate::mailbox::{Completion, ReplyTo};
use crate::open::Sync;
use crate::replica::Role;
use crate::sync::{Condvar, Mutex};

/// A voted transaction that a client wants finished.
#[derive(Debug)]
pub(crate) struct Finish {
    pub(crate) pending: Arc<Pending>,
    /// Each oid once.
    pub(crate) records: Vec<Record>,
    pub(crate) blobs: BTreeMap<Oid, Upload>,
    pub(crate) promised_bytes: u64,
    /// `None`: nobody has asked; it was applied as another storage has it.
    pub(crate) reply: Option<ReplyTo>,
    /// See [`LogTransaction::digest`].
    pub(crate) digest: Option<Digest>,
    pub(crate) asked: Instant,
}

/// A [`Finish`] with its tid.
#[derive(Debug)]
pub(crate) struct Committing {
    pub(crate) tid: Tid,
    pub(crate) finish: Finish,
}

/// What waits for the committer.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue {
    state: Mutex<Queued>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queued {
    finishes: VecDeque<Finish>,
    closed: bool,
}

/// A batch ends with the transaction that makes it this large, so that others are not kept
/// waiting for ever.
const BATCH_BYTES: u64 = 16 << 20;

impl CommitQueue {
    /// After [`Self::close`], gives it back.
    fn push(&self, finish: Finish) -> Result<(), Finish> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(finish);
        }
        let was_empty = state.finishes.is_empty();
        state.finishes.push_back(finish);
        drop(state);
        // The committer waits for nothing else, and a notification is a system call.
        if was_empty {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).finishes.len()
    }

    /// What is queued is still committed.
    pub(crate) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_one();
    }

    /// Waits for transactions; `false` when closed and empty.
    fn wait(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.finishes.is_empty() && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.finishes.is_empty()
    }

    /// As many as a sync is for, oldest first.
    fn take_batch(&self, sync: Sync) -> Vec<Finish> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let finishes_max = if sync == Sync::Each { 1 } else { state.finishes.len() };
        let mut bytes = 0;
        let mut batch = Vec::with_capacity(finishes_max);
        while bytes < BATCH_BYTES
            && batch.len() < finishes_max
            && let Some(finish) = state.finishes.pop_front()
        {
            bytes += finish.promised_bytes;
            batch.push(finish);
        }
        batch
    }
}

/// Hands a voted transaction to the committer, or fails it if that has ended.
pub(crate) fn enqueue(core: &Arc<Core>, finish: Finish) {
    if let Err(finish) = core.queue.push(finish) {
        fail(core, &finish, Failure::Storage("the storage is closed".to_owned()));
    }
}

/// The committer's thread.
pub(crate) fn run(core: &Arc<Core>) {
    let mut places = Vec::new();
    let mut came_together = false;
    while core.queue.wait() {
        if came_together {
            // Where several clients commit, others are about to: a larger batch needs fewer syncs,
            // and above all fewer writes to all the clients that hear of it.
            thread::yield_now();
        }
        let batch = core.queue.take_batch(core.options.sync);
        came_together = batch.len() > 1;
        let batch = with_tids(core, batch);
        commit(core, batch, &mut places);
        core.checkpoint_if_due();
    }
}

/// Gives each transaction its tid. It counts from the last one that was published: a batch that
/// failed has used up none, so that a copied transaction can be tried again.
fn with_tids(core: &Arc<Core>, batch: Vec<Finish>) -> Vec<Committing> {
    let now = Tid::from_unix(core.clock.now());
    let mut last_tid = core.publisher.last_tid();
    let mut committing = Vec::with_capacity(batch.len());
    for finish in batch {
        match tid_after(last_tid, finish.pending.meta.tid, now) {
            Ok(tid) => {
                last_tid = tid;
                committing.push(Committing { tid, finish });
            }
            Err(failure) => fail(core, &finish, failure),
        }
    }
    committing
}

/// Not inlined, so that profiles and `cargo xtask instructions` find it by its name.
#[inline(never)]
fn commit(core: &Arc<Core>, mut batch: Vec<Committing>, places: &mut Vec<Place>) {
    while !batch.is_empty() {
        let failure = match append_and_publish(core, &batch, places, Role::Primary) {
            Ok(Appended::Unapproved(failure)) => {
                return batch.iter().for_each(|one| answer_unapproved(core, one, &failure));
            }
            Ok(Appended::Published) => {
                measure(core, &batch);
                batch.iter().for_each(|one| core.release(one.finish.pending.owner));
                if batch.iter().any(|one| one.finish.pending.has_file()) {
                    // Emptying a large file takes long.
                    core.pool.run(move || drop(batch));
                }
                return;
            }
            // The others are not to blame, and appended anew.
            Err((Some(one), failure)) => {
                fail(core, &batch.remove(one).finish, failure);
                continue;
            }
            Err((None, failure)) => failure,
        };
        for committing in batch.drain(..) {
            fail(core, &committing.finish, failure.clone());
        }
    }
}

/// How a batch ended that is in the log.
pub(crate) enum Appended {
    Published,
    /// It is there for the next start, and nobody sees it now.
    Unapproved(Failure),
}

/// For clients, or for replication. On failure says which transaction is to blame, if it is not all;
/// nothing of the batch is in the log then.
pub(crate) fn append_and_publish(
    core: &Arc<Core>,
    batch: &[Committing],
    places: &mut Vec<Place>,
    who: Role,
) -> Result<Appended, (Option<usize>, Failure)> {
    // A pack that moves what is appended waits until it is in the index.
    let _committing = core.committing();
    core.replication.check(who).map_err(|failure| (None, failure))?;
    let start = Instant::now();
    let position = append(core, batch, places)?;
    batch.iter().for_each(Committing::keep_blobs);
    core.timings.append.record_duration(start.elapsed());
    core.replication.grown(position);
    if who == Role::Primary
        && let Err(failure) = core.replication.approve(position.tid)
    {
        core.refuse_writes(&format!("what was committed last waits for secondaries: {failure}"));
        return Ok(Appended::Unapproved(failure));
    }
    publish(core, batch, places);
    Ok(Appended::Published)
}

/// Counts a batch that was answered.
fn measure(core: &Core, batch: &[Committing]) {
    core.timings.batch.record(batch.len() as u64);
    let now = Instant::now();
    for committing in batch {
        core.timings.finish.record_duration(now.saturating_duration_since(committing.finish.asked));
    }
}

/// On failure says which transaction it is that cannot be appended, if it is not all of them.
fn append(
    core: &Arc<Core>,
    batch: &[Committing],
    places: &mut Vec<Place>,
) -> Result<Position, (Option<usize>, Failure)> {
    core.refusal().map_err(|failure| (None, failure))?;
    for (one, committing) in batch.iter().enumerate() {
        committing.place_blobs().map_err(|failure| (Some(one), failure))?;
    }
    let transactions: Vec<_> = batch
        .iter()
        .map(|committing| LogTransaction {
            tid: committing.tid,
            meta: &committing.finish.pending.meta,
            records: &committing.finish.records,
            promised_bytes: committing.finish.promised_bytes,
            digest: committing.finish.digest,
        })
        .collect();
    places.clear();
    core.log.append(&transactions, places).map_err(|error| {
        tracing::error!("commit failed: {error}");
        let one = match error {
            AppendError::Unreadable { transaction, .. } => Some(transaction),
            AppendError::TakenBack(_) => None,
            AppendError::InDoubt(_) => {
                core.refuse_writes(&error.to_string());
                batch.iter().for_each(Committing::leave_blobs);
                None
            }
        };
        (one, Failure::Storage(error.to_string()))
    })
}

fn publish(core: &Arc<Core>, batch: &[Committing], places: &[Place]) {
    let records =
        batch.iter().flat_map(|c| c.finish.records.iter().map(move |record| (c.tid, record.oid)));
    core.publisher.publish(batch, || {
        for ((tid, oid), place) in records.zip(places) {
            core.index.publish(oid, Revision { tid, place: *place });
        }
    });
}

/// Says that a transaction may be there or not, and gives up its locks.
fn answer_unapproved(core: &Arc<Core>, committing: &Committing, failure: &Failure) {
    core.release(committing.finish.pending.owner);
    if let Some(reply) = &committing.finish.reply {
        let text = format!("it is not known whether the transaction will be kept: {failure}");
        reply.send(Completion::Finished(Err(Failure::Storage(text))));
    }
}

/// Gives up what a transaction holds. The answer comes last, so that whoever has it and tries again does not meet its old locks.
fn fail(core: &Arc<Core>, finish: &Finish, failure: Failure) {
    finish.take_back_blobs();
    core.log.forget(finish.promised_bytes);
    core.release(finish.pending.owner);
    if let Some(reply) = &finish.reply {
        reply.send(Completion::Finished(Err(failure)));
    }
}
