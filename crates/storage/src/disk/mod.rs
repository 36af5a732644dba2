//! The file-system calls that the log makes, behind a trait: the real ones, and in tests a disk
//! that fails and one that forgets what was not synced.

mod frozen;
mod mapped;
mod real;

use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

pub(crate) use frozen::FrozenDisk;
pub(crate) use mapped::MappedFile;

pub use mapped::Map;
pub use real::RealDisk;

/// A file system.
///
/// A change of a directory (a file created, renamed, removed) is durable after
/// [`Self::sync_dir`] of that directory; a file's bytes and length after [`File::sync`]. Nothing
/// else is.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file to read and write.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// Creates a directory and its missing parents.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in any order; names that are not UTF-8 are an error.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Renames a file within a file system, replacing `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, `to`, which must not exist. Not all file systems can.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Whether a name is that of a file, and not of a directory, a symbolic link or a device.
    fn is_file(&self, path: &Path) -> io::Result<bool>;

    /// Lets nobody write a file, and those read it who may read the directory `like`.
    fn make_read_only(&self, path: &Path, like: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Fails if the process may not create names in the directory, as far as that is known in advance.
    fn check_writable(&self, path: &Path) -> io::Result<()>;

    /// Bytes that may still be written below a directory, as far as that is known.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Makes changes of the directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes an exclusive lock that ends with this process (or with the value). `WouldBlock`: another process has
    /// it. The file is created if need be.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// A file's lock, held until dropped.
pub trait Lock: Debug + Send + Sync {}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist.
    Existing,
    /// It must exist, and is not written.
    ReadOnly,
    /// It must not exist.
    New,
    /// It is created or emptied.
    Truncated,
}

/// An open file; all methods may be called from several threads.
#[expect(clippy::len_without_is_empty, reason = "a file is not a collection")]
pub trait File: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buf` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Same for several buffers, but only if that waits for no device: `false` if it would, or
    /// if the system cannot tell; the buffers' content is then unspecified.
    fn read_cached_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<bool>;

    /// Maps the first `bytes`, among them those that the file has not yet.
    fn map(&self, bytes: u64) -> io::Result<Box<dyn Map>>;

    /// Writes all of `bufs` at `offset`. After an error any part of it may have been written.
    fn write_all_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Makes the bytes and the length durable. After an error nothing is known of what was
    /// written since the last sync.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or extends it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sees to it that writes below `end` find space, without changing the length.
    /// `StorageFull` if there is none; no error where the file system cannot promise it.
    /// After an error it may have taken what there was; [`Self::set_len`] gives back what is beyond
    /// that length.
    fn reserve(&self, end: u64) -> io::Result<()>;
}

/// The names in a directory; none if there is no directory.
pub(crate) fn list_if_there(disk: &dyn Disk, path: &Path) -> io::Result<Vec<String>> {
    match disk.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// The first `max` bytes of a file, or all if it has fewer.
pub(crate) fn read_start(disk: &dyn Disk, path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Open::Existing)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX).min(max)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
