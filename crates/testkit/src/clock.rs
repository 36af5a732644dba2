//! Time that passes when a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock for tids: it stands still until it is moved, and may be moved back.
#[derive(Debug)]
pub struct Clock {
    since_epoch_nanos: AtomicU64,
}

impl Clock {
    /// A clock that shows 2026-11-23 09:30 UTC.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { since_epoch_nanos: AtomicU64::new(1_795_426_200 * 1_000_000_000) })
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.since_epoch_nanos.fetch_add(nanos(by), Ordering::Relaxed);
    }

    /// Moves the clock back.
    pub fn set_back(&self, by: Duration) {
        self.since_epoch_nanos.fetch_sub(nanos(by), Ordering::Relaxed);
    }
}

impl storage::Clock for Clock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.since_epoch_nanos.load(Ordering::Relaxed))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a test stays within five centuries")
}
