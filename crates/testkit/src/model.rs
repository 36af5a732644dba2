//! The simplest storage that can be right: all revisions in a sorted map.
//!
//! What it does is what the seam (`storage::api`) and ZEO's clients ask for. Where several
//! answers are right, [`Model`] says which ones ([`Verdict::Failures`]), or leaves it to the
//! caller (the order of conflicts).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use protocol::{Conflict, Failure, Loaded, Oid, Tid, TransactionFault};
use storage::{Vote, Which};

/// A storage's content, all of it committed.
///
/// Tids strictly increase; a transaction is there with all that it wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// `None`: deleted, or creation undone.
    revisions: BTreeMap<Oid, BTreeMap<Tid, Option<Bytes>>>,
    /// What each one changed, also where that was packed away.
    transactions: BTreeMap<Tid, BTreeSet<Oid>>,
    packed_to: Tid,
}

/// A transaction that is not committed.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The last write of each object; it replaces earlier ones.
    pub writes: BTreeMap<Oid, Write>,
    /// Revisions that must be current.
    pub checks: Vec<(Oid, Tid)>,
    /// A copied transaction's tid.
    pub tid: Option<Tid>,
}

/// What a transaction does to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new revision on top of `serial`.
    Store {
        /// What the client changed.
        serial: Tid,
        /// Into what.
        data: Bytes,
    },
    /// A deletion of revision `serial`.
    Delete {
        /// What the client saw.
        serial: Tid,
    },
    /// A new revision, or a creation undone, whatever is there.
    Restore(Option<Bytes>),
}

/// How a vote has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With a promise.
    Promised,
    /// With these, in any order.
    Conflicts(Vec<Conflict>),
    /// With one of these.
    Failures(Vec<Failure>),
}

impl Verdict {
    /// Whether a vote may be answered so.
    pub fn allows(&self, answer: &Result<Vote, Failure>) -> bool {
        let sorted = |conflicts: &[Conflict]| {
            let mut conflicts = conflicts.to_vec();
            conflicts.sort_by_key(|conflict| conflict.oid);
            conflicts
        };
        match (self, answer) {
            (Self::Promised, Ok(Vote::Promised | Vote::Determined(_))) => true,
            (Self::Conflicts(right), Ok(Vote::Conflicts(told))) => sorted(right) == sorted(told),
            (Self::Failures(right), Err(failure)) => right.contains(failure),
            _ => false,
        }
    }
}

impl Draft {
    /// Adds a write.
    pub fn write(&mut self, oid: Oid, write: Write) {
        self.writes.insert(oid, write);
    }

    /// Whether the two cannot hold their locks at the same time: one writes what the other one
    /// writes or checks.
    pub fn excludes(&self, other: &Self) -> bool {
        let writes = |one: &Self, two: &Self| {
            one.writes.keys().any(|oid| {
                two.writes.contains_key(oid) || two.checks.iter().any(|(checked, _)| checked == oid)
            })
        };
        writes(self, other) || writes(other, self)
    }
}

impl Model {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest tid.
    pub fn last_tid(&self) -> Tid {
        self.transactions.keys().next_back().copied().unwrap_or_default()
    }

    /// All tids, ascending.
    pub fn tids(&self) -> impl Iterator<Item = Tid> {
        self.transactions.keys().copied()
    }

    /// All objects that exist or did.
    pub fn oids(&self) -> impl ExactSizeIterator<Item = Oid> {
        self.revisions.keys().copied()
    }

    /// The tids of an object's revisions, deletions included, ascending.
    pub fn revisions(&self, oid: Oid) -> impl Iterator<Item = Tid> {
        self.revisions.get(&oid).into_iter().flat_map(|revisions| revisions.keys().copied())
    }

    /// The tid of a transaction that finishes at `now` (since 1970).
    pub fn next_tid(&self, now: Duration) -> Tid {
        Tid::from_unix(now).max(self.last_tid().next())
    }

    /// How a vote on `draft` ends if the transactions up to `as_of` are there.
    pub fn judge(&self, draft: &Draft, as_of: Tid) -> Verdict {
        let mut failures = Vec::new();
        if draft.tid.is_some_and(|tid| tid <= as_of.min(self.last_tid())) {
            failures.push(TransactionFault::OldTid.into());
        }
        let mut conflicts = Vec::new();
        for &(oid, given) in &draft.checks {
            match self.newest(oid, as_of) {
                Some((committed, Some(_))) if committed == given => (),
                Some((committed, Some(_))) => {
                    failures.push(Failure::ReadConflict { oid, committed, given });
                }
                _ => failures.push(Failure::UnknownOid(oid)),
            }
        }
        for (&oid, write) in &draft.writes {
            match (write, self.newest(oid, as_of)) {
                (&Write::Store { serial: given, ref data }, Some((committed, _)))
                    if committed != given =>
                {
                    conflicts.push(Conflict { oid, committed, given, data: data.clone() });
                }
                (Write::Delete { .. }, None) => failures.push(Failure::UnknownOid(oid)),
                (&Write::Delete { serial: given }, Some((committed, _))) if committed != given => {
                    failures.push(Failure::Conflict { oid, committed, given });
                }
                _ => (),
            }
        }
        match (failures.is_empty(), conflicts.is_empty()) {
            (false, _) => Verdict::Failures(failures),
            (true, false) => Verdict::Conflicts(conflicts),
            (true, true) => Verdict::Promised,
        }
    }

