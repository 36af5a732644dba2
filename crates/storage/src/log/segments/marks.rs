//! Where transactions start in a segment: a few of them, so that any is found by a short walk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use protocol::Tid;

use super::format::SEGMENT_HEADER_BYTES;

/// See the module. Also knows how far the segment may be read.
#[derive(Debug)]
pub(super) struct Marks {
    /// Below this offset there are whole transactions that are not taken back any more.
    end: AtomicU64,
    /// Ascending; the first one is the segment's first transaction.
    marks: RwLock<Vec<Mark>>,
}

/// A place between two transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last tid before it.
    pub(super) after: Tid,
    pub(super) offset: u64,
}

/// Marks are about so far apart.
const DISTANCE_BYTES: u64 = 1 << 20;

impl Marks {
    /// Of a segment without transactions; `previous` is the last tid in the segments before.
    pub(super) fn new(previous: Tid) -> Self {
        let start = SEGMENT_HEADER_BYTES as u64;
        let first = Mark { after: previous, offset: start };
        Self { end: AtomicU64::new(start), marks: RwLock::new(vec![first]) }
    }

    /// The end of what may be read.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The segment has transactions up to `end` now, the last of which is `last_tid`.
    pub(super) fn grow(&self, last_tid: Tid, end: u64) {
        self.note(Mark { after: last_tid, offset: end });
        self.end.store(end, Ordering::Release);
    }

    /// Keeps a place, if there is none near it.
    pub(super) fn note(&self, mark: Mark) {
        // An insertion is whole or has not happened.
        let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        let position = marks.partition_point(|known| known.offset <= mark.offset);
        let before = position.checked_sub(1).and_then(|before| marks.get(before));
        if before.is_none_or(|before| mark.offset - before.offset >= DISTANCE_BYTES) {
            marks.insert(position, mark);
        }
    }

    /// The last known place before every transaction from `tid` on; `None`: `tid` may be in an
    /// earlier segment.
    pub(super) fn before(&self, tid: Tid) -> Option<Mark> {
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        let position = marks.partition_point(|mark| mark.after < tid);
        marks.get(position.checked_sub(1)?).copied()
    }

    /// The first place.
    pub(super) fn first(&self) -> Mark {
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        marks
            .first()
            .copied()
            .unwrap_or(Mark { after: Tid::ZERO, offset: SEGMENT_HEADER_BYTES as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_place_before_a_transaction_is_found() {
        let marks = Marks::new(Tid(5));
        let at = |tid| marks.before(Tid(tid)).map(|mark| mark.offset);
        assert_eq!(marks.end(), 64);
        marks.grow(Tid(10), 100);
        marks.grow(Tid(20), 3 * DISTANCE_BYTES);
        assert_eq!(marks.end(), 3 * DISTANCE_BYTES);
        assert_eq!([5, 6, 20, 21].map(at), [None, Some(64), Some(64), Some(3 * DISTANCE_BYTES)]);
        marks.note(Mark { after: Tid(15), offset: 2 * DISTANCE_BYTES });
        marks.note(Mark { after: Tid(16), offset: 2 * DISTANCE_BYTES + 8 });
        assert_eq!(
            [15, 16, 20].map(at),
            [Some(64), Some(2 * DISTANCE_BYTES), Some(2 * DISTANCE_BYTES)]
        );
        assert_eq!(marks.first(), Mark { after: Tid(5), offset: 64 });
    }
}
