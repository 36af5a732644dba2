//! Storage URLs and how to open what they name: the one place that knows which storages there
//! are.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::api::Storage;
use crate::blobs::{self, BlobStore};
use crate::commit::committer::CommitQueue;
use crate::commit::deadlines::Deadlines;
use crate::commit::publish::Publisher;
use crate::commit::spill::SpillPool;
use crate::core::{Core, NativeStorage};
use crate::directory::{Directory, FORMAT};
use crate::disk::Disk;
use crate::index::Index;
use crate::locks::LockManager;
use crate::log::RecordLog;
use crate::log::memory::MemoryLog;
use crate::log::segments::Recovered;
use crate::metrics::Timings;
use crate::oids::Oids;
use crate::pack::{Packed, PackedFile, Packer, Stage};
use crate::pool::Pool;
use crate::replica::{Note, Replication, Role};

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

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(url: &str) -> Result<Self, LocationError> {
        let error = |what| LocationError { url: url.to_owned(), what };
        let (place, query) = url.split_once('?').map_or((url, None), |(p, q)| (p, Some(q)));
        let kind = match place.split_once(':') {
            Some(("file", "")) => return Err(error("it names no directory: file:DIR")),
            Some(("file", dir)) => Kind::File(dir.into()),
            Some(("memory", "")) => Kind::Memory,
            _ => return Err(error("known are file:DIR and memory:")),
        };
        let blobs = match query.map(|query| query.split_once('=')) {
            None => None,
            Some(Some(("blobs", dir))) if !dir.is_empty() => Some(dir.into()),
            Some(_) => return Err(error("the only option is ?blobs=DIR")),
        };
        Ok(Self { kind, blobs })
    }
}

/// A storage URL that names nothing this version offers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a storage URL: {url:?}: {what}")]
pub struct LocationError {
    url: String,
    what: &'static str,
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
    /// How far back, in seconds, [`Storage::invalidations_later`] looks beyond them; `None`: not at
    /// all.
    pub invalidation_age: Option<u32>,
    /// A segment file is closed and a new one begun when it has grown to this.
    pub segment_bytes: u64,
    /// A transaction keeps this many bytes in memory, and further data in a temporary file.
    pub spill_bytes: usize,
    /// How records are read from segment files.
    pub reads: Reads,
    /// Memory for records that were read lately; 0 for none.
    pub cache_bytes: usize,
    /// Threads that read what is not in memory.
    pub reader_threads: usize,
    /// How long a transaction may hold its locks before its finish is asked; `None`: any time. Then
    /// it is aborted, and its mailbox is cut: [`crate::Cut::TimedOut`].
    pub transaction_timeout: Option<Duration>,
    /// For tests of what happens meanwhile: every load is answered this much later than it was read.
    pub load_delay: Duration,
}

/// What a finish waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Its transaction is on stable storage; all that wait at the same time share a sync.
    Commit,
    /// The same, with a sync for each transaction: for the experiment that compares the two.
    Each,
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

/// How records are read from segment files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// By a system call that waits for no device, or else on another thread.
    Pread,
    /// Through mappings: without a system call, but a thread that misses the page cache stops
    /// until the device answers, and a segment that is cut from outside, or cannot be read, ends
    /// the process by SIGBUS. For the experiment that compares the two.
    Mapped,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: Sync::Commit,
            commit_locks: CommitLocks::Oid,
            invalidation_queue_size: 100,
            invalidation_age: None,
            segment_bytes: 256 << 20,
            spill_bytes: 16 << 20,
            reads: Reads::Pread,
            cache_bytes: 64 << 20,
            reader_threads: 4,
            transaction_timeout: None,
            load_delay: Duration::ZERO,
        }
    }
}

