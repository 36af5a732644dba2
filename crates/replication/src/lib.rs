//! Replication: how a storage follows another one, as state machines without I/O.
//!
//! A [`Link`] is the primary's end of a connection, a [`Follower`] the secondary's; frames go in
//! and actions come out, and whoever owns them moves the bytes and asks the storage. A [`Standing`] is what a
//! storage is (primary, secondary, fenced) and in which epoch; a [`Gate`] holds answers to commits
//! back until enough secondaries have synced them. `proto/replication.proto` is what goes over a link.
//!
//! **Never**: I/O, a clock, a thread, or randomness: times and random numbers are arguments. No look into
//! records. No transaction of one history on top of another one.
//!
//! Start reading at `proto/replication.proto`, then [`epoch`] (what keeps histories apart),
//! [`primary`] and [`secondary`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod backoff;
pub mod epoch;
pub mod frame;
pub mod gate;
#[allow(missing_docs, unnameable_types, unreachable_pub, clippy::all)]
#[rustfmt::skip]
mod generated;
pub mod item;
pub mod limits;
pub mod message;
pub mod primary;
mod pulse;
pub mod role;
pub mod secondary;
mod wire;

pub use backoff::Backoff;
pub use epoch::{Epoch, EpochStart, History};
pub use gate::Gate;
pub use item::{Item, Position, Record};
pub use message::{Ack, Head, Hello, Message, Reason, Refusal, ToPrimary, ToSecondary, Welcome};
pub use primary::Link;
pub use role::{Role, Standing};
pub use secondary::Follower;

/// CRC-32C.
fn crc(bytes: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(bytes);
    digest.finalize() as u32
}
