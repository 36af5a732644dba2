//! The one queue through which everything reaches a connection that it did not compute itself.

use std::collections::VecDeque;
use std::fmt;
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
    events: VecDeque<Event>,
    bytes: usize,
    overflowed: bool,
}

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
        let wake = queue.events.is_empty() && !queue.overflowed;
        for event in events {
            queue.bytes += event.bytes();
            queue.events.push_back(event);
        }
        let wake = if queue.overflowed {
            queue.clear();
            false
        } else if queue.bytes > self.limit_bytes {
            queue.overflowed = true;
            queue.clear();
            true
        } else {
            wake && !queue.events.is_empty()
        };
        drop(queue);
        if wake {
            self.wake.wake();
        }
    }

    /// Moves all events to the end of `into`.
    pub fn drain(&self, into: &mut VecDeque<Event>) -> Result<(), Overflowed> {
        let mut queue = self.lock();
        if queue.overflowed {
            return Err(Overflowed { limit_bytes: self.limit_bytes });
        }
        queue.bytes = 0;
        if into.is_empty() {
            std::mem::swap(&mut queue.events, into);
        } else {
            into.append(&mut queue.events);
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
    fn clear(&mut self) {
        self.events = VecDeque::new();
        self.bytes = 0;
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
