//! Many threads at once: what every connection is told, and in which order.
//!
//! `ORDER_COMMITS` makes it longer.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use protocol::{Oid, Tid};
use storage::{
    CommitLocks, Completion, Event, Kind, Location, Options, Reads, Storage, Ticket, Vote, Which,
};
use testkit::{Clock, Inbox, SimDisk};

use support::{number, small};

/// All threads change these.
const OBJECTS: u64 = 6;
const COMMITTERS: usize = 4;
const READERS: usize = 3;

/// What all transactions wrote, as those who made them know it.
type History = BTreeMap<Tid, BTreeSet<Oid>>;

/// One connection: it is subscribed, and checks what it is told.
struct Connection<'a> {
    storage: &'a dyn Storage,
    inbox: Inbox,
    /// What it has been told, in order; the first one is that of the subscription.
    tids: Vec<Tid>,
    /// The newest tid that it has been told for each object.
    newest: HashMap<Oid, Tid>,
    told: History,
    /// The finish that it waits for, and what that writes.
    finishing: Option<(Ticket, BTreeSet<Oid>)>,
}

impl<'a> Connection<'a> {
    fn new(storage: &'a dyn Storage) -> Self {
        let inbox = Inbox::new();
        let tids = vec![storage.subscribe(&inbox.mailbox)];
        let (newest, told) = (HashMap::new(), History::new());
        Self { storage, inbox, tids, newest, told, finishing: None }
    }

    /// Takes the next event; returns whether it ended what this connection waits for.
    fn take(&mut self, event: Event) -> Option<Completion> {
        let (tid, oids) = match event {
            Event::ExtentChanged => return None,
            Event::Invalidated(told) => (told.tid, told.oids.iter().copied().collect()),
            Event::Completed { ticket, completion: Completion::Finished(answer) } => {
                let (asked, oids) = self.finishing.take().expect("a finish was asked");
                assert_eq!(ticket, asked);
                (answer.unwrap(), oids)
            }
            Event::Completed { completion, .. } => return Some(completion),
        };
        let last = *self.tids.last().unwrap();
        assert!(tid > last, "{tid} is told after {last}");
        self.tids.push(tid);
        for oid in &oids {
            self.newest.insert(*oid, tid);
        }
        // What was told is visible, and everything before it.
        for (&oid, &newest) in &self.newest {
            let current = self.storage.current_tid(oid).unwrap();
            assert!(current >= newest, "{oid} is at {current}, told was {newest}");
        }
        self.told.insert(tid, oids);
        None
    }

    fn drain(&mut self) {
        while let Some(stamped) = self.inbox.try_next() {
            assert!(self.take(stamped.event).is_none(), "nothing else was asked");
        }
    }

    /// Waits for the answer, taking in what comes before it.
    fn wait(&mut self) -> Option<Completion> {
        loop {
            let before = self.finishing.is_some();
            let event = self.inbox.next().event;
            let completion = self.take(event);
            if completion.is_some() || (before && self.finishing.is_none()) {
                return completion;
            }
        }
    }

    /// The current revision, which must not be older than what was told; its bytes name its tid's
    /// predecessor, so that a mix-up shows.
    fn load(&mut self, oid: Oid) -> Tid {
        let which = Which::Before(Tid::MAX);
        let mut data = Vec::new();
        self.drain();
        let known = self.newest.get(&oid).copied().unwrap_or_default();
        let tid = match self.storage.load(oid, which, &mut data).unwrap() {
            storage::Found::Revision { tid, .. } => tid,
            storage::Found::Younger => panic!("{oid} exists"),
            storage::Found::Later => {
                self.storage.load_later(oid, which, self.inbox.reply_to());
                let Some(Completion::Loaded(Ok(Some(loaded)))) = self.wait() else {
                    panic!("the load of {oid} fails")
                };
                data = loaded.data;
                loaded.tid
            }
        };
        assert!(tid >= known, "{oid} is loaded as of {tid}, told was {known}");
        assert!(data.starts_with(&oid.to_bytes()), "these are not the bytes of {oid}");
        let previous = Tid::try_from(&data[8..16]).unwrap();
        assert!(previous < tid, "{oid} at {tid} was made from {previous}");
        tid
    }

    /// Changes some objects; conflicts are normal.
    fn commit(&mut self, oids: &BTreeSet<Oid>) -> Option<Tid> {
        let mut transaction = self.storage.begin(support::meta());
        for &oid in oids {
            let serial = self.load(oid);
            let mut data = oid.to_bytes().to_vec();
            data.extend_from_slice(&serial.to_bytes());
            data.resize(16 + oid.0 as usize * 40, 0);
            transaction.store(oid, serial, data.into()).unwrap();
        }
        transaction.vote(self.inbox.reply_to()).unwrap();
        let Some(Completion::Voted(Ok(vote))) = self.wait() else { panic!("the vote fails") };
        if let Vote::Conflicts(conflicts) = vote {
            // A client that waits for locks hears of what it lost against before the answer.
            for conflict in conflicts {
                let known = self.newest.get(&conflict.oid).copied().unwrap_or_default();
                assert!(known >= conflict.committed, "{conflict:?} was not told before");
            }
            return None;
        }
        let reply = self.inbox.reply_to();
        self.finishing = Some((reply.ticket, oids.clone()));
        transaction.finish(reply).unwrap();
        assert!(self.wait().is_none(), "the finish is answered");
        self.tids.last().copied()
    }
}

/// The first transaction makes all objects.
fn create_objects(storage: &dyn Storage) {
    let inbox = Inbox::new();
    let data: Vec<_> =
        (0..OBJECTS).map(|n| (Oid(n), [Oid(n).to_bytes(), [0; 8]].concat())).collect();
    let records: Vec<_> = data.iter().map(|(oid, data)| (*oid, Tid::ZERO, &data[..])).collect();
    inbox.commit(storage, &records).unwrap();
}

