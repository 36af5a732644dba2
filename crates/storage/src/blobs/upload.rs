//! A blob on its way into the directory.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::{Failure, Oid, Tid};

use super::names::{intent_name, upload_name};
use super::{BlobStore, ignore_missing};
use crate::disk::{File, Open};
use crate::mailbox::{Completion, ReplyTo};

/// A blob that belongs to no revision yet. When all clones are dropped, what is on disk is removed,
/// on another thread.
///
/// What goes wrong with it is told by the vote of its transaction.
#[derive(Clone)]
pub struct Upload(Arc<Inner>);

struct Inner {
    store: Arc<BlobStore>,
    number: u64,
    source: Source,
    queue: Mutex<Queue>,
    /// Held while the disk is asked.
    work: Mutex<Work>,
    /// Everything that can be done before there is a tid is done and durable.
    ready: AtomicBool,
}

/// Where the bytes are from.
#[derive(Debug)]
pub(super) enum Source {
    Chunks,
    /// A file that a client has made.
    Shared(PathBuf),
    /// The blob of another revision.
    Copy(PathBuf),
}

/// What was received and is not written.
#[derive(Default)]
struct Queue {
    chunks: Vec<(Bytes, ReplyTo)>,
    /// A job for it is under way.
    scheduled: bool,
}

#[derive(Default)]
struct Work {
    /// `None` before the first byte, and when it is synced.
    file: Option<Arc<dyn File>>,
    len: u64,
    stage: Stage,
    intent: Option<PathBuf>,
    failed: Option<String>,
}

/// How far it is.
#[derive(Default, Debug, PartialEq, Eq)]
enum Stage {
    /// No file is its own.
    #[default]
    Nowhere,
    /// It is in the directory for unfinished files.
    Temporary,
    /// Same, and it is whole, durable, and has an intent.
    Settled,
    /// It has its name, or may have, and the record is not in the log.
    Placed { object: PathBuf, path: PathBuf },
    /// It had its name, which the disk may remember.
    TakenBack { object: PathBuf },
    /// Nothing of it is to be removed.
    Kept,
}

impl Upload {
    pub(super) fn new(store: &Arc<BlobStore>, source: Source) -> Self {
        Self(Arc::new(Inner {
            store: Arc::clone(store),
            number: store.number(),
            source,
            queue: Mutex::default(),
            work: Mutex::default(),
            ready: AtomicBool::new(false),
        }))
    }

    /// Appends bytes, on another thread; [`Completion::BlobTaken`] when it is done, well or not.
    pub fn write(&self, data: Bytes, reply: ReplyTo) {
        let mut queue = self.queue();
        queue.chunks.push((data, reply));
        if !std::mem::replace(&mut queue.scheduled, true) {
            drop(queue);
            self.schedule();
        }
    }

    /// Appends bytes on this thread, which may block. What goes wrong is told when the blob's
    /// transaction is to be.
    pub fn write_here(&self, data: &[u8]) {
        let mut work = self.work();
        if work.failed.is_none()
            && let Err(error) = self.append_slices(&mut work, &[IoSlice::new(data)])
        {
            work.failed = Some(self.failure(&self.0.temporary(), &error));
        }
    }

    /// All bytes have come, and the blob will be that of `oid`: syncs it on another thread, so
    /// that the vote need not; [`Completion::BlobTaken`] when that is done, well or not.
    pub fn end(&self, oid: Oid, reply: ReplyTo) {
        let upload = self.clone();
        self.0.store.run(move || {
            // A failure is kept for the vote.
            let _settled = upload.settle(oid);
            reply.send(Completion::BlobTaken);
        });
    }

    fn schedule(&self) {
        let upload = self.clone();
        self.0.store.run(move || upload.write_queued());
    }

    /// Writes what is there and asks for another turn, so that uploads take turns.
    fn write_queued(&self) {
        let mut work = self.work();
        let mut queue = self.queue();
        let chunks = std::mem::take(&mut queue.chunks);
        queue.scheduled = !chunks.is_empty();
        drop(queue);
        if chunks.is_empty() {
            return;
        }
        self.append(&mut work, chunks);
        drop(work);
        self.schedule();
    }

