//! Files that are read through a mapping: no system call where the page cache has the bytes, and
//! a thread that stops until they are there where it has not.

#![allow(unsafe_code, reason = "nobody but the kernel keeps a mapping from changing")]

use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

use super::File;

/// The bytes of a file as memory, from its start.
#[expect(clippy::len_without_is_empty, reason = "a mapping is not a collection")]
pub trait Map: Debug + Send + Sync {
    /// Bytes that are mapped; the file may have fewer, and more.
    fn len(&self) -> u64;

    /// Fills `bufs` from `offset`, and waits where a page is not in memory.
    ///
    /// # Safety
    ///
    /// All of these bytes are mapped, and until this returns the file has them and nobody writes
    /// them.
    unsafe fn read_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64);
}

/// A file whose bytes are final once they were read through its mapping: from then on it is
/// neither cut below them nor written there.
#[derive(Debug)]
pub(crate) struct MappedFile {
    file: Arc<dyn File>,
    map: Box<dyn Map>,
    /// The file has at least so many bytes. Held by whoever writes or cuts.
    len: Mutex<u64>,
    /// Below this, bytes are final. Raised only with `len` held and up to it, and never lowered.
    final_to: AtomicU64,
}

/// So much is mapped of a file that has less, so that it can grow without another mapping. What is
/// mapped costs address space, not memory.
const MAPPED_BYTES: u64 = 1 << 30;

impl MappedFile {
    pub(crate) fn new(file: Arc<dyn File>) -> io::Result<Self> {
        let len = file.len()?;
        let map = file.map(len.max(MAPPED_BYTES))?;
        Ok(Self { file, map, len: Mutex::new(len), final_to: AtomicU64::new(0) })
    }

    fn known_len(&self) -> MutexGuard<'_, u64> {
        // It is a lower bound at every moment.
        self.len.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has bytes below `end` be final. `false`: the file may have fewer, or is being changed.
    fn make_final(&self, end: u64) -> bool {
        if end <= self.final_to.load(Ordering::Acquire) {
            return true;
        }
        let Ok(len) = self.len.try_lock() else { return false };
        let is_there = end <= *len;
        if is_there {
            self.final_to.fetch_max(end, Ordering::Release);
        }
        is_there
    }

    /// With `len` held: refuses what would change a final byte.
    fn check_final(&self, from: u64) -> io::Result<()> {
        if from >= self.final_to.load(Ordering::Acquire) {
            return Ok(());
        }
        let what = format!("bytes from {from} on were read through a mapping and cannot change");
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }
}

impl File for MappedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn read_cached_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<bool> {
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        let end = offset.checked_add(wanted as u64).filter(|end| *end <= self.map.len());
        if !end.is_some_and(|end| self.make_final(end)) {
            return self.file.read_cached_at(bufs, offset);
        }
        // SAFETY: The bytes are mapped, since `end` is. The file had them when they became final,
        // and has them now: `set_len` is the only call that cuts, and it refuses to, under the
        // lock under which they became final. `write_all_at` writes none of them, likewise.
        //
        // That is all that this process does to the file: the log opens each segment once, and
        // the lock of its directory keeps other servers away. A foreign program that cuts the
        // file, or a device that fails, ends the process by SIGBUS, which is no access to memory
        // that is somebody else's; what one writes there is copied before anybody looks at it, and
        // then fails its checksum.
        unsafe { self.map.read_at(bufs, offset) };
        Ok(true)
    }

    fn map(&self, bytes: u64) -> io::Result<Box<dyn Map>> {
        self.file.map(bytes)
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut len = self.known_len();
        self.check_final(offset)?;
        self.file.write_all_at(bufs, offset)?;
        let written: usize = bufs.iter().map(|buf| buf.len()).sum();
        *len = (*len).max(offset + written as u64);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, new: u64) -> io::Result<()> {
        let mut len = self.known_len();
        self.check_final(new)?;
        // Whatever a failure leaves has so much.
        *len = (*len).min(new);
        self.file.set_len(new)?;
        *len = new;
        Ok(())
    }

    fn reserve(&self, end: u64) -> io::Result<()> {
        self.file.reserve(end)
    }
}

/// A mapping by the operating system.
#[derive(Debug)]
pub(super) struct RealMap(MmapRaw);

impl RealMap {
    pub(super) fn new(file: &std::fs::File, bytes: u64) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Ok(Self(MmapOptions::new().len(bytes).map_raw_read_only(file)?))
    }
}

impl Map for RealMap {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    unsafe fn read_at(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) {
        let mut from = self.0.as_ptr().wrapping_add(offset as usize);
        for buf in bufs {
            // SAFETY: The caller says that these bytes are mapped, that the file has them, and
            // that nobody writes them. They are not `buf`'s: nobody has a reference into the mapping.
            unsafe { ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), buf.len()) };
            from = from.wrapping_add(buf.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk as _, Open, RealDisk};

    /// A mapped file of these bytes, and its folder.
    fn mapped(bytes: &[u8]) -> (MappedFile, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&folder.path().join("file"), Open::New).unwrap();
        file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
        (MappedFile::new(file).unwrap(), folder)
    }

    /// Same in two parts, if that waits for nothing.
    fn read<const N: usize>(file: &MappedFile, offset: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let (head, tail) = bytes.split_at_mut(N / 2);
        let bufs = &mut [IoSliceMut::new(head), IoSliceMut::new(tail)];
        file.read_cached_at(bufs, offset).unwrap().then_some(bytes)
    }

    #[test]
    fn what_is_appended_is_read_through_the_same_mapping() {
        let (file, _folder) = mapped(b"first");
        assert_eq!(read(&file, 1), Some(*b"irst"));
        let long = vec![7; 3 << 20];
        file.write_all_at(&[IoSlice::new(b", second"), IoSlice::new(&long)], 5).unwrap();
        assert_eq!(read(&file, 0), Some(*b"first, second\x07"));
        assert_eq!(read(&file, 3 << 20), Some([7; 13]));
        assert_eq!(file.final_to.load(Ordering::Relaxed), (3 << 20) + 13);
    }

    #[test]
    fn a_page_that_the_file_has_not_is_never_touched() {
        let (file, _folder) = mapped(b"first");
        // Each of these would be the end of the process.
        assert_eq!(read::<8>(&file, 1 << 20), None);
        assert_eq!(read::<8>(&file, MAPPED_BYTES), None);
        assert_eq!(read::<6>(&file, 0), None, "it ends one byte before");
        assert_eq!(file.final_to.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_was_not_read_can_be_taken_back() {
        let (file, _folder) = mapped(b"first, second");
        assert_eq!(read(&file, 0), Some(*b"first"));
        file.set_len(6).unwrap();
        assert_eq!(read::<13>(&file, 0), None);
        file.write_all_at(&[IoSlice::new(b" third ")], 6).unwrap();
        assert_eq!(read(&file, 0), Some(*b"first, third "));
    }

    #[test]
    fn what_was_read_is_final() {
        let (file, folder) = mapped(b"first, second");
        assert_eq!(read(&file, 0), Some(*b"first"));
        for error in
            [file.set_len(4).unwrap_err(), file.write_all_at(&[IoSlice::new(b"x")], 4).unwrap_err()]
        {
            assert!(error.to_string().contains("from 4 on were read"), "{error}");
        }
        assert_eq!(std::fs::read(folder.path().join("file")).unwrap(), b"first, second");
        file.set_len(5).unwrap();
    }
}
