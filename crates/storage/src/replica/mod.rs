//! What replication asks of a storage: all transactions in the order of their tids, on one side, and
//! a place to put them, on the other.
//!
//! A [`Feed`] reads them from the log, as far as they are durable, whether or not they are published
//! yet; [`Incoming`] takes them, as they are, and makes them durable and visible many at a time. With
//! each goes the running [`Digest`] over all before it, so that two histories that differ are never
//! glued together. All of this may wait for the disk, and is not for sessions.

mod feed;
mod incoming;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use protocol::{Failure, Tid};

use crate::blobs::{BlobFile, Upload};
use crate::core::Core;
use crate::disk::{self, Disk};
use crate::mailbox::Wake;
use crate::oids;

pub use crate::log::{Digest, Position};
pub use feed::{Feed, Step};
pub use incoming::Incoming;

/// Who changes a storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Its clients do.
    #[default]
    Primary,
    /// It takes what its primary has committed; clients may read.
    Secondary,
    /// The same, and it does not have yet all that its primary has packed away the rest of: until
    /// then it is nobody's to read.
    Copying,
    /// Nobody: another one has become the primary.
    Fenced,
}

impl Role {
    const ALL: [Self; 4] = [Self::Primary, Self::Secondary, Self::Copying, Self::Fenced];
}

/// Why a storage with [`Role::Copying`] is not read.
pub fn still_copying() -> Failure {
    Failure::Storage(
        "this storage has not yet got all that its primary had when it was last packed".to_owned(),
    )
}

/// Who has a word in when a commit is answered.
pub trait Approve: Send + Sync {
    /// All up to `tid` is durable here; returns when it may be seen and answered, on the committer's
    /// thread.
    ///
    /// # Errors
    ///
    /// Why it never may: it stays in the log, and the storage refuses writes from then on.
    fn approve(&self, tid: Tid) -> Result<(), Failure>;
}

/// A storage's part in replication.
pub(crate) struct Replication {
    role: AtomicU8,
    log: Mutex<Log>,
    approval: OnceLock<Arc<dyn Approve>>,
    note: Note,
}

#[derive(Default)]
struct Log {
    end: Position,
    /// Who is woken when it grows.
    watchers: Vec<Weak<dyn Wake>>,
}

impl Replication {
    pub(crate) fn new(role: Role, end: Position, note: Note) -> Self {
        let role = AtomicU8::new(role as u8);
        let log = Mutex::new(Log { end, watchers: Vec::new() });
        Self { role, log, approval: OnceLock::new(), note }
    }

    pub(crate) fn role(&self) -> Role {
        let role = usize::from(self.role.load(Ordering::Acquire));
        Role::ALL.get(role).copied().unwrap_or(Role::Fenced)
    }

    /// Fails if this is not the one who changes the storage now.
    pub(crate) fn check(&self, who: Role) -> Result<(), Failure> {
        if self.role() == who { Ok(()) } else { Err(Failure::ReadOnly) }
    }

    /// Fails if the storage is not whole yet.
    pub(crate) fn check_whole(&self) -> Result<(), Failure> {
        match self.role() {
            Role::Copying => Err(still_copying()),
            Role::Primary | Role::Secondary | Role::Fenced => Ok(()),
        }
    }

    /// Waits until what clients have committed up to `tid` may be answered.
    pub(crate) fn approve(&self, tid: Tid) -> Result<(), Failure> {
        self.approval.get().map_or(Ok(()), |approval| approval.approve(tid))
    }

    fn set_role(&self, role: Role) {
        self.role.store(role as u8, Ordering::Release);
    }

    fn position(&self) -> Position {
        self.log().end
    }

    /// The log ends here now.
    pub(crate) fn grown(&self, position: Position) {
        let mut log = self.log();
        log.end = position;
        if !log.watchers.is_empty() {
            log.watchers
                .retain(|watcher| watcher.upgrade().map(|watcher| watcher.wake()).is_some());
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // A change is one assignment.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replication")
            .field("role", &self.role())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// A short text that is kept with a storage, of which it knows nothing.
#[derive(Debug)]
pub(crate) enum Note {
    /// `DIR/epochs`.
    File {
        disk: Arc<dyn Disk>,
        dir: PathBuf,
    },
    Memory(Mutex<Option<Vec<u8>>>),
}

const NOTE: &str = "epochs";
const NOTE_BYTES_MAX: usize = 1 << 20;

impl Note {
    fn read(&self) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Memory(kept) => Ok(kept.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            Self::File { disk, dir } => {
                match disk::read_start(&**disk, &dir.join(NOTE), NOTE_BYTES_MAX) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    read => read.map(Some),
                }
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(kept) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes.to_vec());
                Ok(())
            }
            Self::File { disk, dir } => oids::replace(&**disk, dir, NOTE, bytes),
        }
    }
}

