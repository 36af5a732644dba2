//! An open file of a simulated disk.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use storage::disk::{File, Map};

use super::Shared;
use super::fault::{Call, NO_SPACE};
use super::op::{Change, FileId};

pub(super) struct SimFile {
    shared: Arc<Shared>,
    path: PathBuf,
    file: FileId,
}

impl SimFile {
    pub(super) fn new(shared: Arc<Shared>, path: &Path, file: FileId) -> Self {
        Self { shared, path: path.to_owned(), file }
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.shared.lock().tree.bytes(self.file).len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::Read, &self.path)?;
        let start = index(offset)?;
        let stored = start.checked_add(buf.len()).map(|end| start..end);
        let stored = stored.and_then(|range| state.tree.bytes(self.file).get(range));
        buf.copy_from_slice(stored.ok_or(io::ErrorKind::UnexpectedEof)?);
        state.count_read(&self.path, buf.len());
        Ok(())
    }

    fn read_cached_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<bool> {
        if !self.shared.lock().cached {
            return Ok(false);
        }
        let (mut state, _) = self.shared.enter(Call::Read, &self.path)?;
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        let mut rest = state.tree.bytes(self.file).get(index(offset)?..).unwrap_or_default();
        for buf in bufs {
            let Some((stored, after)) = rest.split_at_checked(buf.len()) else {
                return Ok(false);
            };
            buf.copy_from_slice(stored);
            rest = after;
        }
        state.count_read(&self.path, wanted);
        Ok(true)
    }

    fn map(&self, bytes: u64) -> io::Result<Box<dyn Map>> {
        drop(self.shared.enter(Call::Map, &self.path)?);
        let file = Self { shared: Arc::clone(&self.shared), path: self.path.clone(), ..*self };
        Ok(Box::new(SimMap { file, bytes }))
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let data: Bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let offset_index = index(offset)?;
        let change = |data| Change::Write { file: self.file, offset: offset_index, data };
        let (mut state, torn) = self.shared.enter(Call::Write, &self.path)?;
        if let Some(error) = torn {
            state.record(&self.path, change(data.slice(..data.len() / 2)));
            return Err(error);
        }
        if let Some(limit) = state.limit(self.file, offset + data.len() as u64) {
            // What fits is written, as real file systems do.
            let fits = index(limit.saturating_sub(offset))?;
            state.record(&self.path, change(data.slice(..fits)));
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        state.record(&self.path, change(data));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let file = self.file;
        match self.shared.enter(Call::Sync, &self.path) {
            Ok((mut state, _)) => {
                state.record(&self.path, Change::Sync { file });
                Ok(())
            }
            Err(error) => {
                self.shared.lock().record(&self.path, Change::SyncFailed { file });
                Err(error)
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::SetLen, &self.path)?;
        if state.limit(self.file, len).is_some() {
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        state.record(&self.path, Change::SetLen { file: self.file, len: index(len)? });
        Ok(())
    }

    fn reserve(&self, end: u64) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::Reserve, &self.path)?;
        // What there is is taken, as real file systems do, and kept until the length is set.
        let limit = state.limit(self.file, end);
        let reserved_end = state.reserved_ends.entry(self.file).or_default();
        *reserved_end = limit.unwrap_or(end).max(*reserved_end);
        match limit {
            None => Ok(()),
            Some(_) => Err(io::Error::from_raw_os_error(NO_SPACE)),
        }
    }
}

/// A mapping. Who touches what the file has not is told by a panic.
#[derive(Debug)]
struct SimMap {
    file: SimFile,
    bytes: u64,
}

impl Map for SimMap {
    fn len(&self) -> u64 {
        self.bytes
    }

    #[expect(unsafe_code, reason = "the trait says so; here it is checked")]
    unsafe fn read_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) {
        let mut state = self.file.shared.lock();
        let mut from = offset;
        for buf in bufs {
            let end = from + buf.len() as u64;
            let stored = state.tree.bytes(self.file.file).get(from as usize..end as usize);
            let stored = stored.filter(|_| end <= self.bytes);
            buf.copy_from_slice(stored.expect("SIGBUS: the file or the mapping ends before"));
            state.count_read(&self.file.path, buf.len());
            from = end;
        }
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}
