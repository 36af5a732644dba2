//! A storage and the model beside it; every action is done to both and compared.

mod pack;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::sample::Index;
use protocol::{Failure, Oid, Tid, TransactionFault};
use storage::disk::Disk;
use storage::{
    Clock as _, CommitLocks, Completion, Event, Kind, Location, Meta, Options, Storage,
    Transaction, Vote, Which,
};
use testkit::{Clock, Draft, Inbox, Model, SimDisk, Verdict, Write, compare};

use crate::action::{Action, Home, Restart, Serial};
use crate::slot::{Phase, Slot};

pub(crate) struct World {
    home: Home,
    options: Options,
    disk: SimDisk,
    clock: Arc<Clock>,
    /// `None` only while it restarts.
    storage: Option<Arc<dyn Storage>>,
    inbox: Inbox,
    /// Subscribed, and never asks anything.
    watcher: Inbox,
    model: Model,
    slots: [Option<Slot>; 4],
    /// Slots whose votes are not answered, in the order in which they voted.
    voting: Vec<usize>,
    /// Oids that `new_oids` must never give out again: given out before, or committed.
    taken: BTreeSet<Oid>,
    /// Same, until the next start: written by transactions that got a promise.
    promised: BTreeSet<Oid>,
    counter: u64,
}

impl World {
    pub(crate) fn new(home: Home, options: Options) -> Self {
        let mut world = Self {
            home,
            options,
            disk: SimDisk::new(),
            clock: Clock::new(),
            storage: None,
            inbox: Inbox::new(),
            watcher: Inbox::new(),
            model: Model::new(),
            slots: [const { None }; 4],
            voting: Vec::new(),
            taken: BTreeSet::new(),
            promised: BTreeSet::new(),
            counter: 0,
        };
        world.open();
        world
    }