    /// What a transaction writes that undoes `tids`, one after the other; or the objects of the
    /// first one that cannot be undone, because of what they became.
    pub fn undo(&self, tids: &[Tid]) -> Result<Draft, Vec<Oid>> {
        let mut draft = Draft::default();
        for tid in tids {
            let mut in_the_way = Vec::new();
            for &oid in self.transactions.get(tid).into_iter().flatten() {
                let undone = self.newest(oid, *tid).and_then(|(_, data)| data);
                let present = match draft.writes.get(&oid) {
                    Some(Write::Restore(data)) => data.as_ref(),
                    _ => self.newest(oid, Tid::MAX).and_then(|(_, data)| data),
                };
                if present == undone {
                    let before = self.newest(oid, Tid(tid.0 - 1)).and_then(|(_, data)| data);
                    draft.writes.insert(oid, Write::Restore(before.cloned()));
                } else {
                    in_the_way.push(oid);
                }
            }
            if !in_the_way.is_empty() {
                return Err(in_the_way);
            }
        }
        Ok(draft)
    }

    /// What is left of what a transaction wrote.
    pub fn written(&self, tid: Tid) -> BTreeMap<Oid, Option<Bytes>> {
        let oids = self.transactions.get(&tid).into_iter().flatten();
        let data = |oid| self.revisions.get(oid)?.get(&tid).cloned();
        oids.filter_map(|oid| Some((*oid, data(oid)?))).collect()
    }

    /// Drops what a pack as of `to` drops.
    pub fn pack(&mut self, to: Tid) {
        let to = to.min(self.last_tid()).max(self.packed_to);
        for revisions in self.revisions.values_mut() {
            let current = revisions.range(..=to).next_back();
            let current = current.and_then(|(tid, data)| data.is_some().then_some(*tid));
            revisions.retain(|tid, _| *tid > to || Some(*tid) == current);
        }
        self.revisions.retain(|_, revisions| !revisions.is_empty());
        self.packed_to = to;
    }

    /// Up to here revisions are gone that a pack drops.
    pub fn packed_to(&self) -> Tid {
        self.packed_to
    }

    /// Commits `draft`, whatever [`Self::judge`] says of it.
    pub fn apply(&mut self, tid: Tid, draft: &Draft) {
        assert!(tid > self.last_tid(), "{tid} comes after {}", self.last_tid());
        for (&oid, write) in &draft.writes {
            let data = match write {
                Write::Store { data, .. } => Some(data.clone()),
                Write::Delete { .. } => None,
                Write::Restore(data) => data.clone(),
            };
            self.revisions.entry(oid).or_default().insert(tid, data);
        }
        self.transactions.insert(tid, draft.writes.keys().copied().collect());
    }

    /// What a load finds; `None`: the object is younger.
    pub fn load(&self, oid: Oid, which: Which) -> Result<Option<Loaded<Bytes>>, Failure> {
        let unknown = || Failure::UnknownOid(oid);
        let revisions = self.revisions.get(&oid).ok_or_else(unknown)?;
        let found = match which {
            Which::Before(bound) => match revisions.range(..bound).next_back() {
                None if self.packed_to > Tid::ZERO && bound <= self.packed_to => {
                    return Err(unknown());
                }
                None => return Ok(None),
                Some(found) => found,
            },
            Which::Serial(tid) => revisions.get_key_value(&tid).ok_or_else(unknown)?,
        };
        let (&tid, data) = found;
        let data = data.clone().ok_or_else(unknown)?;
        Ok(Some(Loaded { data, tid, end: self.end_tid(oid, tid) }))
    }

    /// The tid of the revision after `tid`.
    pub fn end_tid(&self, oid: Oid, tid: Tid) -> Option<Tid> {
        self.revisions.get(&oid)?.range(tid.next()..).next().map(|(end, _)| *end)
    }

    /// The tid of the current revision.
    pub fn current_tid(&self, oid: Oid) -> Result<Tid, Failure> {
        match self.newest(oid, Tid::MAX) {
            Some((tid, Some(_))) => Ok(tid),
            _ => Err(Failure::UnknownOid(oid)),
        }
    }

    /// The tid of the newest revision, be it a deletion; what a store has to name.
    pub fn serial(&self, oid: Oid) -> Tid {
        self.newest(oid, Tid::MAX).map_or(Tid::ZERO, |(tid, _)| tid)
    }

