//! Space on disk, promised at vote so that finish does not fail for want of it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::Segment;

/// What is allocated in the segment that is written to, and what of it is promised.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) segment: Arc<Segment>,
    /// End of what is written.
    pub(super) tail: u64,
    /// Sum of all promises.
    pub(super) promised: u64,
    /// End of what is allocated.
    pub(super) allocated: u64,
}

/// Allocation is asked for in pieces of this size, so that few votes wait for it.
const CHUNK_BYTES: u64 = 16 << 20;

impl Space {
    /// Nothing is promised behind `tail`, and nothing allocated.
    pub(super) fn new(segment: Arc<Segment>, tail: u64) -> Self {
        Self { segment, tail, promised: 0, allocated: tail }
    }

    pub(super) fn promise(&mut self, bytes: u64) -> bool {
        let kept = self.tail + self.promised + bytes <= self.allocated;
        if kept {
            self.promised += bytes;
        }
        kept
    }

    pub(super) fn forget(&mut self, bytes: u64) {
        self.promised = self.promised.saturating_sub(bytes);
    }

    /// The segment was cut at `tail`, which gives back what was allocated behind it: what was
    /// promised is allocated again, if there still is space.
    pub(super) fn reallocate(&mut self) {
        let needed = self.tail + self.promised;
        match self.segment.allocate(needed) {
            Ok(allocated) => self.allocated = allocated,
            Err(error) => {
                self.allocated = self.tail;
                let path = self.segment.path.display();
                tracing::warn!("{path}: transactions that have voted may fail: {error}");
            }
        }
    }

    /// Allocates without holding `space`, since that can take as long as a sync.
    pub(super) fn promise_blocking(space: &Mutex<Self>, bytes: u64) -> io::Result<()> {
        loop {
            let (segment, needed) = {
                let mut space = space.lock().unwrap_or_else(PoisonError::into_inner);
                if space.promise(bytes) {
                    return Ok(());
                }
                (Arc::clone(&space.segment), space.tail + space.promised + bytes)
            };
            let allocated = segment.allocate(needed)?;
            let mut space = space.lock().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&space.segment, &segment) {
                space.allocated = space.allocated.max(allocated);
            }
        }
    }
}

impl Segment {
    /// Allocates up to `needed` at least, a chunk more if there is space, and returns up to where.
    pub(super) fn allocate(&self, needed: u64) -> io::Result<u64> {
        let generous = needed.next_multiple_of(CHUNK_BYTES);
        match self.file.reserve(generous) {
            Ok(()) => Ok(generous),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.file.reserve(needed).map(|()| needed)
            }
            Err(error) => Err(error),
        }
    }
}
