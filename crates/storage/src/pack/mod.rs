//! Drops what was superseded before a time, while everybody goes on.
//!
//! Of each object the revision that is current as of the time stays, unless it has no data, and all
//! that came later. Nothing is looked into: what is reachable is for collectors outside, which
//! delete. The log goes part by part: first the index forgets what is dropped of a part, so that
//! nobody finds it any more, then the log does. Parts go in tid order: so a deletion is not
//! forgotten before what it deletes.

mod file;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::{Failure, Oid, Tid};

use crate::api::Which;
use crate::core::Core;
use crate::index::Lookup;
use crate::log::{Plan, Rewritten};
use crate::mailbox::{Completion, ReplyTo};
use crate::open::Clock;
use crate::sync::thread::{self, JoinHandle};
use crate::vital::vital;

pub(crate) use file::{Packed, PackedFile, Stage};

/// How often a pack says how far it is.
const NEWS_EVERY: Duration = Duration::from_secs(10);

/// The one pack that may run, and how far packs have come.
#[derive(Debug)]
pub(crate) struct Packer {
    /// `None`: it is not remembered beyond this process.
    file: Option<PackedFile>,
    /// A tid: up to it, revisions that are not current as of it may be gone.
    packed_to: AtomicU64,
    is_closing: AtomicBool,
    work: Mutex<Work>,
}

#[derive(Debug)]
struct Work {
    thread: Option<JoinHandle<()>>,
    state: PackState,
}

/// How far a storage is packed, for monitoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackState {
    /// Whether a pack is under way.
    pub is_running: bool,
    /// Of the pack under way, or the last one: parts of the log that it has been through.
    pub parts_done: u64,
    /// Likewise: all that it goes through.
    pub parts: u64,
    /// Likewise: records that it has dropped.
    pub records_dropped: u64,
    /// Likewise: bytes that it has given back.
    pub bytes_freed: u64,
    /// Up to here revisions may be gone; zero if nothing was ever packed.
    pub packed_to: Tid,
    /// Up to here the last pack went that came to its end; zero if none is known.
    pub finished_to: Tid,
    /// When that was, since 1970; `None` if no pack has ended since the start.
    pub finished_at: Option<Duration>,
}

impl Packer {
    pub(crate) fn new(file: Option<PackedFile>, packed: Packed) -> Self {
        let packed_to = AtomicU64::new(packed.to.0);
        let finished_to = if packed.stage == Stage::Done { packed.to } else { Tid::ZERO };
        let state = PackState { finished_to, ..PackState::default() };
        let work = Mutex::new(Work { thread: None, state });
        Self { file, packed_to, is_closing: AtomicBool::new(false), work }
    }

    pub(crate) fn packed_to(&self) -> Tid {
        Tid(self.packed_to.load(Ordering::Acquire))
    }

    pub(crate) fn state(&self) -> PackState {
        PackState { packed_to: self.packed_to(), ..self.work().state }
    }

    /// Nothing up to `to` is gone yet, but what follows is a copy of what is left elsewhere.
    pub(crate) fn adopt(&self, to: Tid) -> Result<(), Failure> {
        self.remember(Packed { to, stage: Stage::Copying })?;
        self.packed_to.store(to.0, Ordering::Release);
        Ok(())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.work().state.is_running
    }

    /// Has a pack that runs give up soon, and waits for that.
    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        let thread = self.work().thread.take();
        if let Some(thread) = thread {
            // A panic would have ended the process.
            let _ = thread.join();
        }
    }

    /// A pack up to `to` has come to its end.
    fn finish(&self, to: Tid, clock: &dyn Clock) -> PackState {
        let mut work = self.work();
        work.state.finished_to = to;
        work.state.finished_at = Some(clock.now());
        work.state
    }

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // Every change is one assignment.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Durably.
    pub(crate) fn remember(&self, packed: Packed) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        file.write(packed).map_err(|error| {
            let dir = file.dir.display();
            Failure::Storage(format!("{dir}: cannot write how far it is packed: {error}"))
        })
    }
}

impl Core {
    /// Packs as of `before` on a thread of its own, and answers when that is done.
    pub(crate) fn pack(self: &Arc<Self>, before: Tid, reply: ReplyTo) {
        if let Err(failure) = self.start_pack(before, Some(reply.clone())) {
            reply.send(Completion::Packed(Err(failure)));
        }
    }

    /// Goes on with a pack that an earlier process has begun.
    pub(crate) fn resume_pack(self: &Arc<Self>, packed: Packed) {
        if packed.stage != Stage::UnderWay {
            return;
        }
        tracing::info!("{}: going on with an unfinished pack", self.log.name());
        if let Err(failure) = self.start_pack(packed.to, None) {
            tracing::error!("{}: {failure}", self.log.name());
        }
    }

