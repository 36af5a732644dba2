//! What can be wrong with what a primary sends.

use protocol::frame::TooLong;
use protocol::{Oid, Tid};

/// Why the connection must be closed, and the transaction that it was in, if any, given up.
///
/// A new connection gets the same transactions once more; so an error that comes back is the
/// primary's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message above its limit.
    #[error("{what}: {source}")]
    TooLong {
        /// What was to come.
        what: &'static str,
        /// How long it would be.
        source: TooLong,
    },
    /// Bytes that are not zrs2.0 or zrs2.1.
    #[error("a message of the primary is not understood: {0}")]
    Message(String),
    /// Messages in the wrong order.
    #[error("the primary sends {what} {place}")]
    Unexpected {
        /// What it sends.
        what: &'static str,
        /// Where that has no place.
        place: &'static str,
    },
    /// Tids must grow.
    #[error("the primary sends transaction {tid} after {last}")]
    TidOrder {
        /// Of this transaction.
        tid: Tid,
        /// Of the one before, or where the follower started.
        last: Tid,
    },
    /// A record of another transaction.
    #[error("the primary sends object {oid} of transaction {tid} within transaction {within}")]
    WrongTid {
        /// Whose record.
        oid: Oid,
        /// What it says.
        tid: Tid,
        /// Where it is.
        within: Tid,
    },
    /// The bytes that arrived are not those that were sent.
    #[error(
        "transaction {tid} does not have the checksum that the primary has sent: bytes were changed on the way"
    )]
    Checksum {
        /// Of which transaction.
        tid: Tid,
    },
}
