//! Facts and counters of a storage.

use crate::ids::Tid;

/// Facts about a storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Number of objects.
    pub length: u64,
    /// Bytes on disk (or in memory).
    pub size: u64,
    /// For people.
    pub name: String,
    /// Whether transactions can be undone.
    pub supports_undo: bool,
    /// Whether current records can be iterated over.
    pub supports_record_iternext: bool,
    /// ZODB interfaces that a client may rely on.
    pub interfaces: Vec<Interface>,
}

/// A Python interface, `(module, name)`.
pub type Interface = (&'static str, &'static str);

/// Counters of a storage since the server started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Registered connections now.
    pub connections: u64,
    /// `loadBefore` calls.
    pub loads: u64,
    /// Stored, deleted and restored records.
    pub stores: u64,
    /// Finished transactions.
    pub commits: u64,
    /// Aborted transactions.
    pub aborts: u64,
    /// Transactions begun and not ended now.
    pub active_transactions: u64,
    /// Unix seconds at which the longest holder of commit locks got them.
    pub lock_time: Option<f64>,
    /// Votes that met a conflict.
    pub conflicts: u64,
    /// Server start, in the form of C's `ctime`.
    pub start: String,
    /// Votes that wait for a lock now.
    pub waiting: u64,
    /// Whether a transaction timeout is in force.
    pub timeout_active: bool,
    /// Newest tid.
    pub last_transaction: Tid,
}
