//! A log that was read and is not appended to, by whoever has no lock.

use std::sync::Arc;

use arc_swap::ArcSwap;
use protocol::{Failure, Tid};

use super::Segment;
use super::cursor::SegmentCursor;
use super::format::Identity;
use super::settle::Survey;
use crate::log::read::LogCursor;

/// The files of a log, and up to where they were right. A pack that replaces them leaves these open.
#[derive(Debug)]
pub(crate) struct Frozen {
    segments: Arc<ArcSwap<Vec<Arc<Segment>>>>,
    identity: Identity,
    pub(crate) last_tid: Tid,
    pub(crate) bytes: u64,
}

impl Survey {
    /// For reading only.
    pub(crate) fn freeze(self) -> Frozen {
        let segments = Arc::new(ArcSwap::from_pointee(self.segments));
        let identity = self.files.identity;
        Frozen { segments, identity, last_tid: self.last_tid, bytes: self.bytes }
    }
}

impl Frozen {
    /// Before the first transaction with a tid of at least `from`.
    pub(crate) fn seek(&self, from: Tid) -> Result<Box<dyn LogCursor>, Failure> {
        let cursor = SegmentCursor::seek(&self.segments, self.identity, from, self.last_tid)?;
        Ok(Box::new(cursor))
    }
}
