//! What a client and a server say to each other, free of any encoding.
//!
//! [`Request`], [`Reply`], [`Push`] and [`Failure`] are the messages; [`Codec`] is the seam that
//! turns them into bytes and back; [`frame`] cuts a byte stream into messages; [`zeo`] is what
//! the two encodings of ZEO's protocol share. The words [`Oid`] and [`Tid`] live here as well,
//! because every other crate speaks them.
//!
//! **Never**: I/O, a clock, a thread or randomness.
//!
//! Start reading at [`message`], then [`codec`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod codec;
pub mod frame;
pub mod ids;
pub mod message;
pub mod zeo;

pub use codec::{Call, Codec, HandshakeError, Incoming, Limits, Malformed, MessageId};
pub use ids::{Oid, Tid};
pub use message::{
    Begin, Conflict, CurrentRecord, Expect, Failure, Info, Interface, Loaded, Push, Reply, Request,
    Status, TransactionFault, TransactionHead, TransactionId, TransactionRecord,
    TransactionSummary, UndoLog, Wanted,
};
