//! Finding a transaction by its tid, from either end.

use protocol::Tid;

use super::Reader;
use crate::error::ReadError;
use crate::format::{
    MAGIC_BYTES, POINTER_BYTES, Status, TRANSACTION_HEADER_BYTES, TransactionHeader,
};

impl Reader {
    /// Makes the first transaction after `tid` the next one, and says whether `tid` itself is
    /// there. From the end of the file that is nearer in time, headers alone are read.
    pub fn seek_after(&mut self, tid: Tid) -> Result<bool, ReadError> {
        self.seek(MAGIC_BYTES);
        let Some(first) = self.header(MAGIC_BYTES)? else { return Ok(false) };
        let last = self.last_whole()?;
        let is_late = last.is_some_and(|(_, last)| {
            tid.0.saturating_sub(first.tid.0) > last.tid.0.saturating_sub(tid.0)
        });
        if let Some((offset, header)) = last.filter(|_| is_late)
            && let Some(found) = self.seek_backward(tid, offset, header)?
        {
            return Ok(found);
        }
        self.seek_forward(tid)
    }

    fn seek_forward(&mut self, tid: Tid) -> Result<bool, ReadError> {
        let mut found = false;
        while let Some(header) = self.header(self.next)? {
            if header.tid > tid {
                break;
            }
            found = header.tid == tid;
            self.last_tid = header.tid;
            self.next += header.bytes + POINTER_BYTES;
        }
        Ok(found)
    }

    /// `None`: the lengths do not lead back to there, for which the way forward may find a reason.
    fn seek_backward(
        &mut self,
        tid: Tid,
        mut offset: u64,
        mut header: TransactionHeader,
    ) -> Result<Option<bool>, ReadError> {
        while header.tid > tid {
            let Some(before) = self.whole_before(offset)? else { return Ok(None) };
            (offset, header) = before;
        }
        self.next = offset + header.bytes + POINTER_BYTES;
        self.last_tid = header.tid;
        Ok(Some(header.tid == tid))
    }

    /// The transaction with which the file ends, if it ends with a whole one.
    pub(super) fn last_whole(&self) -> Result<Option<(u64, TransactionHeader)>, ReadError> {
        self.whole_before(self.input.bytes())
    }

    /// The transaction that ends at `end`, if one does, as far as its header and lengths tell.
    fn whole_before(&self, end: u64) -> Result<Option<(u64, TransactionHeader)>, ReadError> {
        let least = TRANSACTION_HEADER_BYTES as u64;
        let Some(length_at) = end.checked_sub(POINTER_BYTES).filter(|at| *at >= MAGIC_BYTES) else {
            return Ok(None);
        };
        let bytes = self.read(self.input.array_apart(length_at).map(u64::from_be_bytes))?;
        let offset = length_at.checked_sub(bytes).filter(|at| *at >= MAGIC_BYTES);
        let Some(offset) = offset.filter(|_| bytes >= least) else { return Ok(None) };
        let header = self.read(self.input.array_apart(offset).map(TransactionHeader::decode))?;
        let fits = header.bytes == bytes
            && header.head_bytes() <= bytes
            && Status::from_byte(header.status).is_some();
        Ok(fits.then_some((offset, header)))
    }
}
