//! Copies transactions from one place to another.
//!
//! A [`Source`] yields them in tid order, a [`Sink`] appends them; [`copy`] needs to know no more of
//! either, goes on where an earlier copy has stopped, and stops in order. What both speak of are the
//! transactions and records of a `Data.fs`, since nothing else has more to say; only extensions have
//! two encodings.

mod blobs;
mod compare;
mod files;
mod log;
mod store;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use datafs::{Record, Status, Transaction, extension};
use protocol::Tid;

use crate::text::time;

pub(crate) use blobs::{BlobFolder, Transfer};
pub(crate) use compare::compare;
pub(crate) use files::{FileSink, FileSource};
pub(crate) use log::StoreSource;
pub(crate) use store::StoreSink;

/// A transaction without its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) transaction: Transaction,
    /// Of its extension.
    pub(crate) encoding: Encoding,
}

/// How an extension is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// In a `Data.fs`.
    Pickle,
    /// In a storage of ours.
    MessagePack,
}

impl Head {
    /// For people.
    fn name(&self) -> String {
        format!("transaction {} ({})", self.transaction.tid, time(self.transaction.tid))
    }

    fn with_status(mut self, status: Status) -> Self {
        self.transaction.status = status;
        self
    }

    /// The extension as a storage of ours keeps it; nothing for what it cannot keep.
    fn kept_extension(&self) -> Bytes {
        match self.encoding {
            Encoding::MessagePack => self.transaction.extension.clone(),
            Encoding::Pickle => {
                // What becomes of the others is told: see `Extensions`.
                extension::to_msgpack(&self.transaction.extension).unwrap_or_default()
            }
        }
    }
}

/// What does not come back as it was of the extensions of a `Data.fs` that a storage keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// The same content comes back, in other bytes.
    pub(crate) recoded: Changed,
    /// It cannot be kept.
    pub(crate) lost: Changed,
}

impl Extensions {
    /// Looks at the extension of a transaction that a storage keeps.
    fn note(&mut self, head: &Head) {
        let Head { transaction, encoding: Encoding::Pickle } = head else { return };
        match extension::to_msgpack(&transaction.extension) {
            Err(_) => self.lost.add(transaction.tid),
            Ok(kept) => {
                let again = extension::to_pickle(&kept);
                if !again.is_ok_and(|again| again == transaction.extension) {
                    self.recoded.add(transaction.tid);
                }
            }
        }
    }
}

/// How much an export does not write as it was, and the first transaction with that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) count: u64,
    pub(crate) first: Option<Tid>,
}

impl Changed {
    fn add(&mut self, tid: Tid) {
        self.count += 1;
        self.first.get_or_insert(tid);
    }
}

/// Where transactions come from.
pub(crate) trait Source {
    /// For people.
    fn name(&self) -> String;

    /// How much there is to read, and how much of it was read: bytes of any kind.
    fn extent(&self) -> Extent;

    /// Makes the first transaction after `tid` the next one; whether `tid` is there itself.
    fn seek_after(&mut self, tid: Tid) -> Result<bool>;

    /// The next transaction that is visible; records of the one before that were not asked for are
    /// passed over.
    fn next_transaction(&mut self) -> Result<Option<Head>>;

    /// The next record of the transaction.
    fn next_record(&mut self) -> Result<Option<Record>>;

    /// The blob of the record that was read last.
    fn blob(&self) -> Result<Option<PathBuf>>;

    /// Up to where superseded records may be missing.
    fn packed_to(&self) -> Tid {
        Tid::ZERO
    }
}

/// Where transactions go to.
pub(crate) trait Sink {
    /// For people.
    fn name(&self) -> String;

    /// The newest transaction that is there.
    fn last_tid(&self) -> Option<Tid>;

    /// What is there already.
    fn read_back(&self) -> Result<Box<dyn Source>>;

    /// Begins a transaction with a tid above [`Self::last_tid`].
    fn begin(&mut self, head: &Head) -> Result<()>;

