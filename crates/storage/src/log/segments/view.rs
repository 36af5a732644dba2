//! A log that was read and is not appended to: the segments as they were, held open.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use protocol::{Failure, Tid};

use super::cursor::SegmentCursor;
use super::{Files, Segment, Survey};
use crate::log::Position;
use crate::log::read::{LogCursor as _, LoggedTransaction};

/// See the module. A file that a pack replaces stays the one that is held.
#[derive(Debug)]
pub(crate) struct LogView {
    pub(super) files: Files,
    pub(super) segments: Arc<ArcSwap<Vec<Arc<Segment>>>>,
    bytes: u64,
    last: Position,
    torn: Option<Torn>,
    /// What is wrong with indexes.
    notes: Vec<String>,
}

/// What follows the last whole transaction: a write that a crash interrupted, or one that is under
/// way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The last segment.
    pub path: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
}

impl Survey {
    /// For reading only.
    pub(crate) fn view(self) -> LogView {
        let Self { files, segments, active, tail, bytes, last, notes, .. } = self;
        let path = &active.path;
        let torn = tail.torn.map(|what| Torn { path: path.clone(), offset: tail.end, what });
        let segments = Arc::new(ArcSwap::from_pointee(segments));
        LogView { files, segments, bytes, last, torn, notes }
    }
}

impl LogView {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn last_tid(&self) -> Tid {
        self.last.tid
    }

    pub(crate) fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    /// What is wrong with index files, for people.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Before the first transaction from `from` on; shows those up to `to`.
    pub(crate) fn seek(&self, from: Tid, to: Tid) -> Result<ViewCursor, Failure> {
        let to = to.min(self.last.tid);
        SegmentCursor::seek(&self.segments, self.files.identity, from, to).map(ViewCursor)
    }
}

/// A place between two transactions.
#[derive(Debug)]
pub(crate) struct ViewCursor(SegmentCursor);

impl ViewCursor {
    /// The next transaction, the file that it is in, and where it begins there.
    pub(crate) fn next(&mut self) -> Result<Option<(LoggedTransaction, PathBuf, u64)>, Failure> {
        let Some(transaction) = self.0.next()? else { return Ok(None) };
        let (path, end) = self.0.position();
        let start = end.saturating_sub(transaction.bytes);
        Ok(Some((transaction, path.to_owned(), start)))
    }

    /// Goes back over the transaction before.
    pub(crate) fn previous(&mut self) -> Result<Option<LoggedTransaction>, Failure> {
        self.0.previous()
    }
}