fn run(kind: Kind, options: Options, cached: bool) {
    let disk = SimDisk::new();
    disk.set_cached(cached);
    let location = Location { kind, blobs: None };
    let storage = storage::open(&location, options, &disk.handle(), Clock::new()).unwrap();
    create_objects(&*storage);
    let commits = number("ORDER_COMMITS", 40) as usize;
    let history = Mutex::new(History::new());
    let committing = AtomicUsize::new(COMMITTERS);
    let connections: Mutex<Vec<(Vec<Tid>, History)>> = Mutex::default();
    thread::scope(|scope| {
        for seed in 0..COMMITTERS {
            let (storage, history, connections) = (&*storage, &history, &connections);
            let committing = &committing;
            scope.spawn(move || {
                let mut connection = Connection::new(storage);
                let mut done = 0;
                for turn in seed.. {
                    let count = 1 + turn % 2;
                    let oids = (0..count).map(|n| Oid((turn * 7 + n * 3) as u64 % OBJECTS));
                    let oids: BTreeSet<_> = oids.collect();
                    if let Some(tid) = connection.commit(&oids) {
                        let previous = history.lock().unwrap().insert(tid, oids);
                        assert_eq!(previous, None, "{tid} is given twice");
                        done += 1;
                        if done == commits {
                            break;
                        }
                    }
                }
                committing.fetch_sub(1, Ordering::SeqCst);
                finish(connection, connections);
            });
        }
        for seed in 0..READERS {
            let (storage, connections, committing) = (&*storage, &connections, &committing);
            scope.spawn(move || {
                while committing.load(Ordering::SeqCst) > 0 {
                    // Comes and goes, so that subscriptions start at any time.
                    let mut connection = Connection::new(storage);
                    for turn in seed..seed + 50 {
                        connection.load(Oid(turn as u64 % OBJECTS));
                    }
                    finish(connection, connections);
                }
            });
        }
    });
    let history = history.into_inner().unwrap();
    assert_eq!(history.len(), COMMITTERS * commits);
    for (tids, told) in connections.into_inner().unwrap() {
        let (Some(first), Some(last)) = (tids.first(), tids.last()) else { unreachable!() };
        // Nothing is missing between the subscription and the last event, and nothing wrong.
        let between = history.iter().filter(|(tid, _)| first < *tid && *tid <= last);
        let between: History = between.map(|(tid, oids)| (*tid, oids.clone())).collect();
        assert_eq!(told, between);
    }
    storage.close();
}

/// Ends a connection and keeps what it was told.
fn finish(mut connection: Connection<'_>, connections: &Mutex<Vec<(Vec<Tid>, History)>>) {
    connection.storage.unsubscribe(&connection.inbox.mailbox);
    connection.drain();
    connections.lock().unwrap().push((connection.tids, connection.told));
}

#[test]
fn everyone_is_told_everything_in_order() {
    let file = || Kind::File(PathBuf::from("/data"));
    let options = Options { reader_threads: 3, ..small() };
    run(Kind::Memory, options, true);
    run(file(), options, true);
    run(file(), options, false);
    run(file(), Options { commit_locks: CommitLocks::Global, ..options }, true);
    for sync in [storage::Sync::Each, storage::Sync::None] {
        run(file(), Options { sync, ..options }, true);
    }
    run(file(), Options { reads: Reads::Mapped, ..options }, true);
}

/// The end tid that a late load carries may be overtaken, but never the other way round.
#[test]
fn a_load_that_comes_late_can_be_put_right() {
    let disk = SimDisk::new();
    disk.set_cached(false);
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let first = inbox.commit(&*storage, &[(Oid(1), Tid::ZERO, b"first")]).unwrap();
    storage.subscribe(&inbox.mailbox);
    let held = disk.hold(testkit::Call::Read);
    let reply = inbox.reply_to();
    let ticket = reply.ticket;
    storage.load_later(Oid(1), Which::Before(Tid::MAX), reply);
    held.wait_for(1);
    let other = Inbox::new();
    let second = other.commit(&*storage, &[(Oid(1), first, b"second")]).unwrap();
    let Event::Invalidated(told) = inbox.next().event else { panic!("the change is told first") };
    assert_eq!((told.tid, &told.oids[..]), (second, &[Oid(1)][..]));
    drop(held);
    let Completion::Loaded(Ok(Some(loaded))) = inbox.answer(ticket) else { panic!("no data") };
    assert_eq!((&loaded.data[..], loaded.tid), (&b"first"[..], first));
    assert!(loaded.end.is_none_or(|end| end == second));
    assert_eq!(storage.end_tid(Oid(1), loaded.tid), Some(second));
}

/// A voter that never finishes delays nobody who writes something else.
#[test]
fn a_stalled_voter_delays_no_commit_on_other_objects() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox: Arc<Inbox> = Arc::new(Inbox::new());
    let mut stalled = storage.begin(support::meta());
    stalled.store(Oid(1), Tid::ZERO, "stalled".into()).unwrap();
    assert_eq!(inbox.vote(&mut *stalled), Ok(Vote::Promised));
    for oid in 2..30 {
        inbox.commit(&*storage, &[(Oid(oid), Tid::ZERO, b"quick")]).unwrap();
    }
    let last = inbox.finish(&mut *stalled).unwrap();
    assert_eq!(storage.current_tid(Oid(1)), Ok(last), "tids are chosen at the finish");
    assert!(last > storage.current_tid(Oid(29)).unwrap());
}
