//! What the parts of the native storage share, and the [`Storage`] made of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use protocol::{Failure, Oid, Tid, UndoLog};

use crate::api::{
    Abilities, Extent, Found, LockState, Meta, RecordCursor, Storage, Transaction,
    TransactionCursor, Which,
};
use crate::blobs::{self, BlobFile, BlobStore, Upload};
use crate::commit::committer::{self, CommitQueue};
use crate::commit::deadlines::{self, Deadlines};
use crate::commit::publish::Publisher;
use crate::commit::spill::SpillPool;
use crate::commit::transaction::{Handle, Pending};
use crate::disk::Lock;
use crate::index::{Index, Lookup};
use crate::locks::{LockManager, Owner};
use crate::log::{At, RecordLog};
use crate::mailbox::{Completion, Mailbox, ReplyTo};
use crate::metrics::{Measures, Timings};
use crate::oids::{Oids, Taken};
use crate::open::{Clock, OpenError, Options};
use crate::pack::{Packed, Packer};
use crate::past::iterate::Transactions;
use crate::pool::Pool;
use crate::replica::{Replica, Replication, Role};
use crate::sync::thread::{self, JoinHandle};
use crate::vital::vital;

/// The shared commit path, index and oids over a log.
pub(crate) struct Core {
    pub(crate) log: Box<dyn RecordLog>,
    pub(crate) index: Index,
    pub(crate) locks: LockManager<Arc<Pending>>,
    pub(crate) publisher: Publisher,
    pub(crate) queue: CommitQueue,
    /// Held from the append of a batch to its publication.
    pub(crate) committing: Mutex<()>,
    pub(crate) deadlines: Arc<Deadlines>,
    pub(crate) timings: Timings,
    pub(crate) oids: Oids,
    pub(crate) pool: Pool,
    /// `None`: all transactions stay in memory.
    pub(crate) spill: Option<Arc<SpillPool>>,
    /// `None`: no directory is configured.
    pub(crate) blobs: Option<Arc<BlobStore>>,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owners: AtomicU64,
    /// Why no write is taken any more.
    pub(crate) refusing: OnceLock<String>,
    pub(crate) packer: Packer,
    pub(crate) replication: Replication,
}

impl Core {
    /// Fails if no write is taken any more.
    pub(crate) fn refusal(&self) -> Result<(), Failure> {
        match self.refusing.get() {
            None => Ok(()),
            Some(why) => Err(Failure::Storage(format!("the storage refuses writes: {why}"))),
        }
    }

    /// While this is held, nothing is committed.
    pub(crate) fn committing(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to here transactions cannot be undone.
    pub(crate) fn packed_to(&self) -> Tid {
        self.packer.packed_to()
    }

    /// From now on only reads are answered.
    pub(crate) fn refuse_writes(&self, why: &str) {
        if self.refusing.set(why.to_owned()).is_ok() {
            tracing::error!("{}: writes are refused from now on: {why}", self.log.name());
        }
    }

    /// Has the log made ready for the next start, on another thread, if it is worth it.
    pub(crate) fn checkpoint_if_due(self: &Arc<Self>) {
        if self.log.wants_checkpoint() {
            let core = Arc::clone(self);
            self.pool.run(move || core.log.checkpoint());
        }
    }

    pub(crate) fn blob_store(&self) -> Result<&Arc<BlobStore>, Failure> {
        self.blobs.as_ref().ok_or_else(blobs::not_configured)
    }

    /// Whether a revision has a blob is said by the file: records that were copied without theirs
    /// do not say it. A file whose transaction is not finished is of no revision.
    fn open_blob(&self, oid: Oid, serial: Tid) -> Result<BlobFile, Failure> {
        let blobs = self.blob_store()?;
        match self.find(oid, Which::Serial(serial)) {
            Ok(Some(_)) => blobs.open(oid, serial),
            Ok(None) | Err(_) => Err(Failure::UnknownBlob { oid, serial }),
        }
    }
}

/// A [`Core`] with its threads and the lock of its directory.
pub(crate) struct NativeStorage {
    core: Arc<Core>,
    /// None after the end.
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: Option<Box<dyn Lock>>,
}

impl NativeStorage {
    pub(crate) fn start(
        core: Core,
        packed: Packed,
        lock: Option<Box<dyn Lock>>,
    ) -> Result<Self, OpenError> {
        let core = Arc::new(core);
        // What a start had to read should not have to be read again.
        core.checkpoint_if_due();
        let core_of_committer = Arc::clone(&core);
        let committer = thread::Builder::new()
            .name("storage-committer".to_owned())
            .spawn(move || vital(|| committer::run(&core_of_committer)))
            .map_err(OpenError::Thread)?;
        let core_of_timekeeper = Arc::clone(&core);
        // It ends what has been started, if more cannot be.
        let storage = Self { core, threads: Mutex::new(vec![committer]), _lock: lock };
        let timekeeper = thread::Builder::new()
            .name("storage-deadlines".to_owned())
            .spawn(move || vital(|| deadlines::run(&core_of_timekeeper)))
            .map_err(OpenError::Thread)?;
        storage.threads.lock().unwrap_or_else(PoisonError::into_inner).push(timekeeper);
        storage.core.resume_pack(packed);
        Ok(storage)
    }

