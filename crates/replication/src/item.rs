//! What is replicated: transactions in parts, and places between them.

use bytes::Bytes;
use protocol::{Oid, Tid, TransactionHead};

use crate::limits::{BATCH_BYTES, FIELDS_MAX};

/// A place in a history: after a transaction, or before the first one (all zeros).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Of the last transaction.
    pub tid: Tid,
    /// A checksum over all transactions up to there; 0: not known.
    pub digest: u64,
}

impl Position {
    /// Whether nothing speaks against `digest` being its own.
    pub fn agrees(self, digest: u64) -> bool {
        self.digest == digest || self.digest == 0 || digest == 0
    }

    /// Whether its digest is known and `digest`.
    pub fn is_known_as(self, digest: u64) -> bool {
        self.digest != 0 && self.digest == digest
    }
}

/// A part of a transaction: its begin, then its records, then its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// All of it but its records.
    Begin(TransactionHead),
    /// One of its records.
    Record(Record),
    /// It is whole.
    End {
        /// The digest up to and with it.
        digest: u64,
    },
}

/// A revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub oid: Oid,
    /// `None`: the object was deleted, or its creation undone.
    pub data: Option<Bytes>,
    /// The tid of the revision whose data an undo brought back.
    pub origin: Option<Tid>,
    /// Whether a blob belongs to it.
    pub has_blob: bool,
}

impl Item {
    /// Bytes that it takes in a frame, about, and never less.
    pub(crate) fn bytes(&self) -> usize {
        let content = match self {
            Self::Begin(head) => head.user.len() + head.description.len() + head.extension.len(),
            Self::Record(record) => record.data.as_ref().map_or(0, Bytes::len),
            Self::End { .. } => 0,
        };
        content + ITEM_BYTES
    }
}

/// Bytes of an item without its content: a record's three numbers, and the keys and lengths of all.
const ITEM_BYTES: usize = 56;

// So a batch has fewer items than are accepted.
const _: () = assert!(BATCH_BYTES / ITEM_BYTES < FIELDS_MAX);
