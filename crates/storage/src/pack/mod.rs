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
use crate::index::{Lookup, Place};
use crate::log::{Plan, Rewritten};
use crate::mailbox::{Completion, ReplyTo};
use crate::sync::thread::{self, JoinHandle};
use crate::vital::vital;

pub(crate) use file::{Packed, PackedFile};

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

#[derive(Debug, Default)]
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
}

impl Packer {
    pub(crate) fn new(file: Option<PackedFile>, packed: Packed) -> Self {
        let packed_to = AtomicU64::new(packed.to.0);
        let work = Mutex::default();
        Self { file, packed_to, is_closing: AtomicBool::new(false), work }
    }

    pub(crate) fn packed_to(&self) -> Tid {
        Tid(self.packed_to.load(Ordering::Acquire))
    }

    pub(crate) fn state(&self) -> PackState {
        PackState { packed_to: self.packed_to(), ..self.work().state }
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

    fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // Every change is one assignment.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Durably.
    fn remember(&self, packed: Packed) -> Result<(), Failure> {
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
        if packed.is_done {
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
        *work = Work {
            thread: Some(thread),
            state: PackState { is_running: true, ..PackState::default() },
        };
        Ok(())
    }

    fn pack_all(&self, before: Tid) -> Result<(), Failure> {
        self.refusal()?;
        // What is committed from now on is kept in any case; a pack never goes back.
        let to = before.min(self.publisher.last_tid()).max(self.packer.packed_to());
        if to == Tid::ZERO {
            return Ok(());
        }
        let parts = self.log.parts(to)?;
        self.packer.work().state.parts = parts.len() as u64;
        self.packer.remember(Packed { to, is_done: false })?;
        self.packer.packed_to.store(to.0, Ordering::Release);
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
        self.packer.remember(Packed { to, is_done: true })?;
        let PackState { records_dropped, bytes_freed, .. } = self.packer.state();
        tracing::info!(
            "{}: packed: {records_dropped} records dropped, {bytes_freed} bytes freed in {:.1} s",
            self.log.name(),
            began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// `false`: cancelled.
    fn pack_part(&self, part: u32, to: Tid) -> Result<bool, Failure> {
        let mut dropped: Vec<(Oid, Tid, Place)> = Vec::new();
        self.log.visit(part, &mut |oid, tid, place| {
            if tid <= to && !self.keeps(oid, tid, to) {
                dropped.push((oid, tid, place));
            }
        })?;
        if dropped.is_empty() {
            return Ok(true);
        }
        for (oid, tid, _) in &dropped {
            self.index.forget(*oid, *tid);
        }
        self.remove_blobs(&dropped)?;
        let rewritten = self.log.rewrite(
            part,
            &mut Plan {
                to,
                keeps: &|oid, tid| self.is_indexed(oid, tid),
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

    /// Before the records are gone for good, so that what a crash leaves is removed by the pack that
    /// goes on. The record of a blob does not always say that it has one.
    fn remove_blobs(&self, dropped: &[(Oid, Tid, Place)]) -> Result<(), Failure> {
        let Some(blobs) = &self.blobs else { return Ok(()) };
        for (oid, tid, _) in dropped.iter().filter(|(_, _, place)| place.has_data()) {
            blobs.remove(*oid, *tid).map_err(|error| {
                Failure::Storage(format!("removing the blob of object {oid} as of {tid}: {error}"))
            })?;
        }
        Ok(())
    }

    /// Whether a revision is the one of its object as of `to`, and has data.
    fn keeps(&self, oid: Oid, tid: Tid, to: Tid) -> bool {
        match self.index.find(oid, Which::Before(to.next())) {
            Lookup::Revision { revision, .. } => revision.tid == tid && revision.place.has_data(),
            Lookup::Unknown | Lookup::Younger => false,
        }
    }

    fn is_indexed(&self, oid: Oid, tid: Tid) -> bool {
        matches!(self.index.find(oid, Which::Serial(tid)), Lookup::Revision { .. })
    }
}
