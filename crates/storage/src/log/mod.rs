//! Logs: durable (or not) sequences of transactions, under the shared commit path and index.
//!
//! A log appends and reads; it knows nothing of locks, conflicts or clients.

pub(crate) mod memory;
pub(crate) mod read;
pub(crate) mod segments;

use std::sync::Arc;

use bytes::Bytes;
use protocol::{Failure, Oid, Tid};

use crate::api::Meta;
use crate::commit::spill::Spilled;
use crate::index::Place;
use crate::metrics::Measures;
use read::LogCursor;

/// A durable multi-version log.
///
/// One thread appends; all may read. Only what `append` has returned is ever read.
pub(crate) trait RecordLog: Send + Sync {
    /// For people.
    fn name(&self) -> String;

    /// Bytes taken.
    fn size_bytes(&self) -> u64;

    /// Bytes that `transaction` will take.
    fn transaction_bytes(&self, meta: &Meta, records: &[Record]) -> u64;

    /// Promises that an append of so many bytes will find space, if that can be done at once.
    /// Each promise ends with an append that succeeds or with [`Self::forget`].
    fn promise(&self, bytes: u64) -> bool;

    /// Promises after [`Self::promise`] could not; may block.
    fn promise_blocking(&self, bytes: u64) -> Result<(), Failure>;

    /// Takes a promise back.
    fn forget(&self, bytes: u64);

    /// Appends the transactions, whose tids ascend, and makes them durable, all or none of them.
    /// Pushes the places of the records of all of them, in order, to `places`. Says where the log ends
    /// then.
    fn append(
        &self,
        batch: &[LogTransaction<'_>],
        places: &mut Vec<Place>,
    ) -> Result<Position, AppendError>;

    /// The last transaction that was appended.
    fn position(&self) -> Position;

    /// What [`Position::digest`] becomes with `transaction` after `previous`.
    fn digest_after(&self, previous: Digest, transaction: &LogTransaction<'_>) -> Digest {
        segments::digest_after(previous, transaction)
    }

    /// Appends the data at `place` to `data` if they are in memory; else `false`, `data` as it
    /// was.
    fn read_cached(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<At<bool>, Failure>;

    /// Same, blocking.
    fn read(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<At<()>, Failure>;

    /// A cursor before the first transaction with a tid of at least `from`, which shows none above
    /// `last`; all up to `last` are published. May block.
    fn seek(&self, from: Tid, last: Tid) -> Result<Box<dyn LogCursor>, Failure>;

    /// The same, over all that is appended, also later, and published or not.
    fn follow(&self, from: Tid) -> Result<Followed, Failure>;

    /// The tid of the revision whose data an undo brought back at `place`; may block.
    fn origin(&self, oid: Oid, place: Place) -> Result<At<Option<Tid>>, Failure>;

    /// Gets ready for a pack of what is up to `to`, which is durable then, and names the parts that
    /// it goes through, in tid order. May block, as all that a pack asks.
    fn parts(&self, to: Tid) -> Result<Vec<u32>, Failure>;

    /// Tells of all records of a part, in tid order.
    fn visit(&self, part: u32, each: &mut dyn FnMut(Oid, Tid)) -> Result<(), Failure>;

    /// Drops records of a part, durably; where there were others, they move. A crash leaves the
    /// part as it was or as it is to be.
    fn rewrite(&self, part: u32, plan: &mut Plan<'_>) -> Result<Rewritten, Failure>;

    /// Whether [`Self::checkpoint`] has something to do.
    fn wants_checkpoint(&self) -> bool;

    /// Makes the next start faster; may block.
    fn checkpoint(&self);

    /// Adds what it counts.
    fn measure(&self, _: &mut Measures) {}

    /// Same as [`Self::checkpoint`], for the last time.
    fn close(&self);
}

/// See [`RecordLog::follow`].
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) cursor: Box<dyn LogCursor>,
    /// Whether it shows the log as it was when this was asked, but for what is appended, whatever a
    /// pack does. It may then end before the log does.
    pub(crate) is_held: bool,
}

/// What is at a place, unless a pack has just moved it: then the index knows where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At<T> {
    Here(T),
    Moved,
}

/// What a pack wants of a part.
pub(crate) struct Plan<'a> {
    /// Above this tid all is kept.
    pub(crate) to: Tid,
    /// Whether a record up to `to` is kept.
    pub(crate) keeps: &'a dyn Fn(Oid, Tid) -> bool,
    /// Returns when all that was appended before the call is in the index: what is not there yet
    /// would not move, and come into it with its old place.
    pub(crate) await_published: &'a dyn Fn(),
    /// Hears of the new places of records, which are readable by then.
    pub(crate) moved: &'a mut dyn FnMut(Oid, Tid, Place),
    /// Whether to give up.
    pub(crate) is_cancelled: &'a dyn Fn() -> bool,
}

