//! A storage of our own as a source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use datafs::{Record, Status, Transaction};
use protocol::{Failure, Oid, Tid};
use storage::Snapshot;
use storage::disk::{Disk, RealDisk};
use storage::snapshot::{Kept, Transactions};

use super::blobs::BlobFolder;
use super::{Encoding, Extent, Head, Source};

/// A storage that is read, as of the moment at which it was opened. A server may go on using it.
#[derive(Debug)]
pub(crate) struct StoreSource {
    dir: PathBuf,
    blobs: Option<BlobFolder>,
    log: Snapshot,
    transactions: Transactions,
    /// Bytes of the transactions that were read.
    done: u64,
    /// No transaction above this is shown.
    until: Tid,
    status: Status,
    /// Of the record that was read last, if it has a blob.
    blob: Option<(Oid, Tid)>,
    /// What the storage has when a blob is not found.
    kept: Option<Kept>,
    /// Records that were passed over since the last seek: a pack has removed their blobs since the
    /// opening.
    pub(crate) packed_away: u64,
}

impl StoreSource {
    pub(crate) fn open(dir: &Path, blobs: Option<&Path>) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let log = Snapshot::open(&disk, dir, None)
            .with_context(|| format!("cannot read the storage {}", dir.display()))?;
        let transactions = log.transactions(Tid::ZERO, Tid::MAX).map_err(failed)?;
        Ok(Self {
            dir: dir.to_owned(),
            blobs: blobs.map(BlobFolder::open).transpose()?,
            log,
            transactions,
            done: 0,
            until: Tid::MAX,
            status: Status::Complete,
            blob: None,
            kept: None,
            packed_away: 0,
        })
    }

    /// Whether a record has a blob that a pack has removed, as it will drop the record.
    fn is_packed_away(&mut self, oid: Oid, tid: Tid) -> Result<bool> {
        if self.blobs.as_ref().is_none_or(|folder| folder.find(oid, tid).is_some()) {
            return Ok(false);
        }
        if self.kept.as_ref().is_some_and(|kept| kept.has_dropped(oid, tid)) {
            return Ok(true);
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let kept = Kept::read(&disk, &self.dir)
            .with_context(|| format!("cannot read the storage {}", self.dir.display()))?;
        Ok(self.kept.insert(kept).has_dropped(oid, tid))
    }

    /// Shows no transaction above `until`.
    pub(crate) fn limit(&mut self, until: Tid) {
        self.until = until;
    }
}

impl Source for StoreSource {
    fn name(&self) -> String {
        self.dir.display().to_string()
    }

    fn extent(&self) -> Extent {
        Extent { done: self.done, total: self.log.bytes() }
    }

    fn packed_to(&self) -> Tid {
        self.kept.as_ref().map_or_else(|| self.log.packed_to(), Kept::packed_to)
    }

    fn seek_after(&mut self, tid: Tid) -> Result<bool> {
        self.packed_away = 0;
        let mut at = self.log.transactions(tid, Tid::MAX).map_err(failed)?;
        let is_there = at.next().map_err(failed)?.is_some_and(|found| found.head.tid == tid);
        self.transactions = if is_there {
            at
        } else {
            self.log.transactions(Tid(tid.0.saturating_add(1)), Tid::MAX).map_err(failed)?
        };
        Ok(is_there)
    }

    fn next_transaction(&mut self) -> Result<Option<Head>> {
        let Some(found) = self.transactions.next().map_err(failed)? else {
            return Ok(None);
        };
        self.done += found.bytes;
        let head = found.head;
        if head.tid > self.until {
            return Ok(None);
        }
        self.status = Status::from_byte(head.status).unwrap_or(Status::Complete);
        let transaction = Transaction {
            tid: head.tid,
            status: self.status,
            user: head.user,
            description: head.description,
            extension: head.extension,
        };
        Ok(Some(Head { transaction, encoding: Encoding::MessagePack }))
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        let record = loop {
            let Some(record) = self.transactions.next_record().map_err(failed)? else {
                return Ok(None);
            };
            self.blob = record.has_blob.then_some((record.oid, record.tid));
            if !record.has_blob || !self.is_packed_away(record.oid, record.tid)? {
                break record;
            }
            self.packed_away += 1;
        };
        // FileStorage's packs take the pointers away, and mark the transactions.
        let linked = self.status != Status::Packed;
        Ok(Some(Record { oid: record.oid, data: record.data, origin: record.origin, linked }))
    }

    fn blob(&self) -> Result<Option<PathBuf>> {
        let Some((oid, tid)) = self.blob else { return Ok(None) };
        let folder = self.blobs.as_ref().with_context(|| {
            format!(
                "object {oid} has a blob in transaction {tid}: --blobs must say where blobs are"
            )
        })?;
        let missing = || {
            anyhow!(
                "{} is missing, the blob of object {oid} in transaction {tid}; if the storage was \
                 packed just now, the same command goes on",
                folder.file(oid, tid).display()
            )
        };
        folder.find(oid, tid).ok_or_else(missing).map(Some)
    }
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}")
}
