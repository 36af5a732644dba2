//! The lock manager and the commit path under many random schedules: nobody is forgotten, nobody
//! deadlocks, nobody overtakes.
//!
//! `cargo test -p storage --features shuttle --test locks_shuttle`. A failure prints a schedule;
//! `shuttle::replay(schedule_of, ...)` runs it again.

#![allow(clippy::unwrap_used, reason = "a poisoned mutex is a failed test")]

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use protocol::{Oid, Tid};
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;
use storage::locks::{Key, LockManager, Mode, Owner, Want};
use storage::{
    Completion, Event, Kind, Location, LockState, Mailbox, Meta, Options, ReplyTo, Storage,
    SystemClock, Ticket, Vote, Wake,
};

const ITERATIONS: usize = 2_000;
const NOW: Duration = Duration::ZERO;

/// Where a waiting owner hears that it holds all its locks.
#[derive(Default)]
struct Grant {
    granted: Mutex<bool>,
    changed: Condvar,
}

impl Grant {
    fn tell(&self) {
        *self.granted.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut granted = self.granted.lock().unwrap();
        while !*granted {
            granted = self.changed.wait(granted).unwrap();
        }
    }
}

type Locks = LockManager<Arc<Grant>>;

fn release(locks: &Locks, owner: Owner) {
    for grant in locks.release(owner, NOW) {
        grant.tell();
    }
}

/// Returns whether the locks were held at once.
fn acquire(locks: &Locks, owner: Owner, wants: Vec<Want>, grant: &Arc<Grant>) -> bool {
    match locks.acquire(owner, wants, NOW, Arc::clone(grant)) {
        Some(grant) => {
            grant.tell();
            true
        }
        None => false,
    }
}

/// Who is inside, by key: sharers, and whether somebody is alone.
#[derive(Default)]
struct Inside(Mutex<HashMap<Key, (usize, bool)>>);

impl Inside {
    fn enter(&self, wants: &[Want]) {
        let mut inside = self.0.lock().unwrap();
        for want in wants {
            let (sharers, alone) = inside.entry(want.key).or_default();
            assert!(!*alone, "{want:?}: somebody is alone inside");
            match want.mode {
                Mode::Shared => *sharers += 1,
                Mode::Exclusive => {
                    assert_eq!(*sharers, 0, "{want:?}: sharers are inside");
                    *alone = true;
                }
            }
        }
    }

    fn leave(&self, wants: &[Want]) {
        let mut inside = self.0.lock().unwrap();
        for want in wants {
            let (sharers, alone) = inside.get_mut(&want.key).unwrap();
            match want.mode {
                Mode::Shared => *sharers -= 1,
                Mode::Exclusive => *alone = false,
            }
        }
    }
}

fn some_wants() -> Vec<Want> {
    let mut rng = thread_rng();
    let mode = |alone: bool| if alone { Mode::Exclusive } else { Mode::Shared };
    let mut wants = vec![Want { key: Key::Whole, mode: mode(rng.gen_range(0..8) == 0) }];
    for oid in 0..3 {
        if rng.gen_range(0..2) == 0 {
            wants.push(Want { key: Key::Object(Oid(oid)), mode: mode(rng.gen_range(0..2) == 0) });
        }
    }
    wants
}

#[test]
fn all_get_their_locks_and_nobody_shares_what_is_exclusive() {
    shuttle::check_random(
        || {
            let locks = Arc::new(Locks::default());
            let inside = Arc::new(Inside::default());
            let workers = (0..4).map(|worker| {
                let (locks, inside) = (Arc::clone(&locks), Arc::clone(&inside));
                thread::spawn(move || {
                    for round in 0..3 {
                        let owner = Owner(worker * 10 + round);
                        let (wants, grant) = (some_wants(), Arc::default());
                        acquire(&locks, owner, wants.clone(), &grant);
                        // If a wake-up were lost or a deadlock possible, shuttle would find all
                        // threads asleep here.
                        grant.wait();
                        inside.enter(&wants);
                        thread::yield_now();
                        inside.leave(&wants);
                        release(&locks, owner);
                    }
                })
            });
            for worker in workers.collect::<Vec<_>>() {
                worker.join().unwrap();
            }
            assert_eq!(locks.state(), LockState::default(), "all is free again");
        },
        ITERATIONS,
    );
}

#[test]
fn those_who_give_up_block_nobody() {
    shuttle::check_random(
        || {
            let locks = Arc::new(Locks::default());
            let workers = (0..4).map(|worker| {
                let locks = Arc::clone(&locks);
                thread::spawn(move || {
                    for round in 0..3 {
                        let owner = Owner(worker * 10 + round);
                        let grant = Arc::default();
                        let held = acquire(&locks, owner, some_wants(), &grant);
                        let gives_up = !held && thread_rng().gen_range(0..2) == 0;
                        if !gives_up {
                            grant.wait();
                        }
                        // A grant that crosses the release is told to nobody: it frees nothing.
                        release(&locks, owner);
                    }
                })
            });
            for worker in workers.collect::<Vec<_>>() {
                worker.join().unwrap();
            }
            assert_eq!(locks.state(), LockState::default(), "all is free again");
        },
        ITERATIONS,
    );
}

