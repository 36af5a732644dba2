//! What a `file:` storage's directory holds at one moment, read without its lock and without a
//! change, also while a server writes to it and packs it.
//!
//! Each race with a server is either harmless or seen. Files have the length that they had when they
//! were opened, so transactions that come later are not there, and one that is half written is a torn
//! end. Segments are closed before the next one begins, so what precedes a segment that is there is
//! whole. A segment's index is opened before the segment and so says no more than that has; that of a
//! file which a pack replaces does not fit the other one, and the segment is read. A file that was
//! replaced stays open. How far the storage is packed is read after the log, and was written before.
//! What remains (a name that comes or goes between two looks, an append that was taken back) looks
//! like damage, and is looked at again.

mod kept;
mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Failure, Oid, Tid, TransactionHead, TransactionRecord};

use crate::blobs;
use crate::directory::{Content, FORMAT};
use crate::disk::{Disk, FrozenDisk};
use crate::log::Digest;
use crate::log::read::{LoggedTransaction, RecordCursor};
use crate::log::segments::{LogView, ViewCursor};
use crate::open::{OpenError, Options};

pub use crate::log::segments::Torn;
pub use kept::Kept;
pub use verify::{Fault, Findings, verify};

/// See the module.
///
/// The newest transactions may be ones whose finish was not answered yet: they are what a start
/// after a crash would find.
#[derive(Debug)]
pub struct Snapshot {
    log: LogView,
    packed_to: Tid,
    blobs: Option<PathBuf>,
}

/// More than a server's changes can spoil in a row; real damage stays.
const ATTEMPTS: usize = 5;

impl Snapshot {
    /// Reads what is in `dir`, whose blobs are in the directory `blobs`; takes the time of a start of
    /// that storage, and as much memory until it returns.
    ///
    /// # Errors
    ///
    /// [`OpenError::Missing`] if there is no storage; what [`crate::prepare`] says of one that is
    /// not right.
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path, blobs: Option<&Path>) -> Result<Self, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(FrozenDisk(Arc::clone(disk)));
        let content = read(&disk, dir)?;
        if let Some(blobs) = blobs {
            blobs::check_directory(&*disk, blobs)?;
        }
        let Content { log, packed, .. } = content;
        let blobs = blobs.map(Path::to_owned);
        Ok(Self { log: log.view(), packed_to: packed.to, blobs })
    }

    /// The newest transaction; [`Tid::ZERO`] if there is none.
    pub fn last_tid(&self) -> Tid {
        self.log.last_tid()
    }

    /// Of the log: all that [`Transactions`] goes through, and a little more.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Up to here revisions that are not current as of here may be gone; [`Tid::ZERO`] if the storage was never
    /// packed.
    pub fn packed_to(&self) -> Tid {
        self.packed_to
    }

    /// What follows the last whole transaction, if something does.
    pub fn torn(&self) -> Option<&Torn> {
        self.log.torn()
    }

    /// Where the blob of a revision is; `None` if no blob directory was named. Only a record that
    /// says so has a blob, and a pack that is under way may have removed it.
    pub fn blob_path(&self, oid: Oid, tid: Tid) -> Option<PathBuf> {
        self.blobs.as_ref().map(|dir| blobs::blob_path(dir, oid, tid))
    }

    /// The transactions from `from` to `to`, both included, by ascending tid.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] for what cannot be read.
    pub fn transactions(&self, from: Tid, to: Tid) -> Result<Transactions, Failure> {
        Ok(Transactions { cursor: self.log.seek(from, to)?, records: None })
    }

    /// The `count`th transaction from the end, or the first one if there are fewer; `None` if there
    /// is none.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] for what cannot be read.
    pub fn from_end(&self, count: u64) -> Result<Option<Tid>, Failure> {
        let mut cursor = self.log.seek(Tid::MAX, Tid::MAX)?;
        let mut tid = None;
        for _ in 0..count {
            match cursor.previous()? {
                Some(transaction) => tid = Some(transaction.head.tid),
                None => break,
            }
        }
        Ok(tid)
    }
}

/// A place in a walk over transactions and the records of each. All checksums are checked; the last
/// ones of a transaction at its end.
#[derive(Debug)]
pub struct Transactions {
    cursor: ViewCursor,
    /// What is left of the transaction.
    records: Option<Box<dyn RecordCursor>>,
}

/// A transaction of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// All but its records.
    pub head: TransactionHead,
    /// What it takes in the log.
    pub bytes: u64,
    /// Over it as it was committed, and all before it.
    pub digest: Digest,
    /// The segment that it is in.
    pub path: PathBuf,
    /// Where it begins there.
    pub offset: u64,
}

impl Transactions {
    /// The next transaction; records of the one before that were not asked for are passed over.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] names what cannot be read; the walk is over then.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<Transaction>, Failure> {
        if let Some(mut records) = self.records.take() {
            while records.skip()?.is_some() {}
        }
        let Some((transaction, path, offset)) = self.cursor.next()? else { return Ok(None) };
        let LoggedTransaction { head, bytes, digest, records } = transaction;
        self.records = Some(records);
        Ok(Some(Transaction { head, bytes, digest, path, offset }))
    }

    /// Whose all records of the transaction are, in their order; 8 bytes of memory for each.
    ///
    /// # Errors
    ///
    /// See [`Self::next`].
    pub fn oids(&self) -> Result<Vec<Oid>, Failure> {
        let Some(records) = &self.records else { return Ok(Vec::new()) };
        let mut records = records.again();
        let mut oids = Vec::new();
        while let Some(oid) = records.skip()? {
            oids.push(oid);
        }
        Ok(oids)
    }

    /// The next record of the transaction.
    ///
    /// # Errors
    ///
    /// See [`Self::next`].
    pub fn next_record(&mut self) -> Result<Option<TransactionRecord>, Failure> {
        self.records.as_mut().map_or(Ok(None), |records| records.next())
    }
}

/// Looks again at what may be a server's change, and not damage.
fn read(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Content, OpenError> {
    let options = Options { invalidation_queue_size: 0, ..Options::default() };
    let mut attempts = 0;
    loop {
        attempts += 1;
        match Content::find(disk, dir, &options) {
            Ok(Some(content)) => return Ok(content),
            Ok(None) => return Err(OpenError::Missing(dir.join(FORMAT))),
            Err(error) if attempts == ATTEMPTS || !may_pass(&error) => return Err(error),
            Err(_) => {}
        }
    }
}

fn may_pass(error: &OpenError) -> bool {
    match error {
        OpenError::Damaged { .. } | OpenError::Missing(_) | OpenError::Foreign(_) => true,
        OpenError::Io { error, .. } | OpenError::Read { error, .. } => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}
