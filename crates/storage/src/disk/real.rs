//! The operating system's files.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Access, FallocateFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::mapped::RealMap;
use super::{Disk, File, Lock, Map, Open};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(how != Open::ReadOnly);
        match how {
            Open::Existing | Open::ReadOnly => (),
            Open::New => {
                options.create_new(true);
            }
            Open::Truncated => {
                options.create(true).truncate(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let utf8 = |name: std::ffi::OsString| {
            name.into_string().map_err(|name| {
                let what = format!("a name that is not UTF-8: {}", name.display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            })
        };
        fs::read_dir(path)?.map(|entry| utf8(entry?.file_name())).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn is_file(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::symlink_metadata(path)?.is_file())
    }

    fn make_read_only(&self, path: &Path, like: &Path) -> io::Result<()> {
        let readers = fs::metadata(like)?.permissions().mode() & READ;
        fs::set_permissions(path, fs::Permissions::from_mode(OWNER_READS | readers))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn check_writable(&self, path: &Path) -> io::Result<()> {
        // A file would lack a permission, which is not what is wrong with it.
        Ok(rustix::fs::access(path.join("."), Access::WRITE_OK | Access::EXEC_OK)?)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Box::new(RealLock(file)))
    }
}

/// Permission bits.
const READ: u32 = 0o444;
const OWNER_READS: u32 = 0o400;

/// The lock is the open file description's, so it ends with the process, however that ends.
#[derive(Debug)]
struct RealLock(fs::File);

impl Lock for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread starts has it open, too,
        // until it executes its program. Should this fail, closing is what there is.
        let _unlocked = self.0.unlock();
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn read_cached_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<bool> {
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        match rustix::io::preadv2(&self.0, bufs, offset, ReadWriteFlags::NOWAIT) {
            Ok(got) => Ok(got == wanted),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn map(&self, bytes: u64) -> io::Result<Box<dyn Map>> {
        Ok(Box::new(RealMap::new(&self.0, bytes)?))
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut bufs = bufs.to_vec();
        let mut rest = &mut bufs[..];
        while !rest.is_empty() {
            match rustix::io::pwritev(&self.0, rest, offset) {
                Ok(0) if rest.iter().all(|buf| buf.is_empty()) => break,
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn reserve(&self, end: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, end) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_where_a_child_process_still_has_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = fs::File::create(&path).unwrap();
        file.try_lock().unwrap();
        let _childs = file.try_clone().unwrap();
        let lock = RealLock(file);
        assert_eq!(RealDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        RealDisk.lock(&path).unwrap();
    }
}
