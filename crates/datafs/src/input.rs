//! Positioned reads, of which those in sequence are from a window.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

/// A file as it was when it was opened: what is appended later is not seen.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    bytes: u64,
    window: Vec<u8>,
    /// Where in the file the window begins.
    window_start: u64,
}

impl Input {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes, window: Vec::new(), window_start: 0 })
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `N` bytes at `offset`, which the window then shows, and what follows.
    pub(crate) fn array<const N: usize>(&mut self, offset: u64) -> io::Result<[u8; N]> {
        if self.seen(offset, N).is_none() {
            self.move_window(offset)?;
        }
        let array = self.seen(offset, N).and_then(<[u8]>::first_chunk);
        array.copied().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// As [`Self::array`], and the window stays where it is.
    pub(crate) fn array_apart<const N: usize>(&self, offset: u64) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        match self.seen(offset, N).and_then(<[u8]>::first_chunk) {
            Some(seen) => array = *seen,
            None => self.file.read_exact_at(&mut array, offset)?,
        }
        Ok(array)
    }

    /// `len` bytes at `offset`; the caller has compared them with the length of the file.
    pub(crate) fn data(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        if let Some(seen) = self.seen(offset, len) {
            return Ok(Bytes::copy_from_slice(seen));
        }
        let mut data = vec![0; len];
        self.file.read_exact_at(&mut data, offset)?;
        Ok(data.into())
    }

    /// Whether all bytes from `offset` on are zero.
    pub(crate) fn zeros_from(&mut self, mut offset: u64) -> io::Result<bool> {
        while offset < self.bytes {
            self.move_window(offset)?;
            if self.window.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            // A file that shrank meanwhile would keep this here for ever.
            offset += self.window.len().max(1) as u64;
        }
        Ok(true)
    }

    fn move_window(&mut self, offset: u64) -> io::Result<()> {
        let rest = self.bytes.saturating_sub(offset);
        let len = usize::try_from(rest).map_or(WINDOW_BYTES, |rest| rest.min(WINDOW_BYTES));
        self.window.resize(len, 0);
        self.window_start = offset;
        self.file.read_exact_at(&mut self.window, offset).inspect_err(|_| self.window.clear())
    }

    fn seen(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.window_start)?).ok()?;
        self.window.get(start..start.checked_add(len)?)
    }
}

/// Enough for the disk to read ahead, and little enough to be read in vain.
const WINDOW_BYTES: usize = 256 << 10;
