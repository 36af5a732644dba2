//! Blobs: files that are bound to records, in a directory of ZODB's `bushy` layout.
//!
//! ```text
//! DIR/.layout                             says `bushy`; see `directory`
//! DIR/0x00/.../0x2c/0x03f1....blob        a blob: a directory for each byte of the oid, the tid
//! DIR/tmp/                                for clients that share the directory; left alone
//! DIR/.zeoxide/.lock                      locked by the process that uses the directory
//! DIR/.zeoxide/7.upload                   a blob before its transaction has finished
//! DIR/.zeoxide/OID-7.intent               its object's directory may have a file too many
//! ```
//!
//! A file gets its name when its transaction gets its tid, which is before the record is in the
//! log: so there is no record without its file. The other way round, a crash can leave a file
//! without a record. It is found by an intent, an empty file which is durable before the vote is
//! answered, and so a start has to look at few directories.
//!
//! Files are synced whatever [`crate::Sync`] says: a log that a power cut makes shorter is a log of
//! an earlier time, and a blob that it makes shorter is damaged.

mod directory;
mod inventory;
mod names;
mod reader;
mod upload;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{Failure, Oid, Tid};

use crate::disk::{Disk, Lock, Open};
use crate::pool::Pool;

pub(crate) use directory::{Survey, check_directory};
pub(crate) use inventory::{Unfinished, each_blob};
use names::{file_name, is_shared_name, object_dir};
pub use reader::BlobFile;
pub use upload::Upload;

/// Where the blob of a revision is in a blob directory.
pub fn blob_path(dir: &Path, oid: Oid, tid: Tid) -> PathBuf {
    object_dir(dir, oid).join(file_name(tid))
}

/// A storage's blob directory.
pub(crate) struct BlobStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Apart from the threads that read: these wait for large syncs.
    pool: Pool,
    created: AtomicU64,
    /// Directories above those of objects whose names are durable.
    durable: Mutex<HashSet<PathBuf>>,
    _lock: Box<dyn Lock>,
}

impl BlobStore {
    /// The place for a blob whose bytes come piece by piece.
    pub(crate) fn upload(self: &Arc<Self>) -> Upload {
        Upload::new(self, upload::Source::Chunks)
    }

    /// A blob that a client has put into the directory of `oid` as `file`.
    pub(crate) fn take_shared(self: &Arc<Self>, oid: Oid, file: &str) -> Result<Upload, Failure> {
        if !is_shared_name(file) {
            let what = format!(
                "{file:?} is not a name of a file that a client shares: it ends in .tmp or in \
                 .tmp and one character, and has no '/'"
            );
            return Err(Failure::Value(what));
        }
        let path = self.object_dir(oid).join(file);
        Ok(Upload::new(self, upload::Source::Shared(path)))
    }

    /// A blob that is the same as that of revision `tid`, for an undo.
    pub(crate) fn copy(self: &Arc<Self>, oid: Oid, tid: Tid) -> Upload {
        Upload::new(self, upload::Source::Copy(self.path(oid, tid)))
    }

    /// Opens the blob of a revision that is in the log; may block.
    pub(crate) fn open(&self, oid: Oid, serial: Tid) -> Result<BlobFile, Failure> {
        let path = self.path(oid, serial);
        let opened = self.disk.open(&path, Open::ReadOnly);
        opened.and_then(|file| BlobFile::new(file, path.clone())).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return Failure::UnknownBlob { oid, serial };
            }
            let text = format!("cannot open the blob of object {oid}, {}: {error}", path.display());
            tracing::error!("{text}");
            Failure::Storage(text)
        })
    }

    /// Removes the blobs that there are of some revisions of an object, durably; may block.
    pub(crate) fn remove(&self, oid: Oid, tids: &[Tid]) -> io::Result<()> {
        let mut removed = false;
        for tid in tids {
            match self.disk.remove(&self.path(oid, *tid)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                done => {
                    done?;
                    removed = true;
                }
            }
        }
        if removed { self.disk.sync_dir(&self.object_dir(oid)) } else { Ok(()) }
    }

    /// Ends the threads after what they have to do.
    pub(crate) fn close(&self) {
        self.pool.close();
    }

    /// Runs `job` on a thread that may wait for the disk.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.pool.run(job);
    }

    /// Makes the names of uploads and intents durable, after [`Upload::settle`].
    pub(crate) fn sync_unfinished(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.private())
    }

    fn number(&self) -> u64 {
        self.created.fetch_add(1, Ordering::Relaxed)
    }

    /// Where unfinished files are.
    fn private(&self) -> PathBuf {
        self.dir.join(PRIVATE)
    }

    fn path(&self, oid: Oid, tid: Tid) -> PathBuf {
        blob_path(&self.dir, oid, tid)
    }

    fn object_dir(&self, oid: Oid) -> PathBuf {
        object_dir(&self.dir, oid)
    }

    /// Makes the directory of an object, durably.
    fn make_object_dir(&self, oid: Oid) -> io::Result<PathBuf> {
        let object = self.object_dir(oid);
        self.disk.create_dir(&object)?;
        let above: Vec<_> = object.ancestors().skip(1).take(OID_BYTES).collect();
        let mut above = above.into_iter().rev().peekable();
        while let Some(parent) = above.next() {
            // The directory of the object is new more often than not, and never remembered.
            let child = above.peek().copied();
            if child.is_none_or(|child| !self.durable().contains(child)) {
                self.disk.sync_dir(parent)?;
            }
            if let Some(child) = child {
                self.durable().insert(child.to_owned());
            }
        }
        Ok(object)
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // An insertion is whole or not there.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// The answer to whoever stores a blob where there is no directory for it.
pub(crate) fn not_configured() -> Failure {
    let what = "this storage has no blob directory: the server is to be started with \
                ?blobs=DIR behind the storage's URL, for example --storage 1=file:data?blobs=blobs";
    Failure::Unsupported(what.to_owned())
}

/// What is not there need not be removed.
fn ignore_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

const PRIVATE: &str = ".zeoxide";
const OID_BYTES: usize = 8;

/// Threads that write, sync and remove.
const THREADS: usize = 4;

#[cfg(test)]
mod tests;
