//! The messages: what a client may ask, what a server answers and what it tells unasked.

use bytes::Bytes;

use crate::ids::{Oid, Tid};

/// A client's own name for its transaction; the server only compares and echoes it. ZEO's client
/// sends Python's `id()` of the transaction object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub i128);

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Choose the storage of this connection and subscribe to its invalidations.
    Register {
        /// The storage's name.
        storage: String,
        /// The client promises not to write.
        read_only: bool,
    },
    /// Sizes, name and abilities of the storage.
    Info,
    /// The newest tid that this connection has been told of.
    LastTransaction,
    /// The oids changed after `since`.
    Invalidations {
        /// The newest tid that the client's cache knows.
        since: Tid,
    },
    /// The newest revision of `oid` with a tid below `before`.
    LoadBefore {
        /// Whose revision.
        oid: Oid,
        /// Exclusive bound; [`Tid::MAX`] asks for the current revision.
        before: Tid,
    },
    /// Exactly one revision.
    LoadSerial {
        /// Whose revision.
        oid: Oid,
        /// Its tid.
        serial: Tid,
    },
    /// The tid of the current revision.
    CurrentTid {
        /// Whose revision.
        oid: Oid,
    },
    /// Fresh oids.
    NewOids {
        /// How many the client would like; a server may give fewer, never none.
        count: u32,
    },
    /// Start a transaction.
    Begin(Begin),
    /// Write a revision.
    Store {
        /// Which transaction.
        transaction: TransactionId,
        /// Whose revision.
        oid: Oid,
        /// The tid of the revision that the client changed; zero for a new object.
        serial: Tid,
        /// The revision.
        data: Bytes,
    },
    /// Delete an object (external garbage collectors do).
    Delete {
        /// Which transaction.
        transaction: TransactionId,
        /// Which object.
        oid: Oid,
        /// The tid of the revision that the client saw.
        serial: Tid,
    },
    /// The transaction is only right if this revision is still the current one.
    CheckCurrentSerial {
        /// Which transaction.
        transaction: TransactionId,
        /// Which object.
        oid: Oid,
        /// The tid of the revision that the client saw.
        serial: Tid,
    },
    /// Copy a revision from elsewhere, without conflict checks.
    Restore {
        /// Which transaction; it was begun with a tid.
        transaction: TransactionId,
        /// Whose revision.
        oid: Oid,
        /// The revision's tid: that of its transaction, or the vote fails.
        tid: Tid,
        /// The revision; `None`: the object's creation was undone.
        data: Option<Bytes>,
    },
    /// First phase of two-phase commit.
    Vote {
        /// Which transaction.
        transaction: TransactionId,
    },
    /// Second phase.
    Finish {
        /// Which transaction.
        transaction: TransactionId,
    },
    /// Forget the transaction.
    Abort {
        /// Which transaction.
        transaction: TransactionId,
    },
    /// Counters of the storage.
    Status,
    /// Answered in order with everything else: a barrier.
    Ping,
    /// A name for this connection in the server's log.
    Label(String),
    /// Sent so that the connection is not idle.
    KeepAlive,
    /// A method that is known, and that this server does not offer.
    Unsupported {
        /// Its name on the wire.
        method: &'static str,
    },
    /// A whole message whose arguments are wrong.
    Invalid {
        /// The transaction it names, if it names one.
        transaction: Option<TransactionId>,
        /// What to answer.
        failure: Failure,
    },
}

/// How a transaction starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The client's name for it.
    pub transaction: TransactionId,
    /// Who, in bytes of the client's choice.
    pub user: Bytes,
    /// What, likewise.
    pub description: Bytes,
    /// More, as a MessagePack map; empty for none.
    pub extension: Bytes,
    /// Only when a transaction is copied from elsewhere: its tid.
    pub tid: Option<Tid>,
    /// One ASCII character of ZODB's; `b' '` for an ordinary transaction.
    pub status: u8,
}

/// Which kind of [`Reply`] a request gets when it succeeds (ZEO's replies do not say).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// [`Reply::Done`].
    Done,
    /// [`Reply::Tid`].
    Tid,
    /// [`Reply::Info`].
    Info,
    /// [`Reply::Invalidations`].
    Invalidations,
    /// [`Reply::Loaded`].
    Loaded,
    /// [`Reply::Data`].
    Data,
    /// [`Reply::Oids`].
    Oids,
    /// [`Reply::Voted`] or [`Reply::Conflicts`].
    Vote,
    /// [`Reply::Status`].
    Status,
}

impl Request {
    /// What answers this request; `None` if it is one-way: nothing does.
    pub fn expects(&self) -> Option<Expect> {
        Some(match self {
            Self::Register { .. }
            | Self::LastTransaction
            | Self::CurrentTid { .. }
            | Self::Finish { .. } => Expect::Tid,
            Self::Info => Expect::Info,
            Self::Invalidations { .. } => Expect::Invalidations,
            Self::LoadBefore { .. } => Expect::Loaded,
            Self::LoadSerial { .. } => Expect::Data,
            Self::NewOids { .. } => Expect::Oids,
            Self::Vote { .. } => Expect::Vote,
            Self::Status => Expect::Status,
            Self::Abort { .. } | Self::Ping | Self::Unsupported { .. } | Self::Invalid { .. } => {
                Expect::Done
            }
            Self::Begin(_)
            | Self::Store { .. }
            | Self::Delete { .. }
            | Self::CheckCurrentSerial { .. }
            | Self::Restore { .. }
            | Self::Label(_)
            | Self::KeepAlive => return None,
        })
    }
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing to say but that it is done.
    Done,
    /// A tid.
    Tid(Tid),
    /// To a finish: there is no such transaction. (ZEO: `None`, read as [`Self::Done`].)
    NotFinished(TransactionFault),
    /// Of the storage.
    Info(Info),
    /// `(newest tid, oids changed up to it)`, or `None`: too long ago, drop the cache.
    Invalidations(Option<(Tid, Vec<Oid>)>),
    /// A revision, or `None`: the object is younger.
    Loaded(Option<Loaded<Bytes>>),
    /// The bytes of one revision.
    Data(Bytes),
    /// Fresh oids.
    Oids(Vec<Oid>),
    /// The vote is a promise: finish will succeed. (ZEO: an empty list.)
    Voted,
    /// These stores were on old revisions; nothing is locked. Never empty.
    Conflicts(Vec<Conflict>),
    /// Counters.
    Status(Box<Status>),
    /// It could not be done.
    Failed(Failure),
}

