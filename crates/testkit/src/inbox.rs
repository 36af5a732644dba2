//! A mailbox that a test can wait on.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Conflict, Failure, Loaded, Oid, Tid};
use storage::{
    Completion, Cut, Event, Found, Mailbox, Meta, ReplyTo, Storage, Ticket, Transaction, Vote,
    Wake, Which,
};

/// Receives what a storage answers later, and what it tells.
///
/// Events are taken over at the moment at which the storage puts them into the mailbox, on the
/// storage's thread, so that a stamp (see [`Self::stamped`]) says what was the case just then.
/// Waiting ends with a panic after half a minute.
pub struct Inbox {
    /// For [`Storage::subscribe`].
    pub mailbox: Arc<Mailbox>,
    arrivals: Arc<Arrivals>,
    tickets: AtomicU64,
}

/// An event and what the inbox's stamp said when it arrived.
#[derive(Debug)]
pub struct Stamped {
    /// What arrived.
    pub event: Event,
    /// When, in the caller's own unit.
    pub stamp: usize,
}

struct Arrivals {
    mailbox: OnceLock<Weak<Mailbox>>,
    events: Mutex<VecDeque<Stamped>>,
    arrived: Condvar,
    stamp: Box<dyn Fn() -> usize + Send + Sync>,
}

/// Why [`Inbox::commit`] did not commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCommitted {
    /// The vote's answer.
    Conflicts(Vec<Conflict>),
    /// The vote's or the finish's.
    Failed(Failure),
}

impl Inbox {
    /// An inbox whose events all bear the stamp 0.
    pub fn new() -> Self {
        Self::stamped(|| 0)
    }

    /// An inbox whose events bear what `stamp` says when they arrive. `stamp` must not block.
    pub fn stamped(stamp: impl Fn() -> usize + Send + Sync + 'static) -> Self {
        let arrivals = Arc::new(Arrivals {
            mailbox: OnceLock::new(),
            events: Mutex::default(),
            arrived: Condvar::new(),
            stamp: Box::new(stamp),
        });
        let mailbox = Mailbox::new(MAILBOX_BYTES, Arc::clone(&arrivals) as Arc<dyn Wake>);
        arrivals.mailbox.set(Arc::downgrade(&mailbox)).expect("it was just created");
        Self { mailbox, arrivals, tickets: AtomicU64::new(0) }
    }

    /// Where the answer to a new question goes.
    pub fn reply_to(&self) -> ReplyTo {
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        ReplyTo { mailbox: Arc::clone(&self.mailbox), ticket }
    }

    /// The next event, in the order in which they came.
    pub fn next(&self) -> Stamped {
        self.wait("an event", VecDeque::pop_front)
    }

    /// Waits until the storage cuts the mailbox.
    pub fn cut(&self) -> Cut {
        self.wait("end", |_| self.mailbox.why_cut())
    }

    /// The next event, if there is one.
    pub fn try_next(&self) -> Option<Stamped> {
        self.arrivals.events().pop_front()
    }

    /// The answer for `ticket`; other events stay where they are.
    pub fn answer(&self, ticket: Ticket) -> Completion {
        self.stamped_answer(ticket).0
    }

    /// Same as [`Self::answer`], with its stamp.
    pub fn stamped_answer(&self, ticket: Ticket) -> (Completion, usize) {
        self.wait("an answer", |events| take_answer(events, ticket))
    }

    /// Waits until one of `tickets` is answered, and says which.
    pub fn first_answered(&self, tickets: &[Ticket]) -> Ticket {
        self.wait("an answer", |events| {
            events.iter().find_map(|stamped| match &stamped.event {
                Event::Completed { ticket, .. } if tickets.contains(ticket) => Some(*ticket),
                _ => None,
            })
        })
    }

    /// Same as [`Self::answer`], if it is there.
    pub fn try_answer(&self, ticket: Ticket) -> Option<Completion> {
        Some(take_answer(&mut self.arrivals.events(), ticket)?.0)
    }

    /// Votes and waits.
    pub fn vote(&self, transaction: &mut dyn Transaction) -> Result<Vote, Failure> {
        let reply = self.reply_to();
        let ticket = reply.ticket;
        transaction.vote(reply)?;
        match self.answer(ticket) {
            Completion::Voted(answer) => answer,
            other => panic!("a vote was answered by {other:?}"),
        }
    }

    /// Finishes and waits.
    pub fn finish(&self, transaction: &mut dyn Transaction) -> Result<Tid, Failure> {
        let reply = self.reply_to();
        let ticket = reply.ticket;
        transaction.finish(reply)?;
        self.finished(ticket).0
    }

    /// Waits for the answer of a finish; with its stamp.
    pub fn finished(&self, ticket: Ticket) -> (Result<Tid, Failure>, usize) {
        match self.stamped_answer(ticket) {
            (Completion::Finished(answer), stamp) => (answer, stamp),
            (other, _) => panic!("a finish was answered by {other:?}"),
        }
    }