    /// The oids changed after `since` and up to `until`.
    pub fn changed(&self, since: Tid, until: Tid) -> BTreeSet<Oid> {
        if until <= since {
            return BTreeSet::new();
        }
        self.transactions.range(since.next()..=until).flat_map(|(_, oids)| oids).copied().collect()
    }

    /// Whether one that remembers the last `transactions` knows all that changed after `since`:
    /// then the oldest of them is not above `since`. What was packed need not be known.
    pub fn remembers(&self, since: Tid, transactions: usize) -> bool {
        let mut remembered = self.transactions.keys().rev().take(transactions);
        self.packed_to <= since && remembered.next_back().is_some_and(|oldest| *oldest <= since)
    }

    fn newest(&self, oid: Oid, as_of: Tid) -> Option<(Tid, Option<&Bytes>)> {
        let (tid, data) = self.revisions.get(&oid)?.range(..=as_of).next_back()?;
        Some((*tid, data.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: Oid = Oid(7);

    fn with(oid: Oid, write: Write) -> Draft {
        Draft { writes: [(oid, write)].into(), ..Draft::default() }
    }

    fn store(serial: u64, data: &'static str) -> Draft {
        with(OID, Write::Store { serial: Tid(serial), data: data.into() })
    }

    /// Created at 1, changed at 2, deleted at 3, stored again at 5.
    fn model() -> Model {
        let mut model = Model::new();
        model.apply(Tid(1), &store(0, "one"));
        model.apply(Tid(2), &store(1, "two"));
        model.apply(Tid(3), &with(OID, Write::Delete { serial: Tid(2) }));
        model.apply(Tid(5), &store(3, "five"));
        model
    }

    #[test]
    fn loads_show_each_span() {
        let model = model();
        let before = |tid| model.load(OID, Which::Before(Tid(tid)));
        let found = |data: &'static str, tid, end: Option<u64>| {
            Ok(Some(Loaded { data: Bytes::from(data), tid: Tid(tid), end: end.map(Tid) }))
        };
        assert_eq!(before(1), Ok(None));
        assert_eq!(before(2), found("one", 1, Some(2)));
        assert_eq!(before(3), found("two", 2, Some(3)));
        assert_eq!(before(5), Err(Failure::UnknownOid(OID)));
        assert_eq!(before(6), found("five", 5, None));
        assert_eq!(model.load(OID, Which::Serial(Tid(2))), found("two", 2, Some(3)));
        assert_eq!(model.load(OID, Which::Serial(Tid(3))), Err(Failure::UnknownOid(OID)));
        assert_eq!(model.load(OID, Which::Serial(Tid(4))), Err(Failure::UnknownOid(OID)));
        assert_eq!(model.load(Oid(8), Which::Before(Tid(6))), Err(Failure::UnknownOid(Oid(8))));
    }

    #[test]
    fn votes_compare_serials() {
        let model = model();
        let judge = |draft: &Draft, as_of| model.judge(draft, Tid(as_of));
        assert_eq!(judge(&store(5, ""), 5), Verdict::Promised);
        let conflict =
            Conflict { oid: OID, committed: Tid(5), given: Tid(2), data: Bytes::from("x") };
        assert_eq!(judge(&store(2, "x"), 5), Verdict::Conflicts(vec![conflict]));
        assert_eq!(judge(&store(3, "x"), 3), Verdict::Promised, "on top of a deletion");
        assert_eq!(judge(&store(99, "x"), 0), Verdict::Promised, "a new object");
        assert_eq!(judge(&with(OID, Write::Restore(None)), 5), Verdict::Promised);
        let delete = |oid| with(oid, Write::Delete { serial: Tid(2) });
        let conflict = Failure::Conflict { oid: OID, committed: Tid(5), given: Tid(2) };
        assert_eq!(judge(&delete(OID), 5), Verdict::Failures(vec![conflict]));
        let unknown = |oid| Verdict::Failures(vec![Failure::UnknownOid(oid)]);
        assert_eq!(judge(&delete(Oid(8)), 5), unknown(Oid(8)));
        let check = Draft { checks: vec![(OID, Tid(2))], ..Draft::default() };
        let conflict = Failure::ReadConflict { oid: OID, committed: Tid(5), given: Tid(2) };
        assert_eq!(judge(&check, 5), Verdict::Failures(vec![conflict]));
        assert_eq!(judge(&check, 3), unknown(OID), "deleted by then");
        let old = Draft { tid: Some(Tid(5)), ..Draft::default() };
        let old_tid = Failure::Transaction(TransactionFault::OldTid);
        assert_eq!(judge(&old, 5), Verdict::Failures(vec![old_tid]));
    }

    #[test]
    fn a_short_memory_knows_less() {
        let model = model();
        assert!(model.remembers(Tid(3), 2));
        assert!(!model.remembers(Tid(2), 2));
        assert!(!Model::new().remembers(Tid(2), 2));
        assert_eq!(model.changed(Tid(3), Tid(5)), [OID].into());
        assert_eq!(model.changed(Tid(3), Tid(4)), [].into());
    }
}