/// A revision and the span of tids for which it is the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded<D> {
    /// The revision's bytes.
    pub data: D,
    /// The revision's tid.
    pub tid: Tid,
    /// The tid of the next revision; `None`: this one is current.
    pub end: Option<Tid>,
}

/// A store that a client made on a revision that is not the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Whose revision.
    pub oid: Oid,
    /// The tid of the current revision.
    pub committed: Tid,
    /// The serial that the client gave.
    pub given: Tid,
    /// The bytes that the client sent.
    pub data: Bytes,
}

/// Facts about a storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Number of objects.
    pub length: u64,
    /// Bytes on disk (or in memory).
    pub size: u64,
    /// For people.
    pub name: String,
    /// Whether transactions can be undone.
    pub supports_undo: bool,
    /// Whether current records can be iterated over.
    pub supports_record_iternext: bool,
    /// ZODB interfaces that a client may rely on.
    pub interfaces: Vec<Interface>,
}

/// A Python interface, `(module, name)`.
pub type Interface = (&'static str, &'static str);

/// Counters of a storage since the server started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Registered connections now.
    pub connections: u64,
    /// `loadBefore` calls.
    pub loads: u64,
    /// Stored, deleted and restored records.
    pub stores: u64,
    /// Finished transactions.
    pub commits: u64,
    /// Aborted transactions.
    pub aborts: u64,
    /// Transactions begun and not ended now.
    pub active_transactions: u64,
    /// Unix seconds at which the longest holder of commit locks got them.
    pub lock_time: Option<f64>,
    /// Votes that met a conflict.
    pub conflicts: u64,
    /// Server start, in the form of C's `ctime`.
    pub start: String,
    /// Votes that wait for a lock now.
    pub waiting: u64,
    /// Whether a transaction timeout is in force.
    pub timeout_active: bool,
    /// Newest tid.
    pub last_transaction: Tid,
}

/// Why a request could not be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No such object, no such revision, or the object was deleted by then.
    #[error("no object {0} (or no such revision)")]
    UnknownOid(Oid),
    /// Something that cannot be an id at all.
    #[error("not an id of 8 bytes: {0:?}")]
    BadId(Bytes),
    /// A write to a read-only server or connection.
    #[error("read-only")]
    ReadOnly,
    /// The request does not fit the state of the transaction.
    #[error(transparent)]
    Transaction(#[from] TransactionFault),
    /// A delete on an old revision, or a client that gave up resolving.
    #[error("database conflict error on {oid}: {given} is not the current serial {committed}")]
    Conflict {
        /// Which object.
        oid: Oid,
        /// The current serial.
        committed: Tid,
        /// The serial that the client gave.
        given: Tid,
    },
    /// A checked revision is not current any more.
    #[error("database read conflict error on {oid}: {given} is not the current serial {committed}")]
    ReadConflict {
        /// Which object.
        oid: Oid,
        /// The current serial.
        committed: Tid,
        /// The serial that the client gave.
        given: Tid,
    },
    /// No storage of that name.
    #[error("unknown storage: {0}")]
    UnknownStorage(String),
    /// Wrong number or types of arguments.
    #[error("{0}")]
    Arguments(String),
    /// The server does not offer it.
    #[error("{0}")]
    Unsupported(String),
    /// The storage could not do it (disk full, damaged, refusing writes, ...).
    #[error("{0}")]
    Storage(String),
}

/// How a request can misfit the state of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionFault {
    /// There is no such transaction on this connection.
    #[error("this connection's transaction is {current:?}, not {given:?}")]
    Wrong {
        /// The transaction that the connection has.
        current: Option<TransactionId>,
        /// The one that the request names.
        given: TransactionId,
    },
    /// It has voted.
    #[error("Already voting (locked)")]
    AlreadyVoted,
    /// Its vote still waits for locks.
    #[error("Already voting (waiting)")]
    VoteWaits,
    /// It cannot finish: it has not voted, or the vote was answered with conflicts.
    #[error("not voted")]
    NotVoted,
    /// It was aborted while its vote waited.
    #[error("aborted while the vote waited")]
    Aborted,
    /// Its tid is not above the last one.
    #[error("a copied transaction's tid must be above the last one")]
    OldTid,
}

/// What a server tells unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// Another client's transaction changed these objects.
    Invalidate {
        /// The transaction.
        tid: Tid,
        /// What it wrote; may be empty.
        oids: std::sync::Arc<[Oid]>,
    },
    /// Length and size of the storage changed.
    Info {
        /// Number of objects.
        length: u64,
        /// Bytes.
        size: u64,
    },
}
