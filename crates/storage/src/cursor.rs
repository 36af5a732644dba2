//! What an iteration over a storage is made of.

use std::fmt::Debug;

use protocol::{Failure, TransactionHead, TransactionRecord};

/// A place between two transactions. It holds no lock: commits go on.
pub trait TransactionCursor: Debug + Send {
    /// Goes over the next transaction; `None`: there is none. May block, so it is for the storage's
    /// threads: see [`crate::Storage::next_transaction`].
    fn next(&mut self) -> Result<Option<Iterated>, Failure>;
}

/// A transaction that was iterated over.
#[derive(Debug)]
pub struct Iterated {
    /// All of it but its records.
    pub head: TransactionHead,
    /// Before its first record.
    pub records: Box<dyn RecordCursor>,
}

/// A place between two records of a transaction.
pub trait RecordCursor: Debug + Send {
    /// Goes over the next record; `None`: there is none. May block: see
    /// [`crate::Storage::next_transaction_record`].
    fn next(&mut self) -> Result<Option<TransactionRecord>, Failure>;

    /// Another cursor, before the first record.
    fn again(&self) -> Box<dyn RecordCursor>;
}
