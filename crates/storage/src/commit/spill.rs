//! Temporary files for what a transaction stores beyond its share of memory.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::disk::{Disk, File, Open};

/// Hands out temporary files and takes them back for the next transaction.
#[derive(Debug)]
pub(crate) struct SpillPool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    free: Mutex<Vec<Arc<dyn File>>>,
    created: AtomicU64,
}

/// Files beyond this many are closed, not kept.
const KEPT_FILES: usize = 4;

impl SpillPool {
    /// `dir` exists and is nobody else's.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { disk, dir, free: Mutex::default(), created: AtomicU64::new(0) })
    }

    /// An empty file of one transaction.
    pub(crate) fn take(self: &Arc<Self>) -> io::Result<SpillFile> {
        let kept = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let file = match kept {
            Some(file) => file,
            None => self.create()?,
        };
        Ok(SpillFile { pool: Arc::clone(self), file, end: AtomicU64::new(0) })
    }

    /// The file has no name, so that nothing is left of it after a crash.
    fn create(&self) -> io::Result<Arc<dyn File>> {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("spill-{number}"));
        let file = self.disk.open(&path, Open::Truncated)?;
        self.disk.remove(&path)?;
        Ok(file)
    }
}

/// A transaction's temporary file; goes back to the pool when the last user drops it.
pub(crate) struct SpillFile {
    pool: Arc<SpillPool>,
    file: Arc<dyn File>,
    end: AtomicU64,
}

impl SpillFile {
    /// Appends `data`.
    pub(crate) fn write(self: &Arc<Self>, data: &[u8]) -> io::Result<Spilled> {
        let offset = self.end.load(Ordering::Relaxed);
        self.file.write_all_at(&[IoSlice::new(data)], offset)?;
        self.end.store(offset + data.len() as u64, Ordering::Relaxed);
        Ok(Spilled { file: Arc::clone(self), offset, len: data.len() })
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that cannot be emptied would keep its space: closing it frees that.
        if free.len() < KEPT_FILES && self.file.set_len(0).is_ok() {
            free.push(Arc::clone(&self.file));
        }
    }
}

impl fmt::Debug for SpillFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpillFile").field("end", &self.end).finish_non_exhaustive()
    }
}

/// One record's bytes in a temporary file.
#[derive(Debug)]
pub(crate) struct Spilled {
    file: Arc<SpillFile>,
    offset: u64,
    len: usize,
}

impl Spilled {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of it.
    pub(crate) fn read(&self) -> io::Result<Bytes> {
        let mut data = vec![0; self.len];
        self.file.file.read_exact_at(&mut data, self.offset)?;
        Ok(data.into())
    }
}
