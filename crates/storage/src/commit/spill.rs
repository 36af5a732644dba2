//! Temporary files for what a transaction stores beyond its share of memory.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use protocol::Oid;

use crate::disk::{Disk, File, Open};
use crate::log::record_crc;

/// Hands out temporary files and takes them back for the next transaction.
#[derive(Debug)]
pub(crate) struct SpillPool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    free: Mutex<Vec<Arc<Temporary>>>,
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
        let temporary = match kept {
            Some(temporary) => temporary,
            None => self.create()?,
        };
        Ok(SpillFile { pool: Arc::clone(self), temporary, end: AtomicU64::new(0) })
    }

    /// The file has no name, so that nothing is left of it after a crash.
    fn create(&self) -> io::Result<Arc<Temporary>> {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("spill-{number}"));
        let opened = self.disk.open(&path, Open::Truncated);
        let file = opened.and_then(|file| self.disk.remove(&path).map(|()| file));
        let name = format!("temporary file of a transaction, {}", path.display());
        match file {
            Ok(file) => Ok(Arc::new(Temporary { file, name, failed: AtomicBool::new(false) })),
            Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        }
    }
}

/// An open file, and what it was called.
#[derive(Debug)]
struct Temporary {
    file: Arc<dyn File>,
    name: String,
    /// No other transaction gets it.
    failed: AtomicBool,
}

impl Temporary {
    /// For `map_err`: errors say which file it is.
    fn fail(&self, error: &io::Error) -> io::Error {
        self.failed.store(true, Ordering::Relaxed);
        io::Error::new(error.kind(), format!("{}: {error}", self.name))
    }
}

/// A transaction's temporary file; goes back to the pool when the last user drops it.
pub(crate) struct SpillFile {
    pool: Arc<SpillPool>,
    temporary: Arc<Temporary>,
    end: AtomicU64,
}

impl SpillFile {
    /// Appends `data`.
    pub(crate) fn write(self: &Arc<Self>, data: &[u8]) -> io::Result<Spilled> {
        let offset = self.end.load(Ordering::Relaxed);
        let written = self.temporary.file.write_all_at(&[IoSlice::new(data)], offset);
        written.map_err(|error| self.temporary.fail(&error))?;
        self.end.store(offset + data.len() as u64, Ordering::Relaxed);
        Ok(Spilled { file: Arc::clone(self), offset, len: data.len() })
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        // A file that cannot be emptied would keep its space: closing it frees that.
        if self.temporary.failed.load(Ordering::Relaxed) || self.temporary.file.set_len(0).is_err()
        {
            return;
        }
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT_FILES {
            free.push(Arc::clone(&self.temporary));
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

    /// All of it; fails unless it is what [`record_crc`] of `oid` says.
    pub(crate) fn read(&self, oid: Oid, crc: u32) -> io::Result<Bytes> {
        let temporary = &self.file.temporary;
        let mut data = vec![0; self.len];
        let read = temporary.file.read_exact_at(&mut data, self.offset).and_then(|()| {
            if record_crc(oid, Some(&data)) == crc {
                Ok(())
            } else {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a checksum is wrong"))
            }
        });
        read.map_err(|error| temporary.fail(&error))?;
        Ok(data.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_file_that_is_not_what_was_written_is_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let pool = SpillPool::new(Arc::new(RealDisk), dir.path().to_owned());
        let oid = Oid(7);
        let crc = record_crc(oid, Some(b"written"));
        let file = Arc::new(pool.take().unwrap());
        let spilled = file.write(b"written").unwrap();
        assert_eq!(spilled.read(oid, crc).unwrap(), "written");
        drop((file, spilled));

        let file = Arc::new(pool.take().unwrap());
        let spilled = file.write(b"changed").unwrap();
        let error = spilled.read(oid, crc).unwrap_err().to_string();
        assert!(error.contains("spill-0: a checksum is wrong"), "the same file: {error}");
        drop((file, spilled));
        assert!(pool.take().unwrap().temporary.name.ends_with("spill-1"));
    }
}
