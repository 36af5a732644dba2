//! Iteration over transactions and their records.

use std::fmt;
use std::sync::Arc;

use protocol::{Failure, Tid, TransactionRecord};

use crate::api::{Iterated, RecordCursor, TransactionCursor, Which};
use crate::core::Core;
use crate::index::Lookup;
use crate::log::read::{self, LogCursor};

/// Iterates over the transactions of the native storage.
pub(crate) struct Transactions {
    core: Arc<Core>,
    start: Tid,
    last: Tid,
    /// `None`: nobody has asked for a transaction yet.
    log: Option<Box<dyn LogCursor>>,
}

impl Transactions {
    /// From `start` to `last`, which is published.
    pub(crate) fn new(core: Arc<Core>, start: Tid, last: Tid) -> Self {
        Self { core, start, last, log: None }
    }
}

impl TransactionCursor for Transactions {
    fn next(&mut self) -> Result<Option<Iterated>, Failure> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => self.core.log.seek(self.start, self.last)?,
        };
        let next = log.next();
        self.log = Some(log);
        let Some(mut transaction) = next? else {
            return Ok(None);
        };
        transaction.head.status = self.core.status(&transaction.head);
        let (core, log) = (Arc::clone(&self.core), transaction.records);
        Ok(Some(Iterated { head: transaction.head, records: Box::new(Records { core, log }) }))
    }
}

/// Iterates over the records of a transaction of the native storage.
struct Records {
    core: Arc<Core>,
    log: Box<dyn read::RecordCursor>,
}

impl RecordCursor for Records {
    fn next(&mut self) -> Result<Option<TransactionRecord>, Failure> {
        let mut record = self.log.next()?;
        if let Some(record) = &mut record {
            // Whoever copies it looks for the revision that is named, which may be packed away or
            // never have been here.
            record.origin = record.origin.filter(|origin| {
                let found = self.core.index.find(record.oid, Which::Serial(*origin));
                record.data.is_some()
                    && *origin < record.tid
                    && matches!(found, Lookup::Revision { revision, .. } if revision.place.has_data())
            });
        }
        Ok(record)
    }

    fn again(&self) -> Box<dyn RecordCursor> {
        Box::new(Self { core: Arc::clone(&self.core), log: self.log.again() })
    }
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("log", &self.log).finish_non_exhaustive()
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("log", &self.log).finish_non_exhaustive()
    }
}