    fn append(&self, work: &mut Work, chunks: Vec<(Bytes, ReplyTo)>) {
        if work.failed.is_none()
            && let Err(error) = self.try_append(work, &chunks)
        {
            work.failed = Some(self.failure(&self.0.temporary(), &error));
        }
        chunks.into_iter().for_each(|(_, reply)| reply.send(Completion::BlobTaken));
    }

    fn try_append(&self, work: &mut Work, chunks: &[(Bytes, ReplyTo)]) -> io::Result<()> {
        chunks.chunks(CHUNKS_MAX).try_for_each(|some| {
            let slices: Vec<_> = some.iter().map(|(data, _)| IoSlice::new(data)).collect();
            self.append_slices(work, &slices)
        })
    }

    fn append_slices(&self, work: &mut Work, slices: &[IoSlice<'_>]) -> io::Result<()> {
        self.file(work)?.write_all_at(slices, work.len)?;
        work.len += slices.iter().map(|slice| slice.len() as u64).sum::<u64>();
        Ok(())
    }

    fn file(&self, work: &mut Work) -> io::Result<Arc<dyn File>> {
        if let Some(file) = &work.file {
            return Ok(Arc::clone(file));
        }
        let file = self.0.store.disk.open(&self.0.temporary(), Open::New)?;
        work.stage = Stage::Temporary;
        work.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Whether [`Self::settle`] need not be called, nor the directory for unfinished files be synced.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// The directory for unfinished files is synced after [`Self::settle`].
    pub(crate) fn set_ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// Does what can be done before there is a tid; may block.
    pub(crate) fn settle(&self, oid: Oid) -> Result<(), Failure> {
        let mut work = self.work();
        let rest = std::mem::take(&mut self.queue().chunks);
        if !rest.is_empty() {
            self.append(&mut work, rest);
        }
        let is_due = matches!(work.stage, Stage::Nowhere | Stage::Temporary);
        if is_due && work.failed.is_none() {
            match self.try_settle(&mut work, oid) {
                Ok(()) => work.stage = Stage::Settled,
                Err(what) => work.failed = Some(what),
            }
        }
        match &work.failed {
            None => Ok(()),
            Some(what) => Err(Failure::Storage(format!("the blob of object {oid}: {what}"))),
        }
    }

    fn try_settle(&self, work: &mut Work, oid: Oid) -> Result<(), String> {
        let store = &self.0.store;
        let temporary = self.0.temporary();
        let failed = |error: io::Error| self.failure(&temporary, &error);
        let file = self.whole_file(work)?;
        let object = store.make_object_dir(oid).map_err(failed)?;
        // It may be another user's, who shares the directory; then it stays as that one made it.
        match store.disk.make_read_only(&temporary, &object) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(failed(error));
            }
            _ => {}
        }
        file.sync().map_err(failed)?;
        let intent = store.private().join(intent_name(oid, self.0.number));
        work.intent = Some(intent.clone());
        store.disk.open(&intent, Open::New).map_err(|error| self.failure(&intent, &error))?;
        work.file = None;
        Ok(())
    }

    /// The file with all its bytes, wherever they are from.
    fn whole_file(&self, work: &mut Work) -> Result<Arc<dyn File>, String> {
        let disk = &self.0.store.disk;
        let temporary = self.0.temporary();
        let failed = |error: io::Error| self.failure(&temporary, &error);
        match &self.0.source {
            Source::Chunks => return self.file(work).map_err(failed),
            Source::Shared(path) => {
                let not_shared = |error: io::Error| not_shared(path, &error);
                if !disk.is_file(path).map_err(not_shared)? {
                    return Err(format!("{} is not a file", path.display()));
                }
                // From here on it is swept and removed as what was sent is.
                disk.rename(path, &temporary).map_err(not_shared)?;
                work.stage = Stage::Temporary;
            }
            Source::Copy(path) => {
                work.stage = Stage::Temporary;
                if disk.link(path, &temporary).is_err() {
                    return self.copy(work, path);
                }
            }
        }
        disk.open(&temporary, Open::ReadOnly).map_err(failed)
    }