/// Where tids come from.
pub trait Clock: Send + std::marker::Sync {
    /// Time since 1970-01-01 00:00 UTC. May stand still or go back; tids increase all the same.
    fn now(&self) -> Duration;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        // A clock before 1970 counts as 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Opens (for `file:` creates, if there is nothing) a storage.
///
/// Nothing on `disk` is changed unless the directory is empty, absent or one of ours, nobody else
/// has it open, and what is in it is right.
pub fn open(
    location: &Location,
    options: Options,
    disk: &Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Storage>, OpenError> {
    prepare(location, options, disk)?.start(clock)
}

/// The first half of [`open`]: finds, locks, reads and checks a storage, and changes nothing.
///
/// So several storages can be prepared before any of them is started. Where there is none yet, it
/// is checked that one may be created.
pub fn prepare(
    location: &Location,
    options: Options,
    disk: &Arc<dyn Disk>,
) -> Result<Prepared, OpenError> {
    let directory = match &location.kind {
        Kind::Memory => None,
        Kind::File(dir) => Some(Directory::look(disk, dir, &options)?),
    };
    let look_at_blobs = |dir| blobs::Survey::look(disk, dir);
    let blobs = location.blobs.as_deref().map(look_at_blobs).transpose()?;
    Ok(Prepared { options, directory, blobs })
}

/// A storage that can be started.
#[derive(Debug)]
pub struct Prepared {
    options: Options,
    /// `None`: it is in memory.
    directory: Option<Directory>,
    blobs: Option<blobs::Survey>,
}

impl Prepared {
    /// Whether [`Self::start`] makes a storage where there was none.
    pub fn is_new(&self) -> bool {
        self.directory.as_ref().is_none_or(Directory::is_new)
    }

    /// The second half of [`open`]: creates what is new, cuts a torn tail, and starts the threads.
    pub fn start(self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Storage>, OpenError> {
        let (parts, lock) = match self.directory {
            None => (Parts::in_memory(), None),
            Some(directory) => {
                let (parts, lock) = directory.settle(&self.options)?;
                (parts, Some(lock))
            }
        };
        let blobs = self.blobs.map(|blobs| blobs.settle(&parts.index)).transpose()?;
        let packed = parts.packed;
        let core = parts.core(self.options, clock, blobs)?;
        Ok(Arc::new(NativeStorage::start(core, packed, lock)?))
    }
}

/// What differs between the kinds of storage.
pub(crate) struct Parts {
    pub(crate) log: Box<dyn RecordLog>,
    pub(crate) index: Index,
    pub(crate) found: Recovered,
    pub(crate) oids: Oids,
    pub(crate) spill: Option<Arc<SpillPool>>,
    pub(crate) packed: Packed,
    pub(crate) packed_file: Option<PackedFile>,
    pub(crate) note: Note,
}

impl Parts {
    fn in_memory() -> Self {
        Self {
            log: Box::new(MemoryLog::default()),
            index: Index::default(),
            found: Recovered::default(),
            oids: Oids::in_memory(),
            spill: None,
            packed: Packed::default(),
            packed_file: None,
            note: Note::Memory(Mutex::default()),
        }
    }

    fn core(
        self,
        options: Options,
        clock: Arc<dyn Clock>,
        blobs: Option<Arc<BlobStore>>,
    ) -> Result<Core, OpenError> {
        let Recovered { last, last_transactions, complete_above, .. } = self.found;
        let remember = options.invalidation_queue_size;
        let role = match self.packed.stage {
            Stage::Copying => Role::Copying,
            Stage::Done | Stage::UnderWay => Role::Primary,
        };
        let replication = Replication::new(role, self.log.position(), self.note);
        Ok(Core {
            log: self.log,
            index: self.index,
            locks: LockManager::default(),
            publisher: Publisher::new(last.tid, last_transactions, complete_above, remember),
            queue: CommitQueue::default(),
            committing: Mutex::default(),
            deadlines: Deadlines::new(options.transaction_timeout),
            timings: Timings::default(),
            oids: self.oids,
            pool: Pool::new(options.reader_threads).map_err(OpenError::Thread)?,
            spill: self.spill,
            blobs,
            options,
            clock,
            owners: AtomicU64::new(0),
            refusing: OnceLock::new(),
            packer: Packer::new(self.packed_file, self.packed),
            replication,
        })
    }
}

/// Why a storage cannot be opened. Each tells all of it, and so has no source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory has other content.
    #[error("{}: neither empty nor a zeoxide storage; nothing was changed", .0.display())]
    Foreign(PathBuf),
    /// The directory was made by another version.
    #[error("{}: {what}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        what: String,
    },
    /// Another process has it open.
    #[error("{}: in use by another process", .0.display())]
    Locked(PathBuf),
    /// The blob directory cannot be used.
    #[error("{}: {what}", path.display())]
    Blobs {
        /// What says so.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A file that must be there is not.
    #[error("{}: missing{}", .0.display(), what_is_missing(.0))]
    Missing(PathBuf),
    /// A file is not as it was written.
    #[error("{}: damaged at offset {offset}: {what}; nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first byte of what is wrong.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A file cannot be read.
    #[error("{}: cannot read at offset {offset}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The first byte of what cannot be read.
        offset: u64,
        /// What the operating system says.
        error: io::Error,
    },
    /// The operating system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// No thread can be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Who looks for a storage in a wrong place has not heard of the file.
fn what_is_missing(path: &Path) -> &'static str {
    if path.ends_with(FORMAT) {
        ", which is in the directory of every storage; nothing was changed"
    } else {
        ""
    }
}

impl OpenError {
    /// For `map_err`.
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Io { path: path.clone(), error }
    }

    /// For `map_err` of a read.
    pub(crate) fn read(path: &Path, offset: u64) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Read { path: path.clone(), offset, error }
    }
}
