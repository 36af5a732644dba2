//! A file that grows at its end, through a buffer, and whose earlier bytes can be patched.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

#[derive(Debug)]
pub(crate) struct Output {
    file: File,
    buffer: Vec<u8>,
    /// Bytes of the file before the buffer.
    written: u64,
}

impl Output {
    /// Goes on at `end`; what the file has behind it is overwritten or cut off.
    pub(crate) fn new(file: File, end: u64) -> Self {
        Self { file, buffer: Vec::with_capacity(BUFFER_BYTES), written: end }
    }

    /// Where the next byte will be.
    pub(crate) fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() > BUFFER_BYTES {
            self.file.write_all_at(bytes, self.written)?;
            self.written += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Writes over `bytes.len()` bytes at `offset`, which were written in one call.
    pub(crate) fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(start) = offset.checked_sub(self.written) else {
            return self.file.write_all_at(bytes, offset);
        };
        let place = usize::try_from(start).ok().and_then(|start| self.buffer.get_mut(start..));
        let place = place.unwrap_or_default();
        place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// Fills `bytes` with what is at `offset`.
    pub(crate) fn read(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        if offset + bytes.len() as u64 > self.written {
            self.flush()?;
        }
        self.file.read_exact_at(bytes, offset)
    }

    pub(crate) fn array<const N: usize>(&mut self, offset: u64) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.read(offset, &mut array)?;
        Ok(array)
    }

    /// Takes back all from `end` on.
    pub(crate) fn truncate(&mut self, end: u64) -> io::Result<()> {
        self.flush()?;
        self.file.set_len(end)?;
        self.written = end;
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

const BUFFER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_buffered_and_what_is_written_can_be_patched_and_read() {
        let file = tempfile::tempfile().unwrap();
        let mut out = Output::new(file.try_clone().unwrap(), 0);
        out.write(b"abcd").unwrap();
        out.patch(1, b"B").unwrap();
        let large = vec![b'x'; BUFFER_BYTES + 1];
        out.write(&large).unwrap();
        out.write(b"efgh").unwrap();
        out.patch(2, b"C").unwrap();
        let tail = 4 + large.len() as u64;
        out.patch(tail + 1, b"F").unwrap();
        assert_eq!(out.end(), tail + 4);
        assert_eq!(&out.array::<5>(0).unwrap(), b"aBCdx");
        assert_eq!(&out.array::<5>(tail - 1).unwrap(), b"xeFgh");
        out.truncate(4).unwrap();
        out.write(b"z").unwrap();
        out.sync().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 5);
        assert_eq!(&out.array::<5>(0).unwrap(), b"aBCdz");
    }
}
