//! Reading a log's transactions back, in either direction.
//!
//! Cursors are values of their own: they hold what they read from, and no lock. All of this may
//! block.

use std::fmt::Debug;

use protocol::{Failure, Oid, TransactionHead, TransactionRecord};

use super::Digest;

/// A place between two transactions of a log.
pub(crate) trait LogCursor: Debug + Send {
    /// Goes over the next transaction; `None`: there is none that the cursor may show.
    fn next(&mut self) -> Result<Option<LoggedTransaction>, Failure>;

    /// Goes back over the transaction before; `None`: there is none.
    fn previous(&mut self) -> Result<Option<LoggedTransaction>, Failure>;
}

/// A transaction as it is in the log.
#[derive(Debug)]
pub(crate) struct LoggedTransaction {
    pub(crate) head: TransactionHead,
    /// What it takes, in bytes.
    pub(crate) bytes: u64,
    /// Over it as it was committed, and all before it.
    pub(crate) digest: Digest,
    /// Before its first record.
    pub(crate) records: Box<dyn RecordCursor>,
}

/// A place between two records of a transaction.
pub(crate) trait RecordCursor: Debug + Send {
    /// The next record.
    fn next(&mut self) -> Result<Option<TransactionRecord>, Failure>;

    /// Whose the next record is, without reading its data.
    fn skip(&mut self) -> Result<Option<Oid>, Failure>;

    /// Another cursor, before the first record.
    fn again(&self) -> Box<dyn RecordCursor>;
}
