//! Reading a `file:` storage without its lock, also while a server uses it.

use std::path::Path;
use std::sync::Arc;

use protocol::{Failure, Tid, TransactionHead, TransactionRecord};

use crate::directory::read_format;
use crate::disk::Disk;
use crate::index::Index;
use crate::log::read::{LogCursor, RecordCursor};
use crate::log::segments::{Frozen, Survey};
use crate::open::{OpenError, Options};
use crate::pack::PackedFile;

/// The log of a storage as of one moment: all transactions up to [`Self::last_tid`]. Nothing is
/// changed, and nobody is kept from anything.
#[derive(Debug)]
pub struct LogReader {
    log: Frozen,
    packed_to: Tid,
}

impl LogReader {
    /// Reads what a start would read.
    ///
    /// What a server writes meanwhile can look like damage. That is gone when it is looked at anew,
    /// which real damage is not.
    pub fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        let mut tries = 0..TRIES;
        loop {
            match Self::read(disk, dir) {
                Err(error) if is_perhaps_a_race(&error) && tries.next().is_some() => {}
                read => return read,
            }
        }
    }

    fn read(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        let identity = read_format(&**disk, dir)?;
        // What it remembers of the last transactions is for caches.
        let options = Options { invalidation_queue_size: 0, ..Options::default() };
        let (survey, _) = Survey::read(disk, dir, identity, &Index::default(), &options)?;
        // It is written before anything is dropped, so now it tells of all that is missing.
        let packed = PackedFile { disk: Arc::clone(disk), dir: dir.to_owned() }.read()?;
        Ok(Self { log: survey.freeze(), packed_to: packed.to })
    }

    /// The newest transaction; zero if there is none.
    pub fn last_tid(&self) -> Tid {
        self.log.last_tid
    }

    /// Bytes of the log.
    pub fn bytes(&self) -> u64 {
        self.log.bytes
    }

    /// What was superseded up to here may be missing; zero if nothing was ever packed.
    pub fn packed_to(&self) -> Tid {
        self.packed_to
    }

    /// A cursor before the first transaction with a tid of at least `from`.
    pub fn transactions(&self, from: Tid) -> Result<LogTransactions, Failure> {
        Ok(LogTransactions { cursor: self.log.seek(from)?, records: None, bytes: 0 })
    }
}

/// A place in a log. All that it yields is as it was written: checksums are looked at.
#[derive(Debug)]
pub struct LogTransactions {
    cursor: Box<dyn LogCursor>,
    records: Option<Box<dyn RecordCursor>>,
    bytes: u64,
}

impl LogTransactions {
    /// The next transaction; records of the one before that were not asked for are passed over.
    pub fn next_transaction(&mut self) -> Result<Option<TransactionHead>, Failure> {
        self.records = None;
        let Some(transaction) = self.cursor.next()? else { return Ok(None) };
        self.records = Some(transaction.records);
        self.bytes += transaction.bytes;
        Ok(Some(transaction.head))
    }

    /// The next record of the transaction; `None`: there is none.
    pub fn next_record(&mut self) -> Result<Option<TransactionRecord>, Failure> {
        self.records.as_mut().map_or(Ok(None), |records| records.next())
    }

    /// Bytes of the transactions so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Whether a server at work can be what is behind it: a file that was replaced or grew between two
/// looks.
fn is_perhaps_a_race(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Damaged { .. }
            | OpenError::Missing(_)
            | OpenError::Read { .. }
            | OpenError::Io { .. }
    )
}

const TRIES: u32 = 20;