    /// Stores `(oid, serial, data)` each, votes and finishes.
    pub fn commit(
        &self,
        storage: &dyn Storage,
        records: &[(Oid, Tid, &[u8])],
    ) -> Result<Tid, NotCommitted> {
        let mut transaction = storage.begin(Meta { status: b' ', ..Meta::default() });
        for &(oid, serial, data) in records {
            transaction.store(oid, serial, Bytes::copy_from_slice(data))?;
        }
        self.vote_and_finish(&mut *transaction)
    }

    /// Commits what is stored.
    pub(crate) fn vote_and_finish(
        &self,
        transaction: &mut dyn Transaction,
    ) -> Result<Tid, NotCommitted> {
        match self.vote(transaction)? {
            Vote::Promised | Vote::Determined(_) => Ok(self.finish(transaction)?),
            Vote::Conflicts(conflicts) => Err(NotCommitted::Conflicts(conflicts)),
        }
    }

    /// Loads, from wherever the bytes are; `None`: the object is younger.
    pub fn load(
        &self,
        storage: &dyn Storage,
        oid: Oid,
        which: Which,
    ) -> Result<Option<Loaded<Bytes>>, Failure> {
        let mut data = b"kept".to_vec();
        let found = storage.load(oid, which, &mut data)?;
        let appended = data.strip_prefix(b"kept").expect("a load only appends");
        if !matches!(found, Found::Revision { .. }) {
            assert!(appended.is_empty(), "{found:?} came with {} bytes", appended.len());
        }
        match found {
            Found::Revision { tid, end } => {
                Ok(Some(Loaded { data: Bytes::copy_from_slice(appended), tid, end }))
            }
            Found::Younger => Ok(None),
            Found::Later => {
                let reply = self.reply_to();
                let ticket = reply.ticket;
                storage.load_later(oid, which, reply);
                let Completion::Loaded(answer) = self.answer(ticket) else {
                    panic!("a load was answered by something else");
                };
                Ok(answer?.map(|Loaded { data, tid, end }| Loaded { data: data.into(), tid, end }))
            }
        }
    }

    /// Asks what is answered later, and waits.
    pub fn ask(&self, question: impl FnOnce(ReplyTo)) -> Completion {
        let reply = self.reply_to();
        let ticket = reply.ticket;
        question(reply);
        self.answer(ticket)
    }

    /// Fresh oids, now or later.
    pub fn new_oids(&self, storage: &dyn Storage, count: u32) -> Result<Vec<Oid>, Failure> {
        let reply = self.reply_to();
        let ticket = reply.ticket;
        if let Some(oids) = storage.new_oids(count, reply) {
            return Ok(oids);
        }
        match self.answer(ticket) {
            Completion::Oids(answer) => answer,
            other => panic!("new_oids was answered by {other:?}"),
        }
    }

    fn wait<T>(&self, what: &str, mut take: impl FnMut(&mut VecDeque<Stamped>) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut events = self.arrivals.events();
        loop {
            if let Some(taken) = take(&mut events) {
                return taken;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} in {DEADLINE:?}; there are {events:?}");
            let wait = self.arrivals.arrived.wait_timeout(events, left);
            events = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("events", &self.arrivals.events()).finish_non_exhaustive()
    }
}

impl From<Failure> for NotCommitted {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Arrivals {
    fn events(&self) -> MutexGuard<'_, VecDeque<Stamped>> {
        // Whole between any two statements that can panic.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Arrivals {
    fn wake(&self) {
        let Some(mailbox) = self.mailbox.get().and_then(Weak::upgrade) else {
            return;
        };
        // Taken before the mailbox's own lock, so that two wakes do not swap events.
        let mut events = self.events();
        let stamp = (self.stamp)();
        let mut drained = VecDeque::new();
        match mailbox.drain(&mut drained) {
            // Whoever waits for it is told below.
            Ok(()) | Err(Cut::TimedOut { .. }) => (),
            Err(why) => panic!("a test's mailbox does not overflow: {why}"),
        }
        events.extend(drained.into_iter().map(|event| Stamped { event, stamp }));
        self.arrived.notify_all();
    }
}

fn take_answer(events: &mut VecDeque<Stamped>, wanted: Ticket) -> Option<(Completion, usize)> {
    let is_it = |stamped: &Stamped| matches!(&stamped.event, Event::Completed { ticket, .. } if *ticket == wanted);
    let index = events.iter().position(is_it)?;
    match events.remove(index)? {
        Stamped { event: Event::Completed { completion, .. }, stamp } => Some((completion, stamp)),
        Stamped { event: Event::Invalidated(_) | Event::ExtentChanged, .. } => None,
    }
}

const DEADLINE: Duration = Duration::from_secs(30);
const MAILBOX_BYTES: usize = 1 << 30;
