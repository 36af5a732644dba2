//! The seam between sessions and storages.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{Failure, Oid, Tid, UndoLog};

use crate::blobs::{self, BlobFile, Upload};
pub use crate::cursor::{Iterated, RecordCursor, TransactionCursor};
use crate::mailbox::{Completion, Mailbox, ReplyTo};
use crate::metrics::Measures;
use crate::replica::{Replica, Role};

/// What a session may ask of a storage.
///
/// Nothing here waits for another client or for a sync. What can wait (a vote behind a lock, a finish behind a sync, a read that
/// misses memory) returns at once and its answer arrives in the caller's [`Mailbox`] as a
/// [`crate::Completion`], in an order that a connection can pass on as it is: see
/// [`Self::subscribe`]. All methods may be called from any thread.
pub trait Storage: Send + Sync {
    /// For people: what is stored where.
    fn name(&self) -> String;

    /// What it can do besides the rest of this trait.
    fn abilities(&self) -> Abilities;

    /// Number of objects and bytes taken.
    fn extent(&self) -> Extent;

    /// Appends the bytes of a revision to `data`, if they are in memory.
    fn load(&self, oid: Oid, which: Which, data: &mut Vec<u8>) -> Result<Found, Failure>;

    /// For a load that answered [`Found::Later`]: the answer comes as
    /// [`crate::Completion::Loaded`].
    fn load_later(&self, oid: Oid, which: Which, reply: ReplyTo);

    /// The tid of the revision after `tid`; `None` if `tid` is current.
    fn end_tid(&self, oid: Oid, tid: Tid) -> Option<Tid>;

    /// The tid of the current revision; fails for what is unknown or deleted.
    fn current_tid(&self, oid: Oid) -> Result<Tid, Failure>;

    /// Up to `count` oids, at least one, ascending, below 2^63, never given out before. `None`: they,
    /// or why there are none, come as [`crate::Completion::Oids`].
    fn new_oids(&self, count: u32, reply: ReplyTo) -> Option<Vec<Oid>>;

    /// Starts a transaction. It holds nothing until it votes.
    fn begin(&self, meta: Meta) -> Box<dyn Transaction>;

    /// Reads the last tid and joins the recipients of invalidations in one step.
    ///
    /// From then on the mailbox gets an invalidation for each transaction, in tid order; for its
    /// own transactions it gets the completion of `finish` in that place. When an event is in the
    /// mailbox, the transaction is durable and visible to every load.
    fn subscribe(&self, mailbox: &Arc<Mailbox>) -> Tid;

    /// Ends [`Self::subscribe`].
    fn unsubscribe(&self, mailbox: &Arc<Mailbox>);

    /// The oids changed after `since` and up to `until`, each once; `None` if they are not in memory.
    fn invalidations(&self, since: Tid, until: Tid) -> Option<Vec<Oid>>;

    /// Same, from wherever it is known: [`crate::Completion::Invalidations`].
    fn invalidations_later(&self, since: Tid, until: Tid, reply: ReplyTo);

    /// Transactions that can be undone, newest first: [`crate::Completion::UndoLog`].
    fn undo_log(&self, query: UndoLog, reply: ReplyTo);

    /// The newest `count` revisions of an object: [`crate::Completion::History`].
    fn history(&self, oid: Oid, count: u32, reply: ReplyTo);

    /// The current revision of the first object from `oid` on that has one (of the first one if
    /// there is no `oid`): [`crate::Completion::CurrentRecord`].
    fn next_record(&self, oid: Option<Oid>, reply: ReplyTo);

    /// Iterates over the transactions from `start` to `stop`, both inclusive, in tid order. It sees
    /// those that are visible now and none that comes later.
    fn iterate(&self, start: Option<Tid>, stop: Option<Tid>) -> Box<dyn TransactionCursor>;

    /// The next transaction of `cursor`, which comes back in [`crate::Completion::Transaction`].
    fn next_transaction(&self, cursor: Box<dyn TransactionCursor>, reply: ReplyTo);

    /// The next record of `cursor`, which comes back in
    /// [`crate::Completion::TransactionRecord`].
    fn next_transaction_record(&self, cursor: Box<dyn RecordCursor>, reply: ReplyTo);

    /// A place for a blob whose bytes come piece by piece, for [`Transaction::store_blob`]. Waits
    /// for nothing.
    fn begin_upload(&self) -> Result<Upload, Failure> {
        Err(blobs::not_configured())
    }

    /// Same, for a blob that a client has put into the directory of `oid` as `file`. It is the
    /// storage's from the vote on, or from [`Upload::end`].
    fn take_shared(&self, _oid: Oid, _file: &str) -> Result<Upload, Failure> {
        Err(blobs::not_configured())
    }

    /// Opens the blob of a revision: [`Completion::BlobOpened`].
    fn open_blob(&self, _oid: Oid, _serial: Tid, reply: ReplyTo) {
        reply.send(Completion::BlobOpened(Err(blobs::not_configured())));
    }

