//! What all sessions of a server share: the storages by name, and their counters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use storage::Storage;

/// The storages that a server offers.
pub struct Host {
    /// By name.
    pub storages: BTreeMap<String, Hosted>,
    /// No client may write.
    pub read_only: bool,
    /// Server start, in the form of C's `ctime`, for the status.
    pub started: String,
}

/// A storage and what its sessions count.
pub struct Hosted {
    /// The storage.
    pub storage: Arc<dyn Storage>,
    /// Its counters.
    pub counters: Counters,
}

/// What sessions count; see [`protocol::Status`].
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of protocol::Status")]
pub struct Counters {
    pub connections: AtomicU64,
    pub loads: AtomicU64,
    pub stores: AtomicU64,
    pub commits: AtomicU64,
    pub aborts: AtomicU64,
    pub active_transactions: AtomicU64,
    pub conflicts: AtomicU64,
}

/// Counters are read for monitoring only, so no order between them is needed.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
