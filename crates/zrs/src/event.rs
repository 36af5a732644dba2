//! What a follower has to say.

use bytes::Bytes;
use protocol::{Oid, Tid};

/// What a storage has to do next.
///
/// A transaction is `Begin`, records, `Commit`. Behind a record with [`Blob::Follows`] come any
/// number of parts of its blob, then `BlobEnd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction begins.
    Begin(Transaction),
    /// A record of it.
    Record(Record),
    /// The next bytes of the last record's blob: at least 1, at most 64 KiB.
    BlobPart(Bytes),
    /// The blob is whole. One without any part before it is empty.
    BlobEnd,
    /// The transaction is whole, and all that has arrived is what the primary has sent, by its
    /// checksum. What has this tid may become visible.
    Commit(Tid),
}

/// A transaction without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its tid, larger than those before.
    pub tid: Tid,
    /// What has become of it.
    pub status: Status,
    /// Who.
    pub user: Bytes,
    /// What.
    pub description: Bytes,
    /// More.
    pub extension: Extension,
}

/// What a pack of the primary has left of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `' '`: all of it.
    Complete,
    /// `'p'`: records may be missing.
    Packed,
}

/// What a transaction carries besides its texts, a dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// As a MessagePack map; an empty dict is no bytes at all.
    Plain(Bytes),
    /// It is no dict of plain values, for this reason, so there is nothing that it could become. The
    /// transaction is otherwise as it was.
    LeftOut(String),
}

/// A revision of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose revision.
    pub oid: Oid,
    /// The revision; `None`: the object was deleted, or its creation undone. There are no empty ones.
    pub data: Option<Bytes>,
    /// The tid of the revision whose data, or whose lack of them, an undo brought back.
    pub origin: Option<Tid>,
    /// Whether it has a blob.
    pub blob: Blob,
}

/// What a primary does about a record's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blob {
    /// There is none.
    None,
    /// It is sent next.
    Follows,
    /// By its data the record has one, and the primary has left it out without a word: its file is
    /// missing there, or the primary runs on Python 2 and cannot read how ZODB 5 pickles.
    Lost,
}