    pub(crate) fn act(&mut self, action: &Action) {
        match *action {
            Action::Begin { slot, copied } => self.begin(slot, copied),
            Action::Store { slot, oid, ref serial, len } => {
                let (oid, serial, data) = (Oid(oid), self.serial(oid, serial), self.data(len));
                let write = Write::Store { serial, data: data.clone() };
                self.change(slot, |t| t.store(oid, serial, data), |draft| draft.write(oid, write));
            }
            Action::Delete { slot, oid, ref serial } => {
                let (oid, serial) = (Oid(oid), self.serial(oid, serial));
                let write = Write::Delete { serial };
                self.change(slot, |t| t.delete(oid, serial), |draft| draft.write(oid, write));
            }
            Action::Check { slot, oid, ref serial } => {
                let (oid, serial) = (Oid(oid), self.serial(oid, serial));
                let check = |t: &mut dyn Transaction| t.check_current_serial(oid, serial);
                self.change(slot, check, |draft| draft.checks.push((oid, serial)));
            }
            Action::Restore { slot, oid, len } => {
                let (oid, data) = (Oid(oid), len.map(|len| self.data(len)));
                let write = Write::Restore(data.clone());
                self.change(slot, |t| t.restore(oid, data, None), |draft| draft.write(oid, write));
            }
            Action::Vote { slot } => self.vote(slot),
            Action::Finish { slot } => self.finish(slot),
            Action::FinishAll => self.finish_all(),
            Action::Abort { slot } => self.slots[slot] = None,
            Action::Load { oid, ref bound } => self.load(Oid(oid), bound),
            Action::NewOids { count } => self.new_oids(count),
            Action::MoveClock { seconds } => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                if seconds < 0 { self.clock.set_back(by) } else { self.clock.advance(by) }
            }
            Action::Cache { cached } => self.disk.set_cached(cached),
            Action::Pack { ref to } => self.pack(to),
            Action::Restart(how) => self.restart(how),
        }
        self.settle();
    }

    /// Compares everything that can be read.
    pub(crate) fn check_all(&mut self) {
        let storage = self.storage();
        let absent: Vec<_> = (0..8).map(Oid).collect();
        compare::same_content(&*storage, &self.inbox, &self.model, &absent).unwrap();
        let remembered = self.options.invalidation_queue_size;
        compare::same_invalidations(&*storage, &self.model, remembered).unwrap();
        assert!(self.watcher.try_next().is_none(), "all was told");
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(self.storage.as_ref().expect("it is open between actions"))
    }

    fn open(&mut self) {
        let kind = match self.home {
            Home::File => Kind::File(PathBuf::from("/data")),
            Home::Memory => Kind::Memory,
        };
        let location = Location { kind, blobs: None };
        let clock: Arc<dyn storage::Clock> = Arc::clone(&self.clock) as _;
        let storage = storage::open(&location, self.options, &self.disk.handle(), clock).unwrap();
        let last_tid = storage.subscribe(&self.watcher.mailbox);
        assert_eq!(last_tid, self.model.last_tid());
        self.storage = Some(storage);
        self.check_all();
    }

    fn restart(&mut self, how: Restart) {
        if self.home == Home::Memory {
            return;
        }
        let killed = self.disk.killed(self.disk.op_count());
        self.slots = [const { None }; 4];
        self.voting.clear();
        self.promised.clear();
        let storage = self.storage.take().expect("it is open between actions");
        storage.unsubscribe(&self.watcher.mailbox);
        match how {
            Restart::Clean => {
                storage.close();
                drop(storage);
            }
            Restart::Killed => self.disk = killed,
            Restart::KilledWithoutIndexes => {
                for path in killed.files("/data", ".idx") {
                    killed.remove(Path::new(&path)).unwrap();
                }
                self.disk = killed;
            }
        }
        self.open();
    }

    fn begin(&mut self, slot: usize, copied: Option<u64>) {
        // 0 is too old unless something else happens to finish first.
        let tid = copied.map(|ahead| Tid(self.model.last_tid().0 + ahead));
        let meta = Meta {
            user: "user".into(),
            description: "description".into(),
            extension: Bytes::new(),
            tid,
            status: b' ',
        };
        let transaction = self.storage().begin(meta);
        let draft = Draft { tid, ..Draft::default() };
        self.slots[slot] = Some(Slot { transaction, draft, phase: Phase::Open });
        self.voting.retain(|voting| *voting != slot);
    }

    /// Does something to an open transaction; begins one if there is none.
    fn change(
        &mut self,
        slot: usize,
        real: impl FnOnce(&mut dyn Transaction) -> Result<(), Failure>,
        modelled: impl FnOnce(&mut Draft),
    ) {
        if self.slots[slot].is_none() {
            self.begin(slot, None);
        }
        let slot = self.slots[slot].as_mut().expect("just begun");
        let answer = real(&mut *slot.transaction);
        match slot.phase {
            Phase::Open => {
                assert_eq!(answer, Ok(()));
                modelled(&mut slot.draft);
            }
            // The vote may have been answered meanwhile.
            Phase::Voting(..) => assert!(matches!(answer, Err(Failure::Transaction(_)))),
            Phase::Promised => assert_eq!(answer, Err(TransactionFault::AlreadyVoted.into())),
            Phase::Failed => assert!(answer.is_err()),
        }
    }

    fn vote(&mut self, index: usize) {
        let Some(slot) = self.slots[index].as_mut() else { return };
        let reply = self.inbox.reply_to();
        let ticket = reply.ticket;
        let answer = slot.transaction.vote(reply);
        match slot.phase {
            Phase::Open => {
                assert_eq!(answer, Ok(()));
                slot.phase = Phase::Voting(ticket, self.model.last_tid());
                self.voting.push(index);
            }
            Phase::Voting(..) => assert!(matches!(answer, Err(Failure::Transaction(_)))),
            Phase::Promised => assert_eq!(answer, Err(TransactionFault::AlreadyVoted.into())),
            Phase::Failed => assert!(answer.is_err()),
        }
    }

    fn finish(&mut self, index: usize) {
        let Some(mut slot) = self.slots[index].take() else { return };
        match slot.phase {
            Phase::Promised => (),
            Phase::Voting(..) => {
                let answer = slot.transaction.finish(self.inbox.reply_to());
                assert!(matches!(answer, Err(Failure::Transaction(_))), "{answer:?}");
                self.slots[index] = Some(slot);
                return;
            }
            Phase::Open | Phase::Failed => {
                let answer = self.inbox.finish(&mut *slot.transaction);
                assert_eq!(answer, Err(TransactionFault::NotVoted.into()));
                self.slots[index] = Some(slot);
                return;
            }
        }
        let tid = self.inbox.finish(&mut *slot.transaction).expect("it was promised");
        self.committed(tid, &slot.draft);
    }

    /// Finishes all promised transactions at once, which makes one or more batches.
    fn finish_all(&mut self) {
        let mut asked = Vec::new();
        for slot in &mut self.slots {
            let ready = |slot: &mut Slot| slot.phase == Phase::Promised && slot.draft.tid.is_none();
            if let Some(mut slot) = slot.take_if(ready) {
                let reply = self.inbox.reply_to();
                asked.push((reply.ticket, slot.draft));
                slot.transaction.finish(reply).unwrap();
            }
        }
        let tid_of = |(ticket, draft)| (self.inbox.finished(ticket).0.unwrap(), draft);
        let mut finished: Vec<(Tid, Draft)> = asked.into_iter().map(tid_of).collect();
        finished.sort_by_key(|(tid, _)| *tid);
        for (tid, draft) in finished {
            self.committed(tid, &draft);
        }
    }

    fn committed(&mut self, tid: Tid, draft: &Draft) {
        let chosen = self.model.next_tid(self.clock.now());
        assert_eq!(tid, draft.tid.unwrap_or(chosen));
        self.model.apply(tid, draft);
        self.taken.extend(draft.writes.keys());
        let Event::Invalidated(told) = self.watcher.next().event else {
            panic!("who asked nothing gets invalidations only")
        };
        let mut oids = told.oids.to_vec();
        oids.sort();
        let written: Vec<_> = draft.writes.keys().copied().collect();
        assert_eq!((told.tid, oids), (tid, written));
    }

    /// Looks at each answered vote, and waits for those that no promised transaction holds up.
    fn settle(&mut self) {
        self.voting.retain(|index| self.slots[*index].is_some());
        loop {
            let answered = self.voting.iter().find_map(|&index| {
                let (ticket, since) = self.slots[index].as_ref()?.vote()?;
                Some((index, since, self.inbox.try_answer(ticket)?))
            });
            if let Some((index, since, completion)) = answered {
                let Completion::Voted(answer) = completion else {
                    panic!("a vote was answered by {completion:?}")
                };
                self.voting.retain(|voting| *voting != index);
                self.voted(index, since, answer);
                continue;
            }
            let groups: Vec<_> = self.voting.iter().map(|index| self.group(*index)).collect();
            let Some(group) = groups.iter().find(|group| !self.must_wait(group)) else {
                return;
            };
            // One of them has all it wants; the others may have to wait for it.
            let tickets = group.iter().filter_map(|index| self.slots[*index].as_ref()?.vote());
            let tickets: Vec<_> = tickets.map(|(ticket, _)| ticket).collect();
            self.inbox.first_answered(&tickets);
        }
    }

    /// The votes under way that `index` may have to wait for, or those for whom they may, itself
    /// included.
    fn group(&self, index: usize) -> Vec<usize> {
        let mut group = vec![index];
        while let Some(&more) = self.voting.iter().find(|more| {
            !group.contains(more) && group.iter().any(|member| self.excludes(*member, **more))
        }) {
            group.push(more);
        }
        group
    }

    /// Whether a promised transaction may hold up all of a group.
    fn must_wait(&self, group: &[usize]) -> bool {
        let promised = |slot: &Slot| slot.phase == Phase::Promised;
        let mut holders = (0..4).filter(|index| self.slots[*index].as_ref().is_some_and(promised));
        holders.any(|holder| group.iter().any(|member| self.excludes(holder, *member)))
    }

    /// Whether the two transactions cannot both hold what they lock.
    fn excludes(&self, one: usize, two: usize) -> bool {
        let (Some(one), Some(two)) = (&self.slots[one], &self.slots[two]) else {
            return false;
        };
        let (one, two) = (&one.draft, &two.draft);
        let empty = |draft: &Draft| draft.writes.is_empty() && draft.checks.is_empty();
        // With a tid that it brought, a transaction can only be promised a place alone; and empty
        // ones wait for each other, as those who know ZEO expect.
        self.options.commit_locks == CommitLocks::Global
            || one.excludes(two)
            || one.tid.or(two.tid).is_some()
            || (empty(one) && empty(two))
    }

    fn voted(&mut self, index: usize, since: Tid, answer: Result<Vote, Failure>) {
        let now = self.model.last_tid();
        let slot = self.slots[index].as_ref().expect("checked by the caller");
        if answer == Ok(Vote::Promised) {
            assert_eq!(self.model.judge(&slot.draft, now), Verdict::Promised);
            for other in self.slots.iter().flatten().filter(|s| s.phase == Phase::Promised) {
                assert!(!other.draft.excludes(&slot.draft), "two hold the same lock");
            }
            self.promised.extend(slot.draft.writes.keys());
        } else {
            // It held its locks at some time since the vote.
            let mut times = self.model.tids().filter(|tid| *tid >= since).chain([since]);
            let right = times.any(|as_of| self.model.judge(&slot.draft, as_of).allows(&answer));
            assert!(right, "{answer:?} for {:?}", slot.draft);
        }
        self.slots[index].as_mut().expect("checked by the caller").phase = match answer {
            Ok(Vote::Promised | Vote::Determined(_)) => Phase::Promised,
            Ok(Vote::Conflicts(_)) => Phase::Open,
            Err(_) => Phase::Failed,
        };
    }

    fn load(&mut self, oid: Oid, bound: &Index) {
        let last = self.model.last_tid();
        let tids = self.model.tids().flat_map(|tid| [Tid(tid.0 - 1), tid, tid.next()]);
        let bounds: Vec<_> = tids.chain([Tid::ZERO, last.next(), Tid::MAX]).collect();
        let bound = *bound.get(&bounds);
        for which in [Which::Before(bound), Which::Serial(bound)] {
            let loaded = self.inbox.load(&*self.storage(), oid, which);
            assert_eq!(loaded, self.model.load(oid, which), "{which:?} of {oid}");
        }
    }

    fn new_oids(&mut self, count: u32) {
        let oids = self.inbox.new_oids(&*self.storage(), count).unwrap();
        assert!((1..=count as usize).contains(&oids.len()), "{} of {count}", oids.len());
        assert!(oids.is_sorted(), "{oids:?}");
        for oid in oids {
            assert!(!self.promised.contains(&oid), "{oid} is being written");
            assert!(self.taken.insert(oid), "{oid} is given out again");
        }
    }

    fn serial(&self, oid: u64, serial: &Serial) -> Tid {
        let tids: Vec<_> = self.model.tids().chain([Tid::ZERO]).collect();
        match serial {
            Serial::Current => self.model.serial(Oid(oid)),
            Serial::Old(index) => *index.get(&tids),
            Serial::Zero => Tid::ZERO,
            Serial::Future => self.model.last_tid().next(),
        }
    }

    /// Bytes that nobody else has.
    fn data(&mut self, len: usize) -> Bytes {
        self.counter += 1;
        let mut data = format!("{:04}", self.counter).into_bytes();
        data.resize(data.len().max(len), b'.');
        data.into()
    }
}
