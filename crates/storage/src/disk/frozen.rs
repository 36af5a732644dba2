//! A disk that is only looked at, also while others write to it.

use std::io::{self, IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

use super::{Disk, File, Lock, Map, Open};

/// Changes nothing, by construction: all that would is refused. A file has the length for ever that
/// it had when it was opened, so that what is appended meanwhile is not mistaken for damage.
#[derive(Debug)]
pub(crate) struct FrozenDisk(pub(crate) Arc<dyn Disk>);

impl Disk for FrozenDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        match how {
            Open::Existing | Open::ReadOnly => {
                let file = self.0.open(path, Open::ReadOnly)?;
                let len = file.len()?;
                Ok(Arc::new(FrozenFile { file, len }))
            }
            Open::New | Open::Truncated => refused(),
        }
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn is_file(&self, path: &Path) -> io::Result<bool> {
        self.0.is_file(path)
    }

    fn make_read_only(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn check_writable(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Lock>> {
        refused()
    }
}

/// The first `len` bytes of a file.
#[derive(Debug)]
struct FrozenFile {
    file: Arc<dyn File>,
    len: u64,
}

impl FrozenFile {
    fn check(&self, bytes: usize, offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes as u64);
        let is_within = end.is_some_and(|end| end <= self.len);
        if is_within { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl File for FrozenFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(buf.len(), offset)?;
        self.file.read_exact_at(buf, offset)
    }

    fn read_cached_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<bool> {
        self.check(bufs.iter().map(|buf| buf.len()).sum(), offset)?;
        self.file.read_cached_at(bufs, offset)
    }

    fn map(&self, _: u64) -> io::Result<Box<dyn Map>> {
        // A map would show more than the file has.
        refused()
    }

    fn write_all_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        refused()
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn what_comes_after_the_opening_is_not_there_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"before").unwrap();
        let disk = FrozenDisk(Arc::new(RealDisk));
        let file = disk.open(&path, Open::Existing).unwrap();
        std::fs::write(&path, b"before and after").unwrap();
        assert_eq!(file.len().unwrap(), 6);
        let mut bytes = [0; 6];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"before");
        for (bytes, offset) in [(7, 0), (1, 6), (1, u64::MAX)] {
            let read = file.read_exact_at(&mut vec![0; bytes], offset);
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        let refused = |done: io::Result<()>| {
            assert_eq!(done.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        };
        refused(file.set_len(0));
        refused(file.write_all_at(&[IoSlice::new(b"x")], 0));
        refused(disk.open(&path, Open::Truncated).map(drop));
        refused(disk.remove(&path));
        refused(disk.lock(&path).map(drop));
        assert_eq!(std::fs::read(&path).unwrap(), b"before and after");
    }
}
