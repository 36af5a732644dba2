//! Space on disk, promised at vote so that finish does not fail for want of it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Segment;

/// The space of the segment that is written to.
#[derive(Debug)]
pub(super) struct Space {
    ledger: Mutex<Ledger>,
    /// Held by whoever changes what is allocated, which can take as long as a sync; the ledger is
    /// not. Taken after the writer and before the ledger.
    allocating: Mutex<()>,
}

/// What is allocated and what of it is promised.
#[derive(Debug)]
struct Ledger {
    segment: Arc<Segment>,
    /// End of what is written.
    tail: u64,
    /// Sum of all promises.
    promised: u64,
    /// End of what is allocated. Where a new allocation failed, it is below what is promised.
    allocated: u64,
}

/// Allocation is asked for in pieces of this size, so that few votes wait for it.
const CHUNK_BYTES: u64 = 16 << 20;

impl Space {
    /// Nothing is promised behind `tail`, and nothing allocated.
    pub(super) fn new(segment: Arc<Segment>, tail: u64) -> Self {
        let ledger = Ledger { segment, tail, promised: 0, allocated: tail };
        Self { ledger: Mutex::new(ledger), allocating: Mutex::default() }
    }

    /// Promises what is allocated already.
    pub(super) fn promise(&self, bytes: u64) -> bool {
        self.ledger().promise(bytes)
    }

    pub(super) fn forget(&self, bytes: u64) {
        let mut ledger = self.ledger();
        ledger.promised = ledger.promised.saturating_sub(bytes);
    }

    /// So much of what was promised is written, up to `tail`.
    pub(super) fn written(&self, bytes: u64, tail: u64) {
        let mut ledger = self.ledger();
        ledger.promised = ledger.promised.saturating_sub(bytes);
        ledger.tail = tail;
    }

    /// Allocates and promises. After a failure a part may be allocated: see [`Self::cut`].
    pub(super) fn promise_blocking(&self, bytes: u64) -> io::Result<()> {
        let _alone = self.allocating();
        loop {
            let (segment, needed) = {
                let mut ledger = self.ledger();
                if ledger.promise(bytes) {
                    return Ok(());
                }
                (Arc::clone(&ledger.segment), ledger.needed() + bytes)
            };
            let allocated = segment.allocate(needed)?;
            self.ledger().allocated = allocated;
        }
    }

    /// Gives back whatever the segment has behind its tail, and allocates what is promised again.
    ///
    /// The caller holds the writer: what is being written would be cut, too. There is no other
    /// way: file systems that free a hole behind the end of a file are few.
    pub(super) fn cut(&self) -> io::Result<()> {
        let _alone = self.allocating();
        let (segment, tail) = {
            let mut ledger = self.ledger();
            // From here on promises wait for `allocating`.
            ledger.allocated = ledger.tail;
            (Arc::clone(&ledger.segment), ledger.tail)
        };
        segment.file.set_len(tail)?;
        let needed = self.ledger().needed();
        if needed > tail {
            match segment.file.reserve(needed) {
                Ok(()) => self.ledger().allocated = needed,
                Err(error) => tracing::warn!(
                    "{}: transactions that have voted may fail: {error}",
                    segment.path.display()
                ),
            }
        }
        Ok(())
    }

    /// Goes on at `tail` of an empty segment, with all promises; on failure in the old one.
    pub(super) fn move_to(&self, segment: &Arc<Segment>, tail: u64) -> io::Result<()> {
        let _alone = self.allocating();
        loop {
            let promised = self.ledger().promised;
            let allocated = segment.allocate(tail + promised)?;
            let mut ledger = self.ledger();
            // More may have been promised meanwhile, of what the old one has.
            if tail + ledger.promised <= allocated {
                let segment = Arc::clone(segment);
                *ledger = Ledger { segment, tail, allocated, promised: ledger.promised };
                return Ok(());
            }
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Every change is one of numbers, or one assignment.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocating(&self) -> MutexGuard<'_, ()> {
        self.allocating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn promise(&mut self, bytes: u64) -> bool {
        let kept = self.needed() + bytes <= self.allocated;
        if kept {
            self.promised += bytes;
        }
        kept
    }

    /// End of what the promises need.
    fn needed(&self) -> u64 {
        self.tail + self.promised
    }
}

impl Segment {
    /// Allocates up to `needed` at least, a chunk more if there is space, and returns up to where.
    fn allocate(&self, needed: u64) -> io::Result<u64> {
        let generous = needed.next_multiple_of(CHUNK_BYTES);
        match self.file.reserve(generous) {
            Ok(()) => Ok(generous),
            Err(error) if lacks_space(&error) => self.file.reserve(needed).map(|()| needed),
            Err(error) => Err(error),
        }
    }
}

/// Whether less would have succeeded.
pub(super) fn lacks_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