    /// So many bytes of a blob from `offset`, all of which it has: [`Completion::BlobRead`].
    fn read_blob(&self, _file: &BlobFile, _offset: u64, _bytes: usize, reply: ReplyTo) {
        reply.send(Completion::BlobRead(Err("there are no blobs".to_owned())));
    }
    /// Drops what was superseded before a time, while everything goes on; all subscribers hear
    /// [`crate::Event::ExtentChanged`] when it is done, and then comes
    /// [`crate::Completion::Packed`]. Revisions that are current as of `before`, or later, are kept;
    /// loads as of an earlier time may fail from then on. One pack runs at a time. What a stop or a
    /// crash interrupts goes on with the next start.
    fn pack(&self, before: Tid, reply: ReplyTo);

    /// Who changes it.
    fn role(&self) -> Role {
        Role::Primary
    }

    /// For replication, if it can be replicated.
    fn replica(&self) -> Option<Replica> {
        None
    }

    /// State of the commit locks.
    fn lock_state(&self) -> LockState;

    /// What it has counted and timed so far, for monitoring. Looks at much, so not to be asked for
    /// every request.
    fn measures(&self) -> Measures;

    /// Finishes what is queued, writes what makes the next start fast, and stops. Called once,
    /// when no session is left; later calls of anything that writes fail.
    fn close(&self);
}

/// A transaction between begin and finish or abort. Dropping it aborts it, unless its finish was
/// asked.
///
/// What it stores beyond its share of memory ([`crate::Options::spill_bytes`]) is written to a
/// temporary file at once, on the caller's thread, without a sync; ending it empties that file. It
/// has room for 16 million writes and checks.
pub trait Transaction: Send {
    /// Writes a revision of `oid`, which is below 2^63, on top of revision `serial`; a later store
    /// replaces it.
    fn store(&mut self, oid: Oid, serial: Tid, data: Bytes) -> Result<(), Failure>;

    /// Same as [`Self::store`], with a blob, which all bytes have been given to. A later store of
    /// the object keeps the blob, as when a client has resolved a conflict; a later blob replaces
    /// it.
    fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        blob: Upload,
    ) -> Result<(), Failure>;

    /// Deletes `oid`, whose current revision must be `serial`.
    fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), Failure>;

    /// Asks that `serial` be the current revision of `oid` at the vote and until the finish.
    fn check_current_serial(&mut self, oid: Oid, serial: Tid) -> Result<(), Failure>;

    /// Writes a revision without any check; `None`: creation undone. `origin` is the tid of the
    /// revision whose data an undo brought back.
    fn restore(
        &mut self,
        oid: Oid,
        data: Option<Bytes>,
        origin: Option<Tid>,
    ) -> Result<(), Failure>;

    /// Undoes transaction `tid`, as of the vote: each object that it wrote gets the revision before
    /// again, if it has the data that `tid` gave it, or data that are equal.
    fn undo(&mut self, tid: Tid) -> Result<(), Failure>;

    /// Takes the locks and checks the serials: [`crate::Completion::Voted`]. After conflicts
    /// nothing is locked, and the transaction may be changed and vote again; after a failure it
    /// can only be aborted. Conflicts with more than 64 MiB of data in all are
    /// [`Failure::Conflict`] of the first one.
    fn vote(&mut self, reply: ReplyTo) -> Result<(), Failure>;

    /// Commits: [`crate::Completion::Finished`].
    fn finish(&mut self, reply: ReplyTo) -> Result<(), Failure>;
}

/// What a storage can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Transactions can be undone.
    pub undo: bool,
    /// Transactions can be iterated over.
    pub iteration: bool,
    /// Current records can be iterated over.
    pub record_iteration: bool,
    /// Blobs can be stored.
    pub blobs: bool,
}

/// Which revision of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest one with a tid below this.
    Before(Tid),
    /// The one with exactly this tid.
    Serial(Tid),
}

/// What a load finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The bytes were appended.
    Revision {
        /// The revision's tid.
        tid: Tid,
        /// The next revision's tid.
        end: Option<Tid>,
    },
    /// The object's first revision is not below the bound.
    Younger,
    /// The bytes are not in memory: ask [`Storage::load_later`].
    Later,
}

/// Number of objects and bytes taken by a storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Objects that exist or did.
    pub objects: u64,
    /// Bytes of the log.
    pub bytes: u64,
}

/// What a transaction says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Who.
    pub user: Bytes,
    /// What.
    pub description: Bytes,
    /// More, as a MessagePack map; empty for none.
    pub extension: Bytes,
    /// A copied transaction's tid; `None`: chosen at finish.
    pub tid: Option<Tid>,
    /// ZODB's status character; `b' '` for an ordinary transaction.
    pub status: u8,
}

/// State of the commit locks, for monitoring.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LockState {
    /// Votes that wait.
    pub waiting: u64,
    /// Unix seconds at which the longest holder voted.
    pub held_since: Option<f64>,
    /// Whether who holds them for too long is aborted.
    pub is_limited: bool,
}
