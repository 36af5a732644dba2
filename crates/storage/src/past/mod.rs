//! What was: histories of objects, transactions that can be undone, iteration over all that is
//! committed, and what a cache has missed.
//!
//! All of it may block, and so runs on the storage's pool.

mod filter;
pub(crate) mod iterate;

use std::time::Duration;

use protocol::{CurrentRecord, Failure, Oid, Tid, TransactionHead, TransactionSummary, UndoLog};

use crate::api::Which;
use crate::core::Core;
use crate::index::Lookup;
use filter::Filter;

/// A status of ZODB's: an ordinary transaction.
pub(crate) const ORDINARY: u8 = b' ';

/// A status of ZODB's: what the transaction superseded is gone, so that it cannot be undone.
pub(crate) const PACKED: u8 = b'p';

/// An answer is in memory at once: beyond this, it is refused.
const ANSWER_BYTES: usize = 64 << 20;

/// With more objects to be named, a client is better off without its cache.
const CHANGED_OIDS: usize = 1_000_000;

impl Core {
    /// Transactions that can be undone, newest first.
    pub(crate) fn undo_log(&self, query: &UndoLog) -> Result<Vec<TransactionSummary>, Failure> {
        let mut filter = Filter::new(&query.filter);
        let mut answer = Summaries::default();
        let last = self.publisher.last_tid();
        let mut cursor = self.log.seek(last.next(), last)?;
        let mut passed = 0;
        while passed < query.last {
            let Some(transaction) = cursor.previous()? else {
                break;
            };
            let head = transaction.head;
            match self.status(&head) {
                PACKED => break,
                ORDINARY if filter.passes(&head) => (),
                _ => continue,
            }
            if passed >= query.first {
                answer.push(head, transaction.bytes)?;
            }
            passed += 1;
        }
        Ok(answer.summaries)
    }

    /// The newest revisions of an object, deletions among them.
    pub(crate) fn history(&self, oid: Oid, count: u32) -> Result<Vec<TransactionSummary>, Failure> {
        let mut answer = Summaries::default();
        let mut before = Tid::MAX;
        while answer.summaries.len() < usize::try_from(count).unwrap_or(usize::MAX) {
            let revision = match self.index.find(oid, Which::Before(before)) {
                Lookup::Revision { revision, .. } => revision,
                Lookup::Younger => break,
                Lookup::Unknown if before == Tid::MAX => return Err(Failure::UnknownOid(oid)),
                Lookup::Unknown => break,
            };
            before = revision.tid;
            let mut cursor = self.log.seek(revision.tid, revision.tid)?;
            let transaction = cursor.next()?.filter(|found| found.head.tid == revision.tid);
            if let Some(transaction) = transaction {
                answer.push(transaction.head, revision.place.data_bytes().into())?;
            } else if self.is_indexed(oid, revision.tid) {
                let what = format!("the transaction {} of object {oid} is missing", revision.tid);
                return Err(Failure::Storage(what));
            }
            // Else a pack has dropped it meanwhile.
        }
        Ok(answer.summaries)
    }

    /// The current revision of the first object from `from` on that has one.
    pub(crate) fn next_record(&self, from: Option<Oid>) -> Result<CurrentRecord, Failure> {
        let from = from.unwrap_or(Oid(0));
        let (oid, loaded) = loop {
            let Some((oid, _)) = self.index.next_current(from) else {
                return Err(Failure::Value(format!("there is no object from {from} on")));
            };
            match self.load_blocking(oid, Which::Before(Tid::MAX)) {
                Ok(Some(loaded)) => break (oid, loaded),
                // It was deleted in between.
                Ok(None) | Err(Failure::UnknownOid(_)) => (),
                Err(failure) => return Err(failure),
            }
        };
        let next = oid.0.checked_add(1).and_then(|next| self.index.next_current(Oid(next)));
        let next = next.map(|(next, _)| next);
        Ok(CurrentRecord { oid, tid: loaded.tid, data: loaded.data.into(), next })
    }

    /// The oids changed after `since` and up to `until`; `None`: it is not known, or not told to a
    /// cache that is so old. Deletions before the last pack are forgotten.
    pub(crate) fn changed(&self, since: Tid, until: Tid) -> Option<Vec<Oid>> {
        let age = Duration::from_secs(u64::from(self.options.invalidation_age?));
        let oldest = Tid::from_unix(self.clock.now().saturating_sub(age));
        if since < oldest || since < self.packed_to() {
            return None;
        }
        let oids = self.index.changed(since, until, CHANGED_OIDS)?;
        // What a pack drops meanwhile may be missing.
        (since >= self.packed_to()).then_some(oids)
    }

    /// ZODB's status of a transaction.
    pub(crate) fn status(&self, head: &TransactionHead) -> u8 {
        if head.tid <= self.packed_to() { PACKED } else { head.status }
    }
}

#[derive(Default)]
struct Summaries {
    summaries: Vec<TransactionSummary>,
    bytes: usize,
}

impl Summaries {
    fn push(&mut self, head: TransactionHead, size: u64) -> Result<(), Failure> {
        let TransactionHead { tid, user, description, extension, .. } = head;
        self.bytes += size_of::<TransactionSummary>();
        self.bytes += user.len() + description.len() + extension.len();
        if self.bytes > ANSWER_BYTES {
            let what = format!("the answer exceeds {ANSWER_BYTES} bytes: ask for fewer at once");
            return Err(Failure::Value(what));
        }
        self.summaries.push(TransactionSummary { tid, size, user, description, extension });
        Ok(())
    }
}