    /// Answers with what `ask` finds, from another thread.
    fn later(&self, reply: ReplyTo, ask: impl FnOnce(&Arc<Core>) -> Completion + Send + 'static) {
        let core = Arc::clone(&self.core);
        self.core.pool.run(move || reply.send(ask(&core)));
    }

    /// Ends the threads after what they have to do; `false` if that was done before.
    fn stop(&self) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let threads = std::mem::take(&mut *threads);
        if threads.is_empty() {
            return false;
        }
        self.core.packer.close();
        self.core.queue.close();
        self.core.deadlines.close();
        for thread in threads {
            // A panic would have ended the process.
            let _ = thread.join();
        }
        self.core.refusing.get_or_init(|| "it is closed".to_owned());
        self.core.pool.close();
        self.core.blobs.iter().for_each(|blobs| blobs.close());
        true
    }
}

impl Drop for NativeStorage {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Storage for NativeStorage {
    fn name(&self) -> String {
        self.core.log.name()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            undo: true,
            iteration: true,
            record_iteration: true,
            blobs: self.core.blobs.is_some(),
        }
    }

    fn extent(&self) -> Extent {
        Extent { objects: self.core.index.objects(), bytes: self.core.log.size_bytes() }
    }

    fn load(&self, oid: Oid, which: Which, data: &mut Vec<u8>) -> Result<Found, Failure> {
        let delayed = !self.core.options.load_delay.is_zero();
        let read = |place| match delayed {
            true => Ok(At::Here(false)),
            false => self.core.log.read_cached(oid, place, data),
        };
        Ok(match self.core.look_up(oid, which, read)? {
            None => Found::Younger,
            Some((_, _, false)) => Found::Later,
            Some((tid, end, true)) => Found::Revision { tid, end },
        })
    }

    fn load_later(&self, oid: Oid, which: Which, reply: ReplyTo) {
        let asked = Instant::now();
        self.later(reply, move |core| {
            let loaded = core.load_blocking(oid, which);
            core.timings.late_load.record_duration(asked.elapsed());
            Completion::Loaded(loaded)
        });
    }

    fn end_tid(&self, oid: Oid, tid: Tid) -> Option<Tid> {
        match self.core.index.find(oid, Which::Serial(tid)) {
            Lookup::Revision { end, .. } => end,
            Lookup::Unknown | Lookup::Younger => None,
        }
    }

    fn current_tid(&self, oid: Oid) -> Result<Tid, Failure> {
        self.core.current_tid(oid)
    }

    fn new_oids(&self, count: u32, reply: ReplyTo) -> Option<Vec<Oid>> {
        let (taken, extend) = self.core.oids.take(count, reply);
        if extend {
            let core = Arc::clone(&self.core);
            self.core.pool.run(move || core.oids.extend());
        }
        match taken {
            Taken::Now(oids) => Some(oids),
            Taken::Later => None,
        }
    }

