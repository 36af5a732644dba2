//! The cached revisions of one object.

use bytes::Bytes;
use protocol::{Loaded, Tid};

use super::size;

/// In the order of their tids. Spans do not overlap, so that only the last one may have no end.
#[derive(Debug, Default)]
pub(super) struct Revisions(Vec<Revision>);

#[derive(Debug)]
pub(super) struct Revision {
    pub(super) tid: Tid,
    /// `None`: current, as far as is known.
    pub(super) end: Option<Tid>,
    pub(super) data: Bytes,
    /// Which place in the ring is the one of this revision.
    insertion: u64,
    /// Since the hand of the clock has passed.
    used: bool,
}

/// What the hand of the clock did.
pub(super) enum Passed {
    Kept,
    Gone,
    Evicted {
        bytes: usize,
        /// The object has no other one.
        last: bool,
    },
}

impl Revision {
    pub(super) fn loaded(&self) -> Loaded<Bytes> {
        Loaded { data: self.data.clone(), tid: self.tid, end: self.end }
    }
}

impl Revisions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest one before a tid, marked as used.
    pub(super) fn before(&mut self, before: Tid) -> Option<&Revision> {
        let revision = self.0.iter_mut().rev().find(|revision| revision.tid < before)?;
        revision.used = true;
        Some(revision)
    }

    /// Transaction `tid` has written a later revision.
    pub(super) fn close(&mut self, tid: Tid) {
        if let Some(last) = self.0.last_mut()
            && last.tid < tid
            && last.end.is_none()
        {
            last.end = Some(tid);
        }
    }

    /// Drops what has no end and is older than `tid`. Returns how many bytes that gives back.
    pub(super) fn drop_current(&mut self, tid: Tid) -> usize {
        let current = self.0.pop_if(|last| last.end.is_none() && last.tid < tid);
        current.map_or(0, |current| {
            self.0.shrink_to_fit();
            size(&current)
        })
    }

    /// Takes a revision that the server told, unless that contradicts what is known. Returns how
    /// many bytes it displaced, and whether it was taken.
    pub(super) fn insert(
        &mut self,
        tid: Tid,
        end: Option<Tid>,
        insertion: u64,
        data: impl FnOnce() -> Bytes,
    ) -> (usize, bool) {
        // A newer revision can be told before its invalidation. Older ones without an end have
        // ended then, but not necessarily here: there may be others in between.
        let dropped = self.drop_current(tid);
        let index = self.0.partition_point(|revision| revision.tid < tid);
        let known = self.0.get_mut(index);
        if let Some(same) = known.filter(|revision| revision.tid == tid) {
            same.end = same.end.or(end);
            return (dropped, false);
        }
        let later = self.0.get(index).map(|revision| revision.tid);
        let overlaps_later = later.is_some_and(|later| end.is_none_or(|end| end > later));
        let earlier = index.checked_sub(1).and_then(|earlier| self.0.get(earlier));
        let overlaps_earlier = earlier.and_then(|earlier| earlier.end).is_some_and(|end| end > tid);
        if overlaps_later || overlaps_earlier {
            return (dropped, false);
        }
        // Most objects have one revision, and a vector grows to four at once if it may.
        self.0.reserve_exact(1);
        self.0.insert(index, Revision { tid, end, data: data(), insertion, used: false });
        (dropped, true)
    }

    /// The hand of the clock comes to the place `insertion`.
    pub(super) fn pass(&mut self, insertion: u64) -> Passed {
        let Some(index) = self.0.iter().position(|revision| revision.insertion == insertion) else {
            return Passed::Gone;
        };
        match self.0.get_mut(index) {
            Some(revision) if revision.used => {
                revision.used = false;
                Passed::Kept
            }
            _ => {
                let bytes = size(&self.0.remove(index));
                self.0.shrink_to_fit();
                Passed::Evicted { bytes, last: self.is_empty() }
            }
        }
    }
}
