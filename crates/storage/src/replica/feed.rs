//! All transactions after one, from the log, as they come.

use std::fmt;
use std::sync::Arc;

use protocol::{Failure, Tid, TransactionHead, TransactionRecord};

use super::Digest;
use crate::core::Core;
use crate::log::Followed;
use crate::log::read::{LoggedTransaction, RecordCursor};

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A transaction begins.
    Begin(TransactionHead),
    /// A record of it. An origin may be a revision that is gone.
    Record(TransactionRecord),
    /// The transaction is whole; over it and all before it.
    End(Digest),
    /// There is no more for now. See [`super::Replica::watch`].
    AtEnd,
    /// What follows is being packed away, with what was not told of it. The feed is over.
    Packed,
}

/// A place in the log. A pack of what it has yet to read changes nothing for it, as long as the log
/// can be held as it is.
pub struct Feed {
    core: Arc<Core>,
    /// The last transaction that was told whole.
    after: Tid,
    log: Followed,
    /// As the log that is followed has it.
    packed_to: Tid,
    open: Option<Open>,
}

/// A transaction that is being told.
struct Open {
    tid: Tid,
    digest: Digest,
    records: Box<dyn RecordCursor>,
}

impl Feed {
    pub(super) fn new(core: &Arc<Core>, after: Tid) -> Result<Option<Self>, Failure> {
        let (log, packed_to) = follow(core, after)?;
        if after < packed_to && (after != Tid::ZERO || !log.is_held && core.packer.is_running()) {
            return Ok(None);
        }
        Ok(Some(Self { core: Arc::clone(core), after, log, packed_to, open: None }))
    }

    /// Up to here revisions may be missing in what is told.
    pub fn packed_to(&self) -> Tid {
        self.packed_to
    }

    /// The next step.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] for what cannot be read; the feed is over then.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Step, Failure> {
        let Some(open) = &mut self.open else {
            return self.begin();
        };
        if let Some(record) = open.records.next()? {
            return Ok(Step::Record(record));
        }
        let (tid, digest) = (open.tid, open.digest);
        if self.is_spoiled() {
            return Ok(Step::Packed);
        }
        self.open = None;
        self.after = tid;
        Ok(Step::End(digest))
    }

    fn begin(&mut self) -> Result<Step, Failure> {
        let mut next = self.log.cursor.next()?;
        if next.is_none() && self.core.replication.position().tid > self.after {
            // What is held has ended, and the log goes on.
            let (log, packed_to) = follow(&self.core, self.after)?;
            if self.after < packed_to {
                return Ok(Step::Packed);
            }
            (self.log, self.packed_to) = (log, packed_to);
            next = self.log.cursor.next()?;
        }
        let Some(LoggedTransaction { head, digest, records, .. }) = next else {
            return Ok(if self.is_spoiled() { Step::Packed } else { Step::AtEnd });
        };
        self.open = Some(Open { tid: head.tid, digest, records });
        Ok(Step::Begin(head))
    }

    /// Whether a pack may have dropped what was to be told, or what was told.
    fn is_spoiled(&self) -> bool {
        let packed_to = self.core.packed_to();
        !self.log.is_held && packed_to != self.packed_to && self.after < packed_to
    }
}

/// The log after `after`, and up to where it may be packed: nothing is dropped before that is known.
fn follow(core: &Core, after: Tid) -> Result<(Followed, Tid), Failure> {
    let log = core.log.follow(after.next())?;
    Ok((log, core.packed_to()))
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("after", &self.after).finish_non_exhaustive()
    }
}