    fn begin(&self, meta: Meta) -> Box<dyn Transaction> {
        let owner = Owner(self.core.owners.fetch_add(1, Ordering::Relaxed));
        Box::new(Handle::new(Arc::clone(&self.core), owner, meta))
    }

    fn subscribe(&self, mailbox: &Arc<Mailbox>) -> Tid {
        self.core.publisher.subscribe(mailbox)
    }

    fn unsubscribe(&self, mailbox: &Arc<Mailbox>) {
        self.core.publisher.unsubscribe(mailbox);
    }

    fn invalidations(&self, since: Tid, until: Tid) -> Option<Vec<Oid>> {
        self.core.publisher.invalidations(since, until)
    }

    fn invalidations_later(&self, since: Tid, until: Tid, reply: ReplyTo) {
        self.later(reply, move |core| Completion::Invalidations(core.changed(since, until)));
    }

    fn undo_log(&self, query: UndoLog, reply: ReplyTo) {
        self.later(reply, move |core| Completion::UndoLog(core.undo_log(&query)));
    }

    fn history(&self, oid: Oid, count: u32, reply: ReplyTo) {
        self.later(reply, move |core| Completion::History(core.history(oid, count)));
    }

    fn next_record(&self, oid: Option<Oid>, reply: ReplyTo) {
        self.later(reply, move |core| Completion::CurrentRecord(core.next_record(oid)));
    }

    fn iterate(&self, start: Option<Tid>, stop: Option<Tid>) -> Box<dyn TransactionCursor> {
        let last = self.core.publisher.last_tid();
        let last = stop.map_or(last, |stop| stop.min(last));
        Box::new(Transactions::new(Arc::clone(&self.core), start.unwrap_or(Tid::ZERO), last))
    }

    fn pack(&self, before: Tid, reply: ReplyTo) {
        self.core.pack(before, reply);
    }

    fn next_transaction(&self, mut cursor: Box<dyn TransactionCursor>, reply: ReplyTo) {
        self.later(reply, move |_| {
            let next = cursor.next();
            Completion::Transaction { cursor, next }
        });
    }

    fn next_transaction_record(&self, mut cursor: Box<dyn RecordCursor>, reply: ReplyTo) {
        self.later(reply, move |_| {
            let next = cursor.next();
            Completion::TransactionRecord { cursor, next }
        });
    }

    fn begin_upload(&self) -> Result<Upload, Failure> {
        Ok(self.core.blob_store()?.upload())
    }

    fn take_shared(&self, oid: Oid, file: &str) -> Result<Upload, Failure> {
        self.core.blob_store()?.take_shared(oid, file)
    }

    fn open_blob(&self, oid: Oid, serial: Tid, reply: ReplyTo) {
        self.later(reply, move |core| Completion::BlobOpened(core.open_blob(oid, serial)));
    }

    fn read_blob(&self, file: &BlobFile, offset: u64, bytes: usize, reply: ReplyTo) {
        let file = file.clone();
        self.later(reply, move |_| Completion::BlobRead(file.read(offset, bytes)));
    }

    fn role(&self) -> Role {
        self.core.replication.role()
    }

    fn replica(&self) -> Option<Replica> {
        Some(Replica::new(&self.core))
    }

    fn lock_state(&self) -> LockState {
        LockState { is_limited: self.core.deadlines.is_limited(), ..self.core.locks.state() }
    }

    fn measures(&self) -> Measures {
        let core = &*self.core;
        let timings = &core.timings;
        let mut measures = Measures {
            lock_wait: timings.lock_wait.read(),
            finish: timings.finish.read(),
            append: timings.append.read(),
            late_load: timings.late_load.read(),
            batch: timings.batch.read(),
            timeouts: timings.timeouts.read(),
            commit_queue: core.queue.len() as u64,
            pool_queue: core.pool.waiting() as u64,
            index_bytes: core.index.memory_bytes(),
            last_tid: core.publisher.last_tid(),
            pack: core.packer.state(),
            refusal: core.refusing.get().cloned(),
            ..Measures::default()
        };
        core.log.measure(&mut measures);
        measures
    }

    fn close(&self) {
        if self.stop() {
            self.core.log.close();
            self.core.oids.close();
        }
    }
}
