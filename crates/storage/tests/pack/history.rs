//! A random history, and what every load must answer after it.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::{Failure, Oid, Tid};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use storage::{Meta, Storage, Vote, Which};
use testkit::{Draft, Inbox, Model, Write};

/// Few objects, so that they change often.
const OBJECTS: u64 = 12;

pub(crate) struct History {
    random: StdRng,
    /// By tid: object -> data; `None`: deleted.
    transactions: Vec<(Tid, BTreeMap<Oid, Option<Bytes>>)>,
}

impl History {
    pub(crate) fn make(
        storage: &dyn Storage,
        inbox: &Inbox,
        seed: u64,
        transactions: usize,
    ) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let mut history = Self { random, transactions: Vec::new() };
        history.go_on(storage, inbox, transactions);
        history
    }

    /// Commits more.
    pub(crate) fn go_on(&mut self, storage: &dyn Storage, inbox: &Inbox, transactions: usize) {
        for _ in 0..transactions {
            let mut transaction = storage.begin(Meta { status: b' ', ..Meta::default() });
            let mut changes = BTreeMap::new();
            for _ in 0..self.random.random_range(0..4) {
                let oid = Oid(self.random.random_range(1..=OBJECTS));
                changes.insert(oid, self.random.random_bool(0.8).then(|| self.data(oid)));
            }
            let has_data = |oid| self.last(oid).is_some_and(|(_, data)| data.is_some());
            changes.retain(|oid, data| data.is_some() || has_data(*oid));
            for (oid, data) in &changes {
                // A deletion counts, as long as no pack has dropped it.
                let serial = self.last(*oid).map_or(Tid::ZERO, |(tid, _)| tid);
                match data {
                    Some(data) => transaction.store(*oid, serial, data.clone()).unwrap(),
                    None => transaction.delete(*oid, serial).unwrap(),
                }
            }
            assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
            let tid = inbox.finish(&mut *transaction).unwrap();
            self.transactions.push((tid, changes));
        }
    }

    /// What was committed up to `last`.
    pub(crate) fn until(&self, last: Tid) -> Self {
        let count = self.transactions.partition_point(|(tid, _)| *tid <= last);
        let transactions = self.transactions[..count].to_vec();
        Self { random: StdRng::seed_from_u64(0), transactions }
    }

    pub(crate) fn len(&self) -> usize {
        self.transactions.len()
    }

    /// All that must be there after a pack.
    pub(crate) fn packed(&self, to: Tid) -> Model {
        let mut model = Model::new();
        for (tid, changes) in &self.transactions {
            let mut draft = Draft::default();
            for (oid, data) in changes {
                draft.write(*oid, Write::Restore(data.clone()));
            }
            model.apply(*tid, &draft);
        }
        model.pack(to);
        model
    }

    fn data(&mut self, oid: Oid) -> Bytes {
        let bytes = self.random.random_range(0..200);
        let mut data = format!("{oid} ").into_bytes();
        data.extend((0..bytes).map(|_| self.random.random::<u8>()));
        data.into()
    }

    fn last(&self, oid: Oid) -> Option<(Tid, Option<Bytes>)> {
        self.revisions(oid).pop()
    }

    pub(crate) fn tid(&self, number: usize) -> Tid {
        self.transactions[number.min(self.transactions.len() - 1)].0
    }

    fn revisions(&self, oid: Oid) -> Vec<(Tid, Option<Bytes>)> {
        let of = |(tid, changes): &(Tid, BTreeMap<Oid, Option<Bytes>>)| {
            changes.get(&oid).map(|data| (*tid, data.clone()))
        };
        self.transactions.iter().filter_map(of).collect()
    }

    /// Every load as of a time above `packed_to` must be right; as of an earlier one it may fail.
    pub(crate) fn check(
        &self,
        storage: &dyn Storage,
        inbox: &Inbox,
        packed_to: Tid,
    ) -> Result<(), String> {
        let times = self.transactions.iter().map(|(tid, _)| tid.next()).chain([Tid::MAX]);
        for before in times {
            for oid in (1..=OBJECTS).map(Oid) {
                let found = inbox.load(storage, oid, Which::Before(before));
                let revisions = self.revisions(oid);
                let at = revisions.partition_point(|(tid, _)| *tid < before);
                let end = revisions.get(at).map(|(tid, _)| *tid);
                let wanted = at.checked_sub(1).map(|at| &revisions[at]);
                let is_right = match (&found, wanted) {
                    (Ok(Some(found)), Some((tid, Some(data)))) => {
                        found.tid == *tid && found.data == *data && found.end == end
                    }
                    (Ok(None), None) => true,
                    // A deletion that was dropped: the object is younger, or there is none.
                    (Ok(None), Some((tid, None))) => *tid <= packed_to && before > packed_to,
                    (Err(Failure::UnknownOid(_)), Some((_, None))) => true,
                    (Err(Failure::UnknownOid(_)), None) => {
                        before <= packed_to || revisions.is_empty() || {
                            // All of it was dropped.
                            revisions.iter().all(|(tid, _)| *tid <= packed_to)
                        }
                    }
                    (Err(Failure::UnknownOid(_)), Some(_)) => before <= packed_to,
                    _ => false,
                };
                if !is_right {
                    return Err(format!(
                        "object {oid} before {before}: {found:?}, wanted {wanted:?}, packed to {packed_to}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// No revision that was superseded up to `to` is there any more.
    pub(crate) fn check_dropped(
        &self,
        storage: &dyn Storage,
        inbox: &Inbox,
        to: Tid,
    ) -> Result<(), String> {
        for oid in (1..=OBJECTS).map(Oid) {
            let revisions = self.revisions(oid);
            let current = revisions.iter().rfind(|(tid, _)| *tid <= to).map(|(tid, _)| *tid);
            for (tid, data) in &revisions {
                let is_kept = *tid > to || Some(*tid) == current;
                let found = inbox.load(storage, oid, Which::Serial(*tid));
                if found.is_ok() != (is_kept && data.is_some()) {
                    return Err(format!("object {oid} as of {tid}, packed to {to}: {found:?}"));
                }
            }
        }
        Ok(())
    }
}
