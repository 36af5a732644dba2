//! ZODB's classic `Data.fs`, the file of a FileStorage: read as a stream, and written so that
//! FileStorage opens it.
//!
//! The file is a magic number, then transactions. A transaction is a header, three texts, records
//! and its length once more; a record is a header and data, or a pointer back to the record whose
//! data it shares. All numbers are big-endian. What a [`Reader`] yields, a [`Writer`] writes again
//! byte for byte, pointers included. (What the file tells of its packs matters for that: see
//! [`Record::linked`].) Memory is that of one record; a writer has 16 bytes or so for each object
//! besides.
//!
//! **Never**: a look into a record (FileStorage's own pack has one); a change of a file that is
//! only read; a guess about damage: it is an error that names the offset.
//!
//! Start reading at `format`, then [`Reader`]; [`extension`] translates what transactions carry.

pub mod error;
pub mod extension;
mod format;
mod input;
mod output;
mod positions;
mod reader;
mod writer;

pub use error::{Damage, ReadError, Torn, TornBy, WriteError};
pub use format::{Magic, RECORD_BYTES_MAX, Record, Status, Transaction};
pub use reader::{Reader, RecordAt, TransactionAt};
pub use writer::Writer;
