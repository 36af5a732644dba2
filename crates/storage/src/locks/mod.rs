//! The commit locks: per object, first come first served, taken in one order by everybody.
//!
//! A waiting vote is an entry in a queue, never a blocked thread: [`LockManager::acquire`] answers
//! at once, and whoever releases the last lock that a waiting owner needs gets that owner's
//! payload back from [`LockManager::release`] and goes on in its place.

mod table;

use std::sync::PoisonError;
use std::time::Duration;

use protocol::Oid;

use crate::api::LockState;
use crate::sync::{Mutex, MutexGuard};
use table::Table;

/// Who holds or waits; unique for the life of the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u64);

/// What can be locked. Everybody takes locks in ascending order, so nobody deadlocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The whole storage: shared by every transaction; exclusive for one that brings its own tid
    /// (no other may then get a tid between its vote and its finish) and for global locking.
    Whole,
    /// Exclusive for transactions that write and check nothing, so that they queue like others.
    Empty,
    /// One object.
    Object(Oid),
}

/// How something is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With other sharers.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that an owner asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// What.
    pub key: Key,
    /// How.
    pub mode: Mode,
}

/// Hands out the commit locks.
///
/// Invariants: a key is held by one exclusive owner or by sharers; nobody waits behind a free key;
/// whoever waits for a key holds all smaller keys it wants and none that is larger.
#[derive(Debug)]
pub struct LockManager<T> {
    table: Mutex<Table<T>>,
}

impl<T> Default for LockManager<T> {
    fn default() -> Self {
        Self { table: Mutex::new(Table::default()) }
    }
}

impl<T> LockManager<T> {
    /// Takes all of `wants` (ascending keys, each once) or joins the queues. `Some(payload)`: all
    /// are held now. `None`: `payload` will be among the results of a later [`Self::release`].
    /// `now` (Unix time) is kept for [`Self::state`].
    pub fn acquire(&self, owner: Owner, wants: Vec<Want>, now: Duration, payload: T) -> Option<T> {
        debug_assert!(wants.is_sorted_by(|a, b| a.key < b.key), "locks are taken in one order");
        self.lock().acquire(owner, wants, now, payload)
    }

    /// Gives up all that `owner` holds and waits for; no effect for an unknown owner. Returns the
    /// payloads of those who now hold all they want, in the order in which they got it.
    #[must_use = "those who were granted their locks wait to be told"]
    pub fn release(&self, owner: Owner, now: Duration) -> Vec<T> {
        self.lock().release(owner, now)
    }

    /// How many wait, and since when the longest holder has held.
    pub fn state(&self) -> LockState {
        self.lock().state()
    }

    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        // Nothing panics while the table is half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
