//! What all sessions of a server share: the storages by name, and their counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::{Status, Tid};
use storage::Storage;

use crate::requests::{Kind, Requests};

/// The storages that a server offers.
#[derive(Debug)]
pub struct Host {
    /// By name.
    pub storages: BTreeMap<String, Arc<Hosted>>,
    /// No client may write.
    pub read_only: bool,
    /// Server start, in the form of C's `ctime`, for the status.
    pub started: String,
}

impl Host {
    /// What the status of `hosted` is; `last_transaction` is as the asker knows it.
    pub fn status(&self, hosted: &Hosted, last_transaction: Tid) -> Status {
        let counters = &hosted.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let locks = hosted.storage.lock_state();
        let stores = [Kind::Store, Kind::Delete, Kind::Restore];
        Status {
            connections: read(&counters.connections),
            loads: counters.requests.of(Kind::LoadBefore),
            stores: stores.into_iter().map(|kind| counters.requests.of(kind)).sum(),
            commits: read(&counters.commits),
            aborts: read(&counters.aborts),
            active_transactions: read(&counters.active_transactions),
            lock_time: locks.held_since,
            conflicts: read(&counters.conflicts),
            start: self.started.clone(),
            waiting: locks.waiting,
            timeout_active: locks.is_limited,
            last_transaction,
        }
    }
}

/// A storage and what its sessions count.
pub struct Hosted {
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// Its counters.
    pub counters: Counters,
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").field("storage", &self.storage.name()).finish_non_exhaustive()
    }
}

/// What sessions count; see [`protocol::Status`].
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the other fields are those of protocol::Status")]
pub struct Counters {
    pub connections: AtomicU64,
    pub requests: Requests,
    pub commits: AtomicU64,
    pub aborts: AtomicU64,
    pub active_transactions: AtomicU64,
    pub conflicts: AtomicU64,
}

/// Counters are read for monitoring only, so no order between them is needed.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The inverse of [`count`].
pub(crate) fn uncount(counter: &AtomicU64) {
    counter.fetch_sub(1, Ordering::Relaxed);
}