/// A storage as replication sees it. Clones are of the same storage.
#[derive(Clone)]
pub struct Replica(Arc<Core>);

impl Replica {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self(Arc::clone(core))
    }

    /// Up to where it has all, durably; what is published may be less, for a moment.
    pub fn position(&self) -> Position {
        self.0.replication.position()
    }

    /// The digest over all up to transaction `tid`; `None` if there is no such transaction, or none
    /// any more.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] for what cannot be read.
    pub fn digest_at(&self, tid: Tid) -> Result<Option<Digest>, Failure> {
        let next = self.0.log.follow(tid)?.cursor.next()?;
        let next = next.filter(|transaction| transaction.head.tid == tid);
        Ok(next.map(|transaction| transaction.digest))
    }

    /// The tid of the last transaction below `tid`; `None`: there is none.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] for what cannot be read.
    pub fn tid_before(&self, tid: Tid) -> Result<Option<Tid>, Failure> {
        let before = self.0.log.follow(tid)?.cursor.previous()?;
        Ok(before.map(|transaction| transaction.head.tid))
    }

    /// Up to here revisions that are not current as of here may be gone.
    pub fn packed_to(&self) -> Tid {
        self.0.packed_to()
    }

    /// Who changes it.
    pub fn role(&self) -> Role {
        self.0.replication.role()
    }

    /// Has clients change it, or replication, or nobody; what others had begun is over when this
    /// returns. The same again is no change.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if the storage is not whole yet; it must go on as [`Role::Copying`].
    pub fn set_role(&self, role: Role) -> Result<(), Failure> {
        let _nobody_commits = self.0.committing();
        match role {
            Role::Secondary | Role::Copying => {}
            Role::Primary | Role::Fenced => self.0.replication.check_whole()?,
        }
        if self.role() != Role::Copying {
            self.0.replication.set_role(role);
        }
        Ok(())
    }

    /// Makes an empty storage one that is becoming a copy of another one, of which revisions up to
    /// `packed_to` may be gone.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if it is not empty, or that cannot be written.
    pub fn begin_copy(&self, packed_to: Tid) -> Result<(), Failure> {
        let _nobody_commits = self.0.committing();
        self.0.replication.check(Role::Secondary)?;
        if self.position() != Position::default() {
            return Err(Failure::Storage("a storage with transactions becomes no copy".to_owned()));
        }
        self.0.packer.adopt(packed_to)?;
        self.0.replication.set_role(Role::Copying);
        Ok(())
    }

    /// Reads all transactions after `after`; `None`: some of what follows is packed away, and only
    /// a feed from [`Tid::ZERO`] is right, for a storage that has nothing.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] for what cannot be read.
    pub fn feed(&self, after: Tid) -> Result<Option<Feed>, Failure> {
        Feed::new(&self.0, after)
    }

    /// Takes transactions, after what is there.
    pub fn incoming(&self) -> Incoming {
        Incoming::new(&self.0)
    }

    /// Has `watcher` woken whenever there is more to read, until it is dropped. That must not ask this.
    pub fn watch(&self, watcher: &Arc<dyn Wake>) {
        self.0.replication.log().watchers.push(Arc::downgrade(watcher));
    }

    /// Has commits of clients wait for `approval`, from now on and for good.
    pub fn set_approval(&self, approval: Arc<dyn Approve>) {
        // Whoever was first stays.
        let _kept = self.0.replication.approval.set(approval);
    }

    /// What [`Self::set_note`] was given last.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn note(&self) -> io::Result<Option<Vec<u8>>> {
        self.0.replication.note.read()
    }

    /// Keeps what replication wants to know at the next start; durable when this returns.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn set_note(&self, note: &[u8]) -> io::Result<()> {
        self.0.replication.note.write(note)
    }

    /// A place for a blob of a transaction that is coming in.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if there are no blobs.
    pub fn upload(&self) -> Result<Upload, Failure> {
        Ok(self.0.blob_store()?.upload())
    }

    /// Whether it keeps blobs.
    pub fn has_blobs(&self) -> bool {
        self.0.blobs.is_some()
    }

    /// The blob of a revision that says that it has one; `None` if a pack has dropped both.
    ///
    /// # Errors
    ///
    /// [`Failure::UnknownBlob`] if its file is missing.
    pub fn blob(&self, oid: protocol::Oid, tid: Tid) -> Result<Option<BlobFile>, Failure> {
        let opened = self.0.blob_store()?.open(oid, tid);
        let is_dropped = || tid <= self.packed_to() && !self.0.is_indexed(oid, tid);
        match opened {
            Err(_) if is_dropped() => Ok(None),
            opened => opened.map(Some),
        }
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replica").field(&self.0.log.name()).finish()
    }
}
