//! The one queue through which everything reaches a connection that it did not compute itself.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{Conflict, Failure, Loaded, Oid, Tid};

/// Events for one connection, in the order in which they must leave.
///
/// The connection drains it itself, between requests: a reply that it computed is in its output
/// before any invalidation that is drained later, which is half of the ordering rule.
pub struct Mailbox {
    queue: Mutex<Queue>,
    wake: Arc<dyn Wake>,
    limit_bytes: usize,
}

#[derive(Default)]
struct Queue {
    /// With the batch that an event belongs to; it is hidden until the gate opens for that.
    events: VecDeque<(u64, Event)>,
    gate: Option<Arc<Gate>>,
    bytes: usize,
    overflowed: bool,
}

/// Shows the events of a batch in all mailboxes at once.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU64);

impl Gate {
    /// Shows batch `batch` and all before it.
    pub(crate) fn open_up_to(&self, batch: u64) {
        // Pairs with the load in `shown`: who sees the batch sees all its events.
        self.0.store(batch, Ordering::Release);
    }

    fn shown(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The batch of events that are not hidden.
const NO_BATCH: u64 = 0;

/// How a runtime gets a connection to look into its mailbox.
pub trait Wake: Send + Sync {
    /// There are events in an empty mailbox, or it overflowed. Must not block.
    fn wake(&self);
}

/// Something for a connection.
#[derive(Debug)]
pub enum Event {
    /// Another connection's transaction.
    Invalidated(Invalidation),
    /// The answer to what this connection asked.
    Completed {
        /// As given with the question.
        ticket: Ticket,
        /// The answer.
        completion: Completion,
    },
}

/// A transaction and what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    /// The transaction.
    pub tid: Tid,
    /// What it wrote; may be empty.
    pub oids: Arc<[Oid]>,
}

/// A session's own name for a question it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An answer that could not be given at once.
#[derive(Debug)]
pub enum Completion {
    /// Of [`crate::Transaction::vote`].
    Voted(Result<Vote, Failure>),
    /// Of [`crate::Transaction::finish`].
    Finished(Result<Tid, Failure>),
    /// Of [`crate::Storage::load_later`]; `None`: the object is younger. The end tid may have
    /// been overtaken while the answer waited: see [`crate::Storage::end_tid`].
    Loaded(Result<Option<Loaded<Vec<u8>>>, Failure>),
    /// Of [`crate::Storage::new_oids`].
    Oids(Result<Vec<Oid>, Failure>),
}

/// How a vote ends, if it does not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote {
    /// Finish will succeed.
    Promised,
    /// All stores that were made on old revisions; nothing is locked.
    Conflicts(Vec<Conflict>),
}

/// Where an answer goes.
#[derive(Clone)]
pub struct ReplyTo {
    /// The asking connection's.
    pub mailbox: Arc<Mailbox>,
    /// Its name for the question.
    pub ticket: Ticket,
}

impl ReplyTo {
    /// Puts the answer into the mailbox.
    pub fn send(&self, completion: Completion) {
        self.mailbox.push([self.completed(completion)]);
    }

    /// The event that [`Self::send`] would push.
    pub(crate) fn completed(&self, completion: Completion) -> Event {
        Event::Completed { ticket: self.ticket, completion }
    }
}

impl fmt::Debug for ReplyTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl Mailbox {
    /// A mailbox that overflows when its events take more than `limit_bytes` in memory.
    pub fn new(limit_bytes: usize, wake: Arc<dyn Wake>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), wake, limit_bytes })
    }

    /// Appends events and wakes the connection if it may sleep. Past the limit everything is
    /// dropped: a connection with a gap can only be closed.
    pub fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut queue = self.lock();
        let (slept, overflowed) = (queue.events.is_empty(), queue.overflowed);
        queue.append(NO_BATCH, events, self.limit_bytes);
        let wake = if queue.overflowed { !overflowed } else { slept && !queue.events.is_empty() };
        drop(queue);
        if wake {
            self.wake();
        }
    }

    /// Appends events that stay hidden until the gate opens for `batch`; wakes nobody.
    pub(crate) fn push_hidden(&self, batch: u64, events: impl IntoIterator<Item = Event>) {
        self.lock().append(batch, events, self.limit_bytes);
    }

    /// Gets the connection to look.
    pub(crate) fn wake(&self) {
        self.wake.wake();
    }

    /// From now on, hidden events are shown by `gate`.
    pub(crate) fn attach(&self, gate: Arc<Gate>) {
        self.lock().gate = Some(gate);
    }

    /// Moves all events to the end of `into`.
    pub fn drain(&self, into: &mut VecDeque<Event>) -> Result<(), Overflowed> {
        let mut queue = self.lock();
        if queue.overflowed {
            return Err(Overflowed { limit_bytes: self.limit_bytes });
        }
        if queue.events.is_empty() {
            return Ok(());
        }
        let shown = queue.gate.as_ref().map_or(NO_BATCH, |gate| gate.shown());
        while let Some((_, event)) = queue.events.pop_front_if(|(batch, _)| *batch <= shown) {
            queue.bytes = queue.bytes.saturating_sub(event.bytes());
            into.push_back(event);
        }
        Ok(())
    }

    /// Whether the connection has been too slow, and can only be closed.
    pub fn overflowed(&self) -> bool {
        self.lock().overflowed
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements that can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("limit_bytes", &self.limit_bytes).finish_non_exhaustive()
    }
}

impl Queue {
    fn append(&mut self, batch: u64, events: impl IntoIterator<Item = Event>, limit_bytes: usize) {
        if self.overflowed {
            return;
        }
        for event in events {
            self.bytes += event.bytes();
            self.events.push_back((batch, event));
        }
        if self.bytes > limit_bytes {
            self.overflowed = true;
            self.events = VecDeque::new();
        }
    }
}

impl Event {
    /// About what it takes, in memory and on the wire.
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Invalidated(invalidation) => invalidation.oids.len() * size_of::<Oid>(),
                Self::Completed { completion: Completion::Loaded(Ok(Some(loaded))), .. } => {
                    loaded.data.len()
                }
                Self::Completed { .. } => 0,
            }
    }
}

/// The connection did not drain its mailbox in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client reads too slowly: more than {limit_bytes} bytes wait for it")]
pub struct Overflowed {
    /// The mailbox's limit.
    pub limit_bytes: usize,
}