    fn start_pack(self: &Arc<Self>, before: Tid, reply: Option<ReplyTo>) -> Result<(), Failure> {
        let mut work = self.packer.work();
        if self.packer.is_closing() {
            return Err(Failure::Storage("the storage is closed".to_owned()));
        }
        if work.state.is_running {
            return Err(Failure::Storage("Already packing".to_owned()));
        }
        let core = Arc::clone(self);
        let body = move || {
            let packed = core.pack_all(before);
            if let Err(failure) = &packed {
                tracing::error!("{}: the pack stopped: {failure}", core.log.name());
            }
            core.packer.work().state.is_running = false;
            core.publisher.tell_extent();
            if let Some(reply) = reply {
                reply.send(Completion::Packed(packed));
            }
        };
        let thread = thread::Builder::new().name("storage-pack".to_owned());
        let thread = thread.spawn(move || vital(body));
        let thread = thread.map_err(|error| {
            Failure::Storage(format!("cannot start the thread of a pack: {error}"))
        })?;
        let PackState { finished_to, finished_at, .. } = work.state;
        let state =
            PackState { is_running: true, finished_to, finished_at, ..PackState::default() };
        *work = Work { thread: Some(thread), state };
        Ok(())
    }

    fn pack_all(&self, before: Tid) -> Result<(), Failure> {
        self.refusal()?;
        self.replication.check_whole()?;
        // What is committed from now on is kept in any case; a pack never goes back.
        let to = before.min(self.publisher.last_tid()).max(self.packer.packed_to());
        if to == Tid::ZERO {
            return Ok(());
        }
        let parts = self.log.parts(to)?;
        self.packer.work().state.parts = parts.len() as u64;
        self.packer.remember(Packed { to, stage: Stage::UnderWay })?;
        self.packer.packed_to.store(to.0, Ordering::Release);
        // What is dropped may be all that tells of an oid.
        self.oids.secure().map_err(|error| {
            let name = self.log.name();
            Failure::Storage(format!("{name}: cannot write which oids were used: {error}"))
        })?;
        let (began, bytes) = (Instant::now(), self.log.size_bytes());
        tracing::info!("{}: packing to {to}: {bytes} bytes", self.log.name());
        let mut told = began;
        for part in parts {
            if self.packer.is_closing() || !self.pack_part(part, to)? {
                return Err(Failure::Storage(
                    "the storage is closed; the pack goes on with the next start".to_owned(),
                ));
            }
            self.packer.work().state.parts_done += 1;
            if told.elapsed() >= NEWS_EVERY {
                told = Instant::now();
                let PackState { parts_done, parts, bytes_freed, .. } = self.packer.state();
                let name = self.log.name();
                tracing::info!(
                    "{name}: packed {parts_done} of {parts} parts, {bytes_freed} bytes freed"
                );
            }
        }
        self.packer.remember(Packed { to, stage: Stage::Done })?;
        let PackState { records_dropped, bytes_freed, .. } = self.packer.finish(to, &*self.clock);
        tracing::info!(
            "{}: packed: {records_dropped} records dropped, {bytes_freed} bytes freed in {:.1} s; \
             {bytes} bytes before, {} now",
            self.log.name(),
            began.elapsed().as_secs_f64(),
            self.log.size_bytes()
        );
        Ok(())
    }

    /// `false`: cancelled.
    fn pack_part(&self, part: u32, to: Tid) -> Result<bool, Failure> {
        let mut dropped: Vec<(Oid, Tid)> = Vec::new();
        self.log.visit(part, &mut |oid, tid| {
            if tid <= to && !self.keeps(oid, tid, to) {
                dropped.push((oid, tid));
            }
        })?;
        if dropped.is_empty() {
            return Ok(true);
        }
        dropped.sort_unstable();
        for object in dropped.chunk_by(|one, other| one.0 == other.0) {
            self.drop_revisions(object)?;
        }
        let rewritten = self.log.rewrite(
            part,
            &mut Plan {
                to,
                keeps: &|oid, tid| self.is_indexed(oid, tid),
                await_published: &|| {
                    drop(self.committing());
                },
                moved: &mut |oid, tid, place| self.index.relocate(oid, tid, place),
                is_cancelled: &|| self.packer.is_closing(),
            },
        )?;
        let Rewritten::Freed(bytes) = rewritten else { return Ok(false) };
        let state = &mut self.packer.work().state;
        state.records_dropped += dropped.len() as u64;
        state.bytes_freed += bytes;
        Ok(true)
    }

    /// Nobody finds these revisions of an object any more. Their blobs go before the records do, so
    /// that what a crash leaves is removed by the pack that goes on. The record of a blob does not
    /// always say that it has one.
    fn drop_revisions(&self, revisions: &[(Oid, Tid)]) -> Result<(), Failure> {
        let Some(&(oid, _)) = revisions.first() else { return Ok(()) };
        let tids: Vec<Tid> = revisions.iter().map(|(_, tid)| *tid).collect();
        self.index.forget(oid, &tids);
        let removed = self.blobs.as_ref().map_or(Ok(()), |blobs| blobs.remove(oid, &tids));
        removed
            .map_err(|error| Failure::Storage(format!("removing blobs of object {oid}: {error}")))
    }

    /// Whether a revision is the one of its object as of `to`, and has data.
    fn keeps(&self, oid: Oid, tid: Tid, to: Tid) -> bool {
        match self.index.find(oid, Which::Before(to.next())) {
            Lookup::Revision { revision, .. } => revision.tid == tid && revision.place.has_data(),
            Lookup::Unknown | Lookup::Younger => false,
        }
    }

    pub(crate) fn is_indexed(&self, oid: Oid, tid: Tid) -> bool {
        matches!(self.index.find(oid, Which::Serial(tid)), Lookup::Revision { .. })
    }
}
