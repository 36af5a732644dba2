//! The one queue through which everything reaches a connection that it did not compute itself.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::{
    Conflict, CurrentRecord, Failure, Loaded, Oid, Tid, TransactionRecord, TransactionSummary,
};

use crate::cursor::{Iterated, RecordCursor, TransactionCursor};

use crate::blobs::BlobFile;

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
    /// Of the events: see [`Event::bytes`].
    bytes: usize,
    cut: Option<Cut>,
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
    /// There are events in an empty mailbox, or it was cut. Must not block.
    fn wake(&self);
}

/// Something for a connection.
#[derive(Debug)]
pub enum Event {
    /// Another connection's transaction.
    Invalidated(Invalidation),
    /// A pack has changed how much there is.
    ExtentChanged,
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
    /// Of [`crate::Storage::pack`].
    Packed(Result<(), Failure>),
    /// Of [`crate::Storage::new_oids`].
    Oids(Result<Vec<Oid>, Failure>),
    /// Of [`crate::Upload::write`] and [`crate::Upload::end`]: the bytes take no memory any more.
    BlobTaken,
    /// Of [`crate::Storage::open_blob`].
    BlobOpened(Result<BlobFile, Failure>),
    /// Of [`crate::Storage::read_blob`]; the error names the file.
    BlobRead(Result<Bytes, String>),
    /// Of [`crate::Storage::invalidations_later`]; `None`: it is not known.
    Invalidations(Option<Vec<Oid>>),
    /// Of [`crate::Storage::undo_log`].
    UndoLog(Result<Vec<TransactionSummary>, Failure>),
    /// Of [`crate::Storage::history`].
    History(Result<Vec<TransactionSummary>, Failure>),
    /// Of [`crate::Storage::next_record`]. It may have been overtaken, as [`Self::Loaded`].
    CurrentRecord(Result<CurrentRecord, Failure>),
    /// Of [`crate::Storage::next_transaction`].
    Transaction {
        /// The cursor that was handed in.
        cursor: Box<dyn TransactionCursor>,
        /// `None`: there is no further transaction.
        next: Result<Option<Iterated>, Failure>,
    },
    /// Of [`crate::Storage::next_transaction_record`].
    TransactionRecord {
        /// The cursor that was handed in.
        cursor: Box<dyn RecordCursor>,
        /// `None`: there is no further record.
        next: Result<Option<TransactionRecord>, Failure>,
    },
}

/// How a vote ends, if it does not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vote {
    /// Finish will succeed.
    Promised,
    /// Same, and these objects get data that an undo determined; at least one.
    Determined(Vec<Oid>),
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
    /// A mailbox that overflows when something comes while invalidations of more than
    /// `limit_bytes` wait.
    ///
    /// So one event of any size fits: it says nothing of how fast the client reads. Answers do not
    /// count: the connection has asked for them, and limits how many it waits for.
    pub fn new(limit_bytes: usize, wake: Arc<dyn Wake>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), wake, limit_bytes })
    }

    /// Appends events and wakes the connection if it may sleep. Past the limit everything is
    /// dropped: a connection with a gap can only be closed.
    pub fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut queue = self.lock();
        let (slept, was_cut) = (queue.events.is_empty(), queue.cut.is_some());
        queue.append(NO_BATCH, events, self.limit_bytes);
        let is_cut = queue.cut.is_some();
        let wake = if is_cut { !was_cut } else { slept && !queue.events.is_empty() };
        drop(queue);
        if wake {
            self.wake();
        }
    }

    /// Appends events that stay hidden until the gate opens for `batch`; wakes nobody.
    pub(crate) fn push_hidden(&self, batch: u64, events: impl IntoIterator<Item = Event>) {
        self.lock().append(batch, events, self.limit_bytes);
    }

    /// Drops everything and takes nothing any more: the connection can only be closed. The first
    /// reason counts.
    pub fn cut(&self, why: Cut) {
        self.lock().cut(why);
        self.wake();
    }

    /// Gets the connection to look.
    pub fn wake(&self) {
        self.wake.wake();
    }

    /// From now on, hidden events are shown by `gate`.
    pub(crate) fn attach(&self, gate: Arc<Gate>) {
        self.lock().gate = Some(gate);
    }

    /// Moves all events to the end of `into`.
    pub fn drain(&self, into: &mut VecDeque<Event>) -> Result<(), Cut> {
        let mut queue = self.lock();
        if let Some(why) = queue.cut {
            return Err(why);
        }
        if queue.events.is_empty() {
            return Ok(());
        }
        let shown = queue.gate.as_ref().map_or(NO_BATCH, |gate| gate.shown());
        while let Some((_, event)) = queue.events.pop_front_if(|(batch, _)| *batch <= shown) {
            queue.bytes = queue.bytes.saturating_sub(event.bytes());
            into.push_back(event);
        }
        if queue.events.is_empty() && queue.events.capacity() > KEPT_EVENTS {
            queue.events = VecDeque::new();
        }
        Ok(())
    }

    /// Why the connection can only be closed, if it can.
    pub fn why_cut(&self) -> Option<Cut> {
        self.lock().cut
    }

    /// What waits, as it counts against the limit.
    pub fn waiting_bytes(&self) -> usize {
        self.lock().bytes
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
        if self.cut.is_some() {
            return;
        }
        for event in events {
            if self.bytes > limit_bytes {
                self.cut(Cut::Overflowed { limit_bytes });
                return;
            }
            self.bytes += event.bytes();
            self.events.push_back((batch, event));
        }
    }

    fn cut(&mut self, why: Cut) {
        self.cut.get_or_insert(why);
        self.events = VecDeque::new();
        self.bytes = 0;
    }
}

impl Event {
    /// What counts against the limit: about what it takes, in memory and on the wire.
    fn bytes(&self) -> usize {
        match self {
            Self::Invalidated(invalidation) => {
                size_of::<Self>() + invalidation.oids.len() * size_of::<Oid>()
            }
            Self::ExtentChanged => size_of::<Self>(),
            Self::Completed { .. } => 0,
        }
    }
}

/// Why a mailbox takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The connection did not drain it in time.
    #[error("the client reads too slowly: more than {limit_bytes} bytes wait for it")]
    Overflowed {
        /// The mailbox's limit.
        limit_bytes: usize,
    },
    /// The connection's transaction held its locks for too long, and was aborted. (These are ZEO's
    /// words.)
    #[error("Transaction timeout after {} seconds", after.as_secs_f64())]
    TimedOut {
        /// What it had.
        after: Duration,
    },
}

/// A queue that had room for more than this many events is not kept when it is empty.
const KEPT_EVENTS: usize = 64;

#[cfg(test)]
mod tests;
