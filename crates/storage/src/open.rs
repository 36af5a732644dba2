//! Storage URLs: the one place that knows which storages there are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::Storage;
use crate::disk::Disk;

/// Where data are, parsed from a storage URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// What holds the data.
    pub kind: Kind,
    /// `?blobs=DIR`.
    pub blobs: Option<PathBuf>,
}

/// What holds the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `file:DIR`: segment files in a directory.
    File(PathBuf),
    /// `memory:`: nothing outlives the process.
    Memory,
}

/// How a storage works, whatever it stores in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What a finish waits for.
    pub sync: Sync,
    /// What a vote locks.
    pub commit_locks: CommitLocks,
    /// How many of the last transactions [`Storage::invalidations`] knows.
    pub invalidation_queue_size: usize,
    /// A segment file is closed and a new one begun when it has grown to this.
    pub segment_bytes: u64,
    /// A transaction keeps this much in memory and the rest in a temporary file.
    pub spill_bytes: usize,
    /// Threads that read what is not in memory.
    pub reader_threads: usize,
}

/// What a finish waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Its transaction is on stable storage.
    Commit,
    /// Its transaction was given to the operating system: a power cut can lose it.
    None,
}

/// What a vote locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitLocks {
    /// The objects it names.
    Oid,
    /// Everything, as ZEO does: for the experiment that compares the two.
    Global,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: Sync::Commit,
            commit_locks: CommitLocks::Oid,
            invalidation_queue_size: 100,
            segment_bytes: 256 << 20,
            spill_bytes: 16 << 20,
            reader_threads: 4,
        }
    }
}

/// Opens (for `file:` creates, if there is nothing) a storage.
///
/// Nothing on `disk` is changed unless the directory is empty, absent or one of ours and nobody
/// else has it open.
pub fn open(
    location: &Location,
    options: Options,
    disk: &Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Storage>, OpenError> {
    let _ = (location, options, disk, clock, Path::new(""));
    Err(OpenError::Foreign(PathBuf::new()))
}

/// Where tids come from.
pub trait Clock: Send + std::marker::Sync {
    /// Time since 1970-01-01 00:00 UTC. May stand still or go back; tids increase all the same.
    fn now(&self) -> std::time::Duration;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> std::time::Duration {
        // A clock before 1970 counts as 1970.
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Why a storage cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory has other content.
    #[error("{0} is neither empty nor a zeoxide storage; nothing was changed")]
    Foreign(PathBuf),
}