    /// Adds a record, perhaps with a blob, whose file is copied.
    fn record(&mut self, record: &Record, blob: Option<&Path>) -> Result<()>;

    /// Ends the transaction that is begun: it is there from now on.
    fn finish(&mut self) -> Result<()>;

    /// Takes back the transaction that is begun, if one is.
    fn abort(&mut self) -> Result<()>;

    /// Makes durable what is finished.
    fn sync(&mut self) -> Result<()>;
}

/// How much was read of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) done: u64,
    pub(crate) total: u64,
}

/// What a copy has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) transactions: u64,
    pub(crate) records: u64,
    /// Of records.
    pub(crate) bytes: u64,
    pub(crate) blobs: u64,
    /// It was asked to stop before the end.
    pub(crate) interrupted: bool,
}

/// Prepares `source` for what `sink` does not have yet. What it has must be of this source: the
/// newest transaction that both have is looked at.
pub(crate) fn resume(source: &mut dyn Source, sink: &dyn Sink) -> Result<()> {
    let Some(last) = sink.last_tid() else { return Ok(()) };
    let is_packed = source.packed_to() >= last;
    let common = match source.seek_after(last)? {
        true => Some(last),
        false if is_packed => newest_up_to(source, last)?,
        false => None,
    };
    let is_same = match common {
        Some(tid) => compare::is_same(source, &mut *sink.read_back()?, tid)?,
        None => false,
    };
    if !is_same {
        let why = if common == Some(last) { "has with other content" } else { "does not have" };
        bail!(
            "{} ends with transaction {last} ({}), which {} {why}: it is no copy of it",
            sink.name(),
            time(last),
            source.name()
        );
    }
    source.seek_after(last)?;
    Ok(())
}

fn newest_up_to(source: &mut dyn Source, last: Tid) -> Result<Option<Tid>> {
    source.seek_after(Tid::ZERO)?;
    let mut newest = None;
    while let Some(head) = source.next_transaction()? {
        if head.transaction.tid > last {
            break;
        }
        newest = Some(head.transaction.tid);
    }
    Ok(newest)
}

/// Copies all that `source` still has, until `goes_on`, which is told how far it is, says no. On
/// every end, an error included, the sink has whole transactions, and those durably.
pub(crate) fn copy(
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    goes_on: &mut dyn FnMut(Extent) -> bool,
) -> Result<Copied> {
    let mut copied = Copied::default();
    let result = copy_all(source, sink, goes_on, &mut copied);
    // Where the sink itself has failed, its first error says more than the next one.
    let ended = sink.abort().and_then(|()| sink.sync());
    result.and(ended).with_context(|| {
        format!("stopped after {} of its transactions were copied", copied.transactions)
    })?;
    Ok(copied)
}

fn copy_all(
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    goes_on: &mut dyn FnMut(Extent) -> bool,
    copied: &mut Copied,
) -> Result<()> {
    let mut unsynced = 0;
    while let Some(head) = source.next_transaction()? {
        sink.begin(&head)?;
        let (mut records, mut bytes, mut blobs) = (0, 0, 0);
        loop {
            // Asked before each record, as a transaction can be as large as a database.
            if !goes_on(source.extent()) {
                copied.interrupted = true;
                return Ok(());
            }
            let Some(record) = source.next_record()? else { break };
            let blob = source.blob()?;
            sink.record(&record, blob.as_deref())?;
            records += 1;
            blobs += u64::from(blob.is_some());
            bytes += record.data.map_or(0, |data| data.len() as u64);
        }
        sink.finish()?;
        copied.transactions += 1;
        copied.records += records;
        copied.bytes += bytes;
        copied.blobs += blobs;
        unsynced += bytes;
        if unsynced >= SYNC_BYTES {
            sink.sync()?;
            unsynced = 0;
        }
    }
    goes_on(source.extent());
    Ok(())
}

/// So much may be in the system's memory only.
const SYNC_BYTES: u64 = 256 << 20;
