//! The core: what a server stores, how it commits and how it reads, without any protocol or
//! network.
//!
//! [`Storage`] and [`Transaction`] are what a session may ask, [`Mailbox`] is how it hears what
//! comes later, [`open()`] turns a storage URL into a storage. [`Snapshot`] reads one beside its
//! server, for administration.
//!
//! **Never**: a look into the data (they are opaque bytes), garbage collection, a blocked
//! session, an acknowledged transaction that is lost.
//!
//! Start reading at [`api`], then `commit` for the commit path and `log` for what is on disk.

pub mod api;
mod blobs;
mod commit;
mod core;
mod cursor;
mod directory;
pub mod disk;
mod hashing;
pub mod index;
pub mod locks;
mod log;
pub mod mailbox;
pub mod metrics;
mod oids;
pub mod open;
mod pack;
mod past;
mod pool;
mod reading;
pub mod replica;
pub mod snapshot;
mod sync;
mod vital;

pub use api::{
    Abilities, Extent, Found, Iterated, LockState, Meta, RecordCursor, Storage, Transaction,
    TransactionCursor, Which,
};
pub use blobs::{BlobFile, Upload, blob_path};
pub use mailbox::{Completion, Cut, Event, Invalidation, Mailbox, ReplyTo, Ticket, Vote, Wake};
pub use metrics::{Buckets, CacheUse, Measures};
pub use pack::PackState;

pub use snapshot::Snapshot;

pub use open::{
    Clock, CommitLocks, Kind, Location, LocationError, OpenError, Options, Prepared, Reads, Sync,
    SystemClock, open, prepare,
};