#[test]
fn first_come_first_served() {
    shuttle::check_random(
        || {
            let wants = || vec![Want { key: Key::Object(Oid(7)), mode: Mode::Exclusive }];
            let locks = Arc::new(Locks::default());
            let order = Arc::new(Mutex::new(Vec::new()));
            let first = Owner(0);
            assert!(acquire(&locks, first, wants(), &Arc::default()));
            let mut workers = Vec::new();
            for number in 1..5 {
                let grant = Arc::default();
                // Queued here, so that the order of the queue is known.
                assert!(!acquire(&locks, Owner(number), wants(), &grant));
                let (locks, order) = (Arc::clone(&locks), Arc::clone(&order));
                workers.push(thread::spawn(move || {
                    grant.wait();
                    order.lock().unwrap().push(number);
                    release(&locks, Owner(number));
                }));
            }
            release(&locks, first);
            for worker in workers {
                worker.join().unwrap();
            }
            assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
        },
        ITERATIONS,
    );
}

#[test]
fn a_sharer_does_not_overtake_who_waits_to_be_alone() {
    let want = |mode| vec![Want { key: Key::Object(Oid(7)), mode }];
    shuttle::check_random(
        move || {
            let locks = Locks::default();
            let [alone, late] = [Arc::<Grant>::default(), Arc::default()];
            assert!(acquire(&locks, Owner(0), want(Mode::Shared), &Arc::default()));
            assert!(!acquire(&locks, Owner(1), want(Mode::Exclusive), &alone));
            assert!(!acquire(&locks, Owner(2), want(Mode::Shared), &late));
            release(&locks, Owner(0));
            alone.wait();
            assert!(!*late.granted.lock().unwrap());
            release(&locks, Owner(1));
            late.wait();
        },
        ITERATIONS,
    );
}

#[test]
fn who_gives_up_lets_those_behind_pass_at_once() {
    let want = |mode| vec![Want { key: Key::Object(Oid(7)), mode }];
    shuttle::check_random(
        move || {
            let locks = Locks::default();
            let late = Arc::<Grant>::default();
            assert!(acquire(&locks, Owner(0), want(Mode::Shared), &Arc::default()));
            assert!(!acquire(&locks, Owner(1), want(Mode::Exclusive), &Arc::default()));
            assert!(!acquire(&locks, Owner(2), want(Mode::Shared), &late));
            // Owner 0 goes on holding; only the one who waited to be alone was in the way.
            release(&locks, Owner(1));
            late.wait();
        },
        10,
    );
}

/// A client that waits for its answers.
struct Client {
    mailbox: Arc<Mailbox>,
    bell: Arc<Bell>,
    arrived: VecDeque<Event>,
    next_ticket: u64,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }
}

impl Client {
    fn new() -> Self {
        let bell = Arc::<Bell>::default();
        let mailbox = Mailbox::new(1 << 20, Arc::clone(&bell) as Arc<dyn Wake>);
        Self { mailbox, bell, arrived: VecDeque::new(), next_ticket: 0 }
    }

    fn reply_to(&mut self) -> ReplyTo {
        self.next_ticket += 1;
        ReplyTo { mailbox: Arc::clone(&self.mailbox), ticket: Ticket(self.next_ticket) }
    }

    /// The next answer. If it were never given, shuttle would find all threads asleep here.
    fn answer(&mut self) -> (Ticket, Completion) {
        loop {
            if let Some(Event::Completed { ticket, completion }) = self.arrived.pop_front() {
                return (ticket, completion);
            }
            let mut rung = self.bell.rung.lock().unwrap();
            while !*rung {
                rung = self.bell.changed.wait(rung).unwrap();
            }
            *rung = false;
            drop(rung);
            self.mailbox.drain(&mut self.arrived).unwrap();
        }
    }

    /// Commits or gives up somewhere on the way; votes again without waiting for the answer.
    fn transaction(&mut self, storage: &dyn Storage) {
        let mut rng = thread_rng();
        let mut transaction = storage.begin(Meta::default());
        for oid in 0..2 {
            if rng.gen_range(0..3) > 0 {
                // Often a revision that is not current any more.
                let serial = storage.current_tid(Oid(oid)).unwrap_or(Tid::ZERO);
                transaction.store(Oid(oid), serial, vec![1].into()).unwrap();
            }
        }
        let votes = rng.gen_range(1..4);
        let asked: VecDeque<_> = (0..votes)
            .filter_map(|_| {
                let reply = self.reply_to();
                let ticket = reply.ticket;
                thread::yield_now();
                transaction.vote(reply).is_ok().then_some(ticket)
            })
            .collect();
        if rng.gen_range(0..4) == 0 {
            return;
        }
        let mut promised = false;
        for asked in asked {
            let (ticket, Completion::Voted(voted)) = self.answer() else { unreachable!() };
            assert_eq!(ticket, asked, "votes are answered in their order");
            promised = voted.unwrap() == Vote::Promised;
        }
        if promised && rng.gen_range(0..4) > 0 {
            let reply = self.reply_to();
            transaction.finish(reply).unwrap();
            let (_, Completion::Finished(finished)) = self.answer() else { unreachable!() };
            finished.unwrap();
        }
    }
}

#[test]
fn every_vote_is_answered_and_nothing_stays_locked() {
    shuttle::check_random(
        || {
            let location = Location { kind: Kind::Memory, blobs: None };
            let options = Options { reader_threads: 1, ..Options::default() };
            let disk = Arc::new(storage::disk::RealDisk) as _;
            let clock = Arc::new(SystemClock);
            let storage = storage::open(&location, options, &disk, clock).unwrap();
            let clients = (0..3).map(|_| {
                let storage = Arc::clone(&storage);
                thread::spawn(move || {
                    for _ in 0..3 {
                        // Another connection each time: a late answer goes nowhere.
                        Client::new().transaction(&*storage);
                    }
                })
            });
            for client in clients.collect::<Vec<_>>() {
                client.join().unwrap();
            }
            storage.close();
            assert_eq!(storage.lock_state(), LockState::default(), "all is free again");
        },
        ITERATIONS,
    );
}