/// How the rewriting of a part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// So many bytes were given back.
    Freed(u64),
    /// It was given up: what had not been dropped stays.
    Cancelled,
}

/// A transaction to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogTransaction<'a> {
    pub(crate) tid: Tid,
    pub(crate) meta: &'a Meta,
    pub(crate) records: &'a [Record],
    /// What was promised for it.
    pub(crate) promised_bytes: u64,
    /// That of a copied transaction of which a pack may have dropped records; `None`: it is made.
    pub(crate) digest: Option<Digest>,
}

/// A running checksum over all transactions up to one. Where two logs have the same one at the same
/// tid, they have had the same transactions up to there. It finds what two servers have done
/// differently, not what somebody has forged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

impl Digest {
    /// Before the first transaction, and in logs that were written before there were digests.
    pub const NONE: Self = Self(0);
}

/// How far a log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last transaction; [`Tid::ZERO`] if there is none.
    pub tid: Tid,
    /// Over all up to that.
    pub digest: Digest,
}

/// A revision to be appended.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) oid: Oid,
    pub(crate) payload: Payload,
    /// Whether a blob belongs to it.
    pub(crate) has_blob: bool,
    /// The tid of the revision whose data an undo brought back; zero for none.
    pub(crate) origin: Tid,
    /// Made when the record was stored, off the committer's thread; see [`record_crc`].
    pub(crate) crc: u32,
}

impl Record {
    /// As in [`Place::len`].
    pub(crate) fn len(&self) -> u32 {
        match self.payload.len() {
            Place::NO_DATA => Place::NO_DATA,
            len if self.has_blob => len | Place::BLOB,
            len => len,
        }
    }
}

/// A revision's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// Deleted, or its creation undone.
    None,
    /// In memory.
    Memory(Bytes),
    /// In a temporary file.
    Spilled(Arc<Spilled>),
}

impl Payload {
    /// Bytes of data, or [`Place::NO_DATA`].
    pub(crate) fn len(&self) -> u32 {
        let length = match self {
            Self::None => return Place::NO_DATA,
            Self::Memory(data) => data.len(),
            Self::Spilled(spilled) => spilled.len(),
        };
        debug_assert!(length < Place::DATA_BYTES_END, "checked when stored");
        length as u32
    }

    /// The bytes, none for [`Self::None`]; may block.
    pub(crate) fn read(&self, oid: Oid, crc: u32) -> Result<Bytes, Failure> {
        match self {
            Self::None => Ok(Bytes::new()),
            Self::Memory(data) => Ok(data.clone()),
            Self::Spilled(spilled) => {
                spilled.read(oid, crc).map_err(|error| Failure::Storage(error.to_string()))
            }
        }
    }
}

/// Why a batch was not appended.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// Nothing of it is in the log, which is as before.
    #[error("{0}; nothing of the transaction was kept")]
    TakenBack(String),
    /// Same, and one transaction of the batch, by its place in it, is to blame: its temporary file
    /// cannot be read. The others can be appended.
    #[error("{text}; nothing of the transaction was kept")]
    Unreadable {
        /// Which one.
        transaction: usize,
        /// What is wrong.
        text: String,
    },
    /// It is not known what is in the log: it must not be appended to any more.
    #[error("{0}; it is not known whether the transaction was kept")]
    InDoubt(String),
}

/// The checksum (CRC-32C) of a record: over its oid, its length and its data.
pub(crate) fn record_crc(oid: Oid, data: Option<&[u8]>) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    let len = data.map_or(Place::NO_DATA, |data| data.len() as u32);
    let mut head = [0; 12];
    let (oid_part, len_part) = head.split_at_mut(8);
    oid_part.copy_from_slice(&oid.to_bytes());
    len_part.copy_from_slice(&len.to_le_bytes());
    digest.update(&head);
    digest.update(data.unwrap_or_default());
    digest.finalize() as u32
}
