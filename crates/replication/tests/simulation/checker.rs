//! What must be true of all nodes together, at every moment.

use std::collections::BTreeMap;

use protocol::Tid;
use replication::{Epoch, EpochStart, History, Position};

use crate::network::NodeId;
use crate::node::{Answer, Node};
use crate::store::Transaction;

/// All that any node has ever shown.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// Each with the digests before and after it.
    transactions: BTreeMap<(Epoch, Tid), (u64, u64)>,
    /// The epoch of each transaction, by its digest.
    epochs: BTreeMap<u64, Epoch>,
    starts: BTreeMap<Epoch, EpochStart>,
    answered: Vec<Answer>,
    /// How much of each node's log was looked at, with the history that it had.
    seen: BTreeMap<NodeId, (Position, usize, History)>,
}

impl Checker {
    /// A commit was answered by a primary.
    pub(crate) fn answered(&mut self, answers: Vec<Answer>) {
        self.answered.extend(answers);
    }

    pub(crate) fn answers(&self) -> usize {
        self.answered.len()
    }

    /// Whether a node has all that was ever answered.
    pub(crate) fn has_all_answered(&self, node: &Node) -> Result<(), String> {
        for Answer { epoch, at } in &self.answered {
            let found = node.store.digest_at(at.tid);
            if found != Some(at.digest) {
                return Err(format!("{at:?} of {epoch:?} was answered and is {found:?} now"));
            }
        }
        Ok(())
    }

    /// Looks at what a node has that was not seen before.
    pub(crate) fn look(&mut self, id: NodeId, node: &Node) -> Result<(), String> {
        let (log, history) = (node.store.log(), node.store.standing().history().clone());
        for start in history.starts() {
            let known = *self.starts.entry(start.epoch).or_insert(*start);
            if known != *start {
                return Err(format!("an epoch starts twice: {known:?}, {start:?}"));
            }
        }
        let from = match self.seen.get(&id) {
            Some((last, count, before))
                if *before == history && last_of(log, *count) == Some(*last) =>
            {
                *count
            }
            _ => 0,
        };
        for transaction in log.get(from..).unwrap_or_default() {
            self.transaction(transaction, &history)?;
        }
        self.seen.insert(id, (last_of(log, log.len()).unwrap_or_default(), log.len(), history));
        Ok(())
    }

    fn transaction(&mut self, found: &Transaction, history: &History) -> Result<(), String> {
        let tid = found.tid;
        let Some(start) = history.starts().iter().rfind(|start| start.base.tid < tid) else {
            return Err(format!("{found:?} is of no epoch of {history:?}"));
        };
        let epoch = start.epoch;
        let known = *self.epochs.entry(found.digest).or_insert(epoch);
        if known != epoch {
            return Err(format!("{found:?} is of {known:?} and of {epoch:?}"));
        }
        let both = (found.before, found.digest);
        let known = *self.transactions.entry((epoch, tid)).or_insert(both);
        if known != both {
            return Err(format!("two histories in {epoch:?}: {known:x?} and {both:x?} at {tid}"));
        }
        let before = self.transactions.range((epoch, Tid::ZERO)..(epoch, tid)).next_back();
        if let Some((_, (_, digest))) = before
            && *digest != found.before
        {
            return Err(format!("two histories in {epoch:?}: {found:x?} after {before:x?}"));
        }
        let after = self.transactions.range((epoch, tid.next())..=(epoch, Tid::MAX)).next();
        match after {
            Some((_, (digest, _))) if *digest != found.digest => {
                Err(format!("two histories in {epoch:?}: {found:x?} before {after:x?}"))
            }
            _ => Ok(()),
        }
    }
}

/// The place after so many transactions.
fn last_of(log: &[Transaction], count: usize) -> Option<Position> {
    let Some(last) = count.checked_sub(1) else { return Some(Position::default()) };
    log.get(last).map(|last| Position { tid: last.tid, digest: last.digest })
}