    /// For file systems without links.
    fn copy(&self, work: &mut Work, from: &Path) -> Result<Arc<dyn File>, String> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| self.failure(&path, &error)
        };
        let old = self.0.store.disk.open(from, Open::ReadOnly).map_err(failed(from))?;
        let new = self.file(work).map_err(failed(&self.0.temporary()))?;
        let len = old.len().map_err(failed(from))?;
        while work.len < len {
            let piece = (len - work.len).min(COPIED_BYTES);
            let mut data = vec![0; piece as usize];
            old.read_exact_at(&mut data, work.len).map_err(failed(from))?;
            let slices = [IoSlice::new(&data)];
            new.write_all_at(&slices, work.len).map_err(failed(&self.0.temporary()))?;
            work.len += piece;
        }
        Ok(new)
    }

    #[cfg(test)]
    pub(super) fn copy_from(&self, from: &Path) -> Result<(), String> {
        self.copy(&mut self.work(), from).map(drop)
    }

    /// Gives the file its name, durably; may block. No effect when it has it.
    pub(crate) fn place(&self, oid: Oid, tid: Tid) -> Result<(), String> {
        let store = &self.0.store;
        let mut work = self.work();
        if work.stage != Stage::Settled {
            return Ok(());
        }
        let (object, path) = (store.object_dir(oid), store.path(oid, tid));
        work.stage = Stage::Placed { object: object.clone(), path: path.clone() };
        let renamed = store.disk.rename(&self.0.temporary(), &path);
        renamed
            .and_then(|()| store.disk.sync_dir(&object))
            .map_err(|error| format!("the blob of object {oid}: {}", self.failure(&path, &error)))
    }

    /// Takes the name away again, which the next transaction may get; may block.
    pub(crate) fn take_back(&self) {
        let mut work = self.work();
        let Stage::Placed { object, path } = std::mem::take(&mut work.stage) else {
            return;
        };
        match ignore_missing(self.0.store.disk.rename(&path, &self.0.temporary())) {
            Ok(()) => work.stage = Stage::TakenBack { object },
            Err(error) => {
                tracing::warn!("cannot remove {}: {error}; the next start does", path.display());
                (work.stage, work.intent) = (Stage::Kept, None);
            }
        }
    }

    /// Its record is in the log.
    pub(crate) fn keep(&self) {
        self.work().stage = Stage::Kept;
    }

    /// It is not known whether its record is in the log: only the next start can tell.
    pub(crate) fn leave(&self) {
        let mut work = self.work();
        work.stage = Stage::Kept;
        work.intent = None;
    }

    fn failure(&self, path: &Path, error: &io::Error) -> String {
        let text = format!("cannot write {}: {error}", path.display());
        tracing::error!("{text}");
        text
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics under it.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        // A panic of a pool's thread ends the process.
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn temporary(&self) -> PathBuf {
        self.store.private().join(upload_name(self.number))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let work = std::mem::take(self.work.get_mut().unwrap_or_else(PoisonError::into_inner));
        let Work { stage, intent, .. } = work;
        let (file, object) = match stage {
            // Only the next start can tell.
            Stage::Placed { .. } => return,
            Stage::Nowhere | Stage::Kept => (None, None),
            Stage::Temporary | Stage::Settled => (Some(self.temporary()), None),
            Stage::TakenBack { object } => (Some(self.temporary()), Some(object)),
        };
        if file.is_some() || intent.is_some() {
            let store = Arc::clone(&self.store);
            self.store.run(move || store.clear(file, object, intent));
        }
    }
}

impl BlobStore {
    /// Removes what an upload has left. The intent goes last, when the object's directory is as
    /// it should be.
    fn clear(&self, file: Option<PathBuf>, object: Option<PathBuf>, intent: Option<PathBuf>) {
        let remove = |path: PathBuf| ignore_missing(self.disk.remove(&path));
        let clear = || -> io::Result<()> {
            file.map_or(Ok(()), remove)?;
            object.map_or(Ok(()), |object| self.disk.sync_dir(&object))?;
            intent.map_or(Ok(()), remove)
        };
        if let Err(error) = clear() {
            let dir = self.private();
            tracing::warn!("{}: cannot clear up: {error}; the next start does", dir.display());
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("number", &self.0.number).finish_non_exhaustive()
    }
}

fn not_shared(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound {
        return format!("cannot take {}: {error}", path.display());
    }
    format!(
        "the client says that it has put a file at {}, and it is not there: with a shared blob \
         directory, client and server must have the same directory, the server as ?blobs=DIR and \
         the client as blob_dir; a client without it must set shared_blob_dir to false",
        path.display()
    )
}

/// As many as the system takes in one call.
const CHUNKS_MAX: usize = 1024;

const COPIED_BYTES: u64 = 1 << 20;
