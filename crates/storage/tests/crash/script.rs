//! A seeded workload that writes down what it did and what it was told, and when.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Failure, Oid, Tid};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use storage::{Options, Storage, Ticket, Transaction, Vote};
use testkit::{Call, Draft, Inbox, Model, SimDisk, Write};

use crate::support;

/// Moments are counts of the disk's changes.
pub(crate) struct Script {
    pub(crate) disk: SimDisk,
    pub(crate) options: Options,
    pub(crate) inbox: Inbox,
    pub(crate) storage: Arc<dyn Storage>,
    /// What is committed.
    pub(crate) model: Model,
    pub(crate) told: Vec<Told>,
    /// Oids handed out, and when.
    pub(crate) handed_out: Vec<(Oid, usize)>,
    /// Objects that all transactions change, besides their markers.
    shared: Vec<Oid>,
    /// Transactions that another one undoes, or would have.
    undone: BTreeSet<Tid>,
    random: StdRng,
    counter: u64,
}

/// A transaction and its fate.
#[derive(Debug)]
pub(crate) struct Told {
    /// An object that this transaction alone writes.
    pub(crate) marker: Oid,
    pub(crate) draft: Draft,
    /// When its finish was asked.
    pub(crate) asked: Option<usize>,
    /// What was answered, and when.
    pub(crate) answer: Option<(Result<Tid, Failure>, usize)>,
}

/// A transaction with the place of its entry in [`Script::told`].
type Begun = (usize, Box<dyn Transaction>);

