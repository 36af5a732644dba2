//! Copies transactions from one place to another.
//!
//! A [`Source`] yields them in tid order, a [`Sink`] appends them; [`copy`] needs to know no more of
//! either, goes on where an earlier copy has stopped, and stops in order. What both speak of are the
//! transactions and records of a `Data.fs`, since nothing else has more to say.

mod files;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, bail};
use datafs::{Record, Transaction};
use protocol::Tid;

use crate::text::time;

pub(crate) use files::{FileSink, FileSource};

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
    fn next_transaction(&mut self) -> Result<Option<Transaction>>;

    /// The next record of the transaction.
    fn next_record(&mut self) -> Result<Option<Record>>;
}

/// Where transactions go to.
pub(crate) trait Sink {
    /// For people.
    fn name(&self) -> String;

    /// The newest transaction that is there.
    fn last_tid(&self) -> Option<Tid>;

    /// Begins a transaction with a tid above [`Self::last_tid`].
    fn begin(&mut self, transaction: &Transaction) -> Result<()>;

    /// Adds a record.
    fn record(&mut self, record: &Record) -> Result<()>;

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
    /// It was asked to stop before the end.
    pub(crate) interrupted: bool,
}

/// Prepares `source` for what `sink` does not have yet. What it has must be of this source.
pub(crate) fn resume(source: &mut dyn Source, sink: &dyn Sink) -> Result<()> {
    let Some(last) = sink.last_tid() else { return Ok(()) };
    if !source.seek_after(last)? {
        bail!(
            "{} ends with transaction {last} ({}), which {} does not have: it is no copy of it",
            sink.name(),
            time(last),
            source.name()
        );
    }
    Ok(())
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
    while let Some(transaction) = source.next_transaction()? {
        sink.begin(&transaction)?;
        let (mut records, mut bytes) = (0, 0);
        loop {
            // Asked before each record, as a transaction can be as large as a database.
            if !goes_on(source.extent()) {
                copied.interrupted = true;
                return Ok(());
            }
            let Some(record) = source.next_record()? else { break };
            sink.record(&record)?;
            records += 1;
            bytes += record.data.map_or(0, |data| data.len() as u64);
        }
        sink.finish()?;
        copied.transactions += 1;
        copied.records += records;
        copied.bytes += bytes;
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
