//! Commits that wait for secondaries: the gate, and those who wait at it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::{Failure, Tid};
use replication::Gate;
use replication::gate::News;
use storage::replica::Approve;
use tracing::{info, warn};

/// See [`Gate`].
pub(super) struct SyncGate {
    name: String,
    began: Instant,
    links: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    gate: Gate,
    /// Why nothing is approved any more.
    ended: Option<String>,
}

impl SyncGate {
    /// Of a storage that has all up to `durable`.
    pub(super) fn new(
        name: &str,
        replicas: usize,
        patience: Option<Duration>,
        durable: Tid,
    ) -> Arc<Self> {
        let gate = Gate::new(replicas, patience, durable);
        Arc::new(Self {
            name: name.to_owned(),
            began: Instant::now(),
            links: AtomicU64::new(0),
            state: Mutex::new(State { gate, ended: None }),
            changed: Condvar::new(),
        })
    }

    /// A secondary has all up to `tid`, and will acknowledge what follows by what this returns.
    pub(super) fn join(self: &Arc<Self>, node: &str, tid: Tid) -> Membership {
        let link = self.links.fetch_add(1, Ordering::Relaxed);
        self.change(|gate, now| gate.join(link, node, tid, now));
        Membership { gate: Arc::clone(self), link }
    }

    /// Nothing is approved from now on.
    pub(super) fn end(&self, why: &str) {
        let mut state = self.lock();
        state.gate.close();
        state.ended.get_or_insert_with(|| why.to_owned());
        drop(state);
        self.changed.notify_all();
    }

    fn change(&self, change: impl FnOnce(&mut Gate, Duration)) {
        change(&mut self.lock().gate, self.began.elapsed());
        self.changed.notify_all();
    }

    /// Tells the operator what is new.
    fn tell(&self, gate: &mut Gate) {
        while let Some(news) = gate.news() {
            match news {
                News::FellBack { tid, nodes } => warn!(
                    name = self.name,
                    "{tid} has waited for too long for secondaries, of which {nodes} are there: \
                     commits are answered without them until they have caught up"
                ),
                News::Strict => info!(
                    name = self.name,
                    "the secondaries have caught up: commits wait for them again"
                ),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The gate is changed by whole steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Approve for SyncGate {
    fn approve(&self, tid: Tid) -> Result<(), Failure> {
        let mut state = self.lock();
        state.gate.durable(tid, self.began.elapsed());
        loop {
            let approved = state.gate.approved(self.began.elapsed());
            self.tell(&mut state.gate);
            if approved >= tid {
                return Ok(());
            }
            if let Some(why) = &state.ended {
                return Err(Failure::Storage(why.clone()));
            }
            let deadline = state.gate.deadline();
            let patience = deadline.map(|deadline| deadline.saturating_sub(self.began.elapsed()));
            state = match patience {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.changed.wait_timeout(state, patience);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// A secondary's place at the gate, until this is dropped.
#[derive(Debug)]
pub(super) struct Membership {
    gate: Arc<SyncGate>,
    link: u64,
}

impl Membership {
    /// It has synced all up to `tid`.
    pub(super) fn ack(&self, tid: Tid) {
        self.gate.change(|gate, now| gate.ack(self.link, tid, now));
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.gate.change(|gate, _| gate.leave(self.link));
    }
}

impl fmt::Debug for SyncGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncGate").field("name", &self.name).finish_non_exhaustive()
    }
}
