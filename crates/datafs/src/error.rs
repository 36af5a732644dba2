//! What can be wrong with a file, or with what is to be written to one.

use std::io;
use std::path::PathBuf;

use protocol::{Oid, Tid};

use crate::format::RECORD_BYTES_MAX;

/// Why a file cannot be read further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says so.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another kind of file.
    #[error("{} is no Data.fs: it begins with '{}' in place of 'FS30' or 'FS21'", path.display(), found.escape_ascii())]
    NotDataFs {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: Vec<u8>,
    },
    /// What is there cannot be right.
    #[error("{} is damaged at offset {offset}: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where what is wrong begins.
        offset: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// One record must fit into memory.
    #[error("{}: the record at offset {offset} has {bytes} bytes; up to {RECORD_BYTES_MAX} can be read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
}

/// What is wrong with the bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Unknown status.
    #[error("a transaction's status is {0:#04x}")]
    Status(u8),
    /// The length of a transaction has no room for its texts.
    #[error("a transaction of {0} bytes is shorter than its header")]
    ShortTransaction(u64),
    /// It says that it goes on behind the end, but does not.
    #[error("a transaction is unfinished or of {0} bytes, but whole ones follow it")]
    NotLast(u64),
    /// Tids must grow.
    #[error("transaction {tid} comes after {last}")]
    TidOrder {
        /// Of this transaction.
        tid: Tid,
        /// Of the one before.
        last: Tid,
    },
    /// Each transaction ends with its length.
    #[error("a transaction of {first} bytes ends with the length {second}")]
    LengthsDiffer {
        /// At its begin.
        first: u64,
        /// At its end.
        second: u64,
    },
    /// A record of another transaction.
    #[error("a record of transaction {tid} is within transaction {within}")]
    WrongTid {
        /// What the record says.
        tid: Tid,
        /// Where it is.
        within: Tid,
    },
    /// A record of a transaction elsewhere.
    #[error("a record says that its transaction begins at {0}")]
    WrongTransaction(u64),
    /// ZODB has no versions any more.
    #[error("a record belongs to a version, which ZODB has not known since 3.9")]
    Version,
    /// The records do not add up to the transaction.
    #[error("a record of {0} bytes does not end within its transaction")]
    LongRecord(u64),
    /// The rest of a transaction is shorter than a header.
    #[error("the last {0} bytes of a transaction are no record")]
    Rest(u64),
    /// Pointers point to what was there before.
    #[error("a record's pointer to the object's previous record is {0}")]
    PreviousPointer(u64),
    /// The same, for the data.
    #[error("a record's pointer to its data is {0}")]
    BackPointer(u64),
    /// The data of something else.
    #[error("the record of object {oid} has its data in one of object {found}")]
    WrongOid {
        /// The record's.
        oid: Oid,
        /// What is where it points to.
        found: Oid,
    },
}

/// The end of a file that is not a whole transaction: what a crash, or a commit under way, leaves.
/// FileStorage cuts it off when it opens the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// How it can be told.
    pub by: TornBy,
}

/// See [`Torn::by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TornBy {
    /// Marked as not yet committed.
    #[error("a transaction that was never committed")]
    Checkpoint,
    /// The file ends within a transaction.
    #[error("a transaction that was not written to its end")]
    Short,
    /// Room that was never written to.
    #[error("nothing but zeros")]
    Zeros,
}

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system says so. The writer is of no more use.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing is overwritten.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// FileStorage's index of another file would be taken for that of the new one.
    #[error("{} is left over from another Data.fs: remove it", .0.display())]
    StaleIndex(PathBuf),
    /// FileStorage or another writer uses the file.
    #[error("another process has {} locked: stop it first", .0.display())]
    Locked(PathBuf),
    /// What is there already.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Tids must grow.
    #[error("transaction {tid} cannot follow {last}")]
    TidOrder {
        /// Of the transaction.
        tid: Tid,
        /// The last one that is there.
        last: Tid,
    },
    /// Two bytes hold the length of a text.
    #[error("the {what} of transaction {tid} has {bytes} bytes; a Data.fs has room for 65535")]
    TextTooLong {
        /// Of which transaction.
        tid: Tid,
        /// Which text.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// No data and a length of 0 are the same to the format.
    #[error("object {oid} has an empty record in transaction {tid}, which no Data.fs can hold")]
    EmptyRecord {
        /// In which transaction.
        tid: Tid,
        /// Of which object.
        oid: Oid,
    },
    /// A bound that readers rely on.
    #[error(
        "object {oid} has a record of {bytes} bytes in transaction {tid}; up to {RECORD_BYTES_MAX} can be written"
    )]
    TooLarge {
        /// In which transaction.
        tid: Tid,
        /// Of which object.
        oid: Oid,
        /// Bytes.
        bytes: u64,
    },
}
