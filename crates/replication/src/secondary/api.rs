//! What goes into a [`Follower`], and what comes out.

use std::time::Duration;

use bytes::Bytes;
use protocol::{Oid, Tid};

use crate::epoch::{Epoch, EpochStart, History};
use crate::item::{Item, Position};
use crate::message::{Refusal, ToPrimary, ToSecondary};
#[cfg(doc)]
use crate::{Follower, Reason, Standing};

/// What does not change about a secondary's end.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it connects for.
    pub purpose: Purpose,
    /// The storage's name on the primary.
    pub storage: String,
    /// Names this server among all secondaries of the storage: those with one name count as one in
    /// a [`crate::Gate`].
    pub node: String,
    /// Name and version of the server, for people.
    pub software: String,
    /// Whether blobs are replicated, too.
    pub wants_blobs: bool,
    /// As [`crate::limits::ALIVE_INTERVAL`].
    pub alive_interval: Duration,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To get what the primary has.
    Follow,
    /// To tell a former primary that this server has taken over, so that it is fenced.
    Tell,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// What [`Action::Connect`] asked for is there.
    Connected,
    /// There is no connection (any more), or [`Action::Connect`] failed.
    Disconnected {
        /// Spreads those who come back.
        random: u64,
    },
    /// Bytes came, a whole message or not.
    Received,
    /// A message came.
    Message(ToSecondary),
    /// What came is no message.
    Malformed(String),
    /// [`Action::Apply`] is done: the position of the storage, which is synced.
    Applied(Position),
    /// Same, if it failed, and nothing of it was kept.
    NotApplied(NotApplied),
    /// [`Action::Adopt`] is done.
    Adopted,
    /// Same, or [`Action::Take`] or that of a part of a blob, if it failed: what is wrong.
    Failed(String),
    /// This storage has heard of an epoch in another way, and has saved that.
    Heard(Epoch),
    /// The storage ends the link: it stops, say, or was promoted. The machine stops.
    Refuse(Refusal),
}

/// Why transactions were not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotApplied {
    /// A digest is not the one that the primary has: what is wrong.
    Diverged(String),
    /// The storage could not, for now: what is wrong.
    Failed(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to the primary: [`Event::Connected`] or [`Event::Disconnected`].
    Connect,
    /// Get ready for transactions after the storage's position; forget what was taken and not applied.
    Receive {
        /// Up to where revisions may be missing in what comes, if the storage has nothing yet: it
        /// is whole once it has all up to there. Zero: none is missing.
        packed_to: Tid,
    },
    /// Send a message.
    Send(ToPrimary),
    /// Let the storage know that there is this epoch ([`Standing::hear`]), and save that.
    Heard(Epoch),
    /// Take parts of transactions.
    Take(Vec<Item>),
    /// Begin with the blob of the last record.
    BlobStart(Oid),
    /// Take bytes of it.
    BlobPart(Bytes),
    /// It is whole.
    BlobEnd,
    /// Apply all whole transactions that were taken, durably: [`Event::Applied`]. Keep the parts of another
    /// one.
    Apply,
    /// Take these epochs in place of the storage's, durably ([`Standing::adopt`]): [`Event::Adopted`].
    Adopt {
        /// All of them.
        history: History,
        /// The last one, if it is new: for [`crate::primary::Event::EpochStarts`]. Otherwise epochs were forgotten,
        /// which only a new link can tell further secondaries: [`crate::primary::Event::Refuse`].
        start: Option<EpochStart>,
    },
    /// Send what is to be sent and close the connection: [`Event::Disconnected`].
    Close(Ended),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Another try follows after a while: why.
    Retries(String),
    /// The machine does nothing more, since that would not help.
    Stopped(Stopped),
}

/// Why a machine does nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// An operator has to do something, as [`Reason::Diverged`] and [`Reason::Packed`] ask for.
    Refused(Refusal),
    /// By [`Event::Refuse`].
    Told,
    /// [`Purpose::Tell`]: the other server knows.
    Knows,
}

/// How far a secondary is behind its primary, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// The primary's last transaction.
    pub primary: Tid,
    /// The secondary's.
    pub secondary: Tid,
    /// Since when, by the primary's clock; zero if it is not behind.
    pub time: Duration,
    /// Bytes that are still to come, about.
    pub bytes: u64,
}