impl Script {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        Self::on(SimDisk::new(), seed, options)
    }

    pub(crate) fn on(disk: SimDisk, seed: u64, options: Options) -> Self {
        let storage = support::open(&disk, options).unwrap();
        let stamping = disk.clone();
        let inbox = Inbox::stamped(move || stamping.op_count());
        let shared = inbox.new_oids(&*storage, 8).unwrap();
        Self {
            inbox,
            handed_out: shared.iter().map(|oid| (*oid, disk.op_count())).collect(),
            disk,
            options,
            storage,
            model: Model::new(),
            told: Vec::new(),
            shared,
            undone: BTreeSet::new(),
            random: StdRng::seed_from_u64(seed),
            counter: 0,
        }
    }

    /// Some transactions at once; all but the first one finish in one batch, if the options allow it.
    pub(crate) fn round(&mut self) {
        let first = self.told.len();
        self.rough_round(|_| ());
        let failed = |told: &&Told| told.answer.as_ref().is_some_and(|(answer, _)| answer.is_err());
        assert_eq!(self.told[first..].iter().find(failed).map(|told| &told.answer), None);
    }

    /// Same, but votes and finishes may fail; `between` is done when the votes are over. Returns
    /// the failures.
    pub(crate) fn rough_round(&mut self, between: impl FnOnce(&SimDisk)) -> Vec<Failure> {
        let first = self.told.len();
        let mut free = self.shared.clone();
        let count = self.random.random_range(1..=4);
        let mut begun: Vec<_> = (0..count).map(|_| self.begin(&mut free)).collect();
        // One that never votes, and one that votes and is aborted.
        drop(self.begin(&mut free));
        let mut aborted = self.begin(&mut free);
        self.vote(&mut aborted);
        begun.retain_mut(|transaction| self.vote(transaction));
        drop(aborted);
        between(&self.disk);
        for (index, ticket) in self.finish(&mut begun) {
            self.told[index].answer = Some(self.inbox.finished(ticket));
        }
        self.commit_to_model();
        let answers = self.told[first..].iter().filter_map(|told| told.answer.as_ref());
        answers.filter_map(|(answer, _)| answer.clone().err()).collect()
    }

    /// Asks for the finishes; waits in between until the first one is being written.
    fn finish(&mut self, begun: &mut [Begun]) -> Vec<(usize, Ticket)> {
        let mut tickets = Vec::new();
        let held = self.disk.hold(Call::Sync);
        for (index, transaction) in begun {
            let reply = self.inbox.reply_to();
            tickets.push((*index, reply.ticket));
            self.told[*index].asked = Some(self.disk.op_count());
            transaction.finish(reply).unwrap();
            if tickets.len() == 1 && self.options.sync != storage::Sync::None {
                held.wait_for(1);
            }
        }
        tickets
    }

    /// Takes over what was answered as done.
    fn commit_to_model(&mut self) {
        let last = self.model.last_tid();
        let mut done: Vec<_> =
            self.told.iter().filter_map(|told| Some((told.tid()?, told))).collect();
        done.sort_by_key(|(tid, _)| *tid);
        for (tid, told) in done.into_iter().filter(|(tid, _)| *tid > last) {
            self.model.apply(tid, &told.draft);
        }
    }

    /// Begins a transaction that changes its marker and some of the `free` objects.
    fn begin(&mut self, free: &mut Vec<Oid>) -> Begun {
        let mut marker = self.new_oid();
        if self.random.random_bool(0.1) {
            // One that comes from elsewhere.
            marker.0 += 500;
        }
        // It may be the one from elsewhere of a transaction that never voted.
        while self.told.iter().any(|told| told.marker == marker) {
            marker = self.new_oid();
        }
        let mut draft = Draft::default();
        let data = self.data();
        draft.write(marker, Write::Store { serial: Tid::ZERO, data });
        for _ in 0..self.random.random_range(0..3) {
            if free.is_empty() {
                break;
            }
            let oid = free.swap_remove(self.random.random_range(0..free.len()));
            let serial = self.model.serial(oid);
            let write = match self.random.random_range(0..8) {
                0 if serial != Tid::ZERO => Write::Delete { serial },
                1 => Write::Restore(None),
                2 => Write::Restore(Some(self.data())),
                _ => Write::Store { serial, data: self.data() },
            };
            draft.write(oid, write);
        }
        let undone = self.undone(free);
        let mut transaction = self.storage.begin(support::meta());
        for (&oid, write) in &draft.writes {
            match write.clone() {
                Write::Store { serial, data } => transaction.store(oid, serial, data),
                Write::Delete { serial } => transaction.delete(oid, serial),
                Write::Restore(data) => transaction.restore(oid, data, None),
            }
            .unwrap();
        }
        if let Some((tid, effect)) = undone {
            transaction.undo(tid).unwrap();
            draft.writes.extend(effect.writes);
        }
        self.told.push(Told { marker, draft, asked: None, answer: None });
        (self.told.len() - 1, transaction)
    }

    /// Sometimes a transaction that can be undone, and what becomes of its objects: its marker, and
    /// some of the `free` ones.
    fn undone(&mut self, free: &mut Vec<Oid>) -> Option<(Tid, Draft)> {
        if !self.random.random_bool(0.25) {
            return None;
        }
        let shared = &self.shared;
        let candidates: Vec<_> = self
            .model
            .tids()
            .filter(|tid| !self.undone.contains(tid))
            .filter_map(|tid| Some((tid, self.model.undo(&[tid]).ok()?)))
            .filter(|(_, effect)| {
                effect.writes.keys().all(|oid| free.contains(oid) || !shared.contains(oid))
            })
            .collect();
        let index = self.random.random_range(0..candidates.len().max(1));
        let (tid, effect) = candidates.into_iter().nth(index)?;
        free.retain(|oid| !effect.writes.contains_key(oid));
        self.undone.insert(tid);
        Some((tid, effect))
    }

    /// Whether there is a promise; if not, there is a failure.
    fn vote(&mut self, begun: &mut Begun) -> bool {
        match self.inbox.vote(&mut *begun.1) {
            Ok(vote) => {
                assert!(matches!(vote, Vote::Promised | Vote::Determined(_)), "{vote:?}");
                true
            }
            Err(failure) => {
                self.told[begun.0].answer = Some((Err(failure), self.disk.op_count()));
                false
            }
        }
    }

    fn new_oid(&mut self) -> Oid {
        // Some are handed out and not used.
        let count = self.random.random_range(1..3);
        let oids = self.inbox.new_oids(&*self.storage, count).unwrap();
        let now = self.disk.op_count();
        self.handed_out.extend(oids.iter().map(|oid| (*oid, now)));
        oids[0]
    }

    /// Bytes that nobody else has, sometimes many.
    fn data(&mut self) -> Bytes {
        self.counter += 1;
        let len = if self.random.random_bool(0.15) { 1500 } else { 60 };
        let mut data = format!("{:08}", self.counter).into_bytes();
        data.resize(self.random.random_range(8..len), b'.');
        data.into()
    }

    /// All objects that anybody tried to write.
    pub(crate) fn oids(&self) -> BTreeSet<Oid> {
        self.told.iter().flat_map(|told| told.draft.writes.keys().copied()).collect()
    }
}

impl Told {
    /// The tid, if it was answered as done.
    pub(crate) fn tid(&self) -> Option<Tid> {
        self.answer.as_ref()?.0.as_ref().ok().copied()
    }

    /// The answer, if it was there when the disk had done so many changes.
    pub(crate) fn answer_by(&self, ops: usize) -> Option<&Result<Tid, Failure>> {
        self.answer.as_ref().filter(|(_, when)| *when <= ops).map(|(answer, _)| answer)
    }
}
