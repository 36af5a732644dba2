//! A secondary of zc.zrs, the replication of ZODB that was there before: what a zc.zrs primary sends
//! becomes transactions.
//!
//! A [`Follower`] is one connection. Its owner sends [`Follower::greeting`] and now and then
//! [`KEEP_ALIVE`], gives it what arrives, and applies its [`Event`]s to a storage; it sends nothing
//! else, since a primary hears of nothing that was applied. What it yields before an
//! [`Event::Commit`] must not become visible, nor stay if none comes.
//!
//! The protocol (`zc/zrs/primary.py`, `secondary.py` and `sizedmessage.py`, version 3.1.0): messages
//! are 4 bytes of length, big-endian, and content. The secondary says `zrs2.0` or `zrs2.1`, then the
//! 8 bytes of its last tid. The primary sends, for each later transaction, a pickle `('T', ...)`,
//! for each record a pickle `('S', ...)` and the data, and at the end a pickle `('C', (checksum,))`:
//! the MD5 of that tid and of all messages before this one. A record with a blob is a pickle
//! `('B', ...)`, the data, and the blob in blocks of 64 KiB.
//!
//! **Never**: an import, a call or anything else that a pickle could ask for beyond plain data;
//! memory sized by a length or a number that a peer announces; I/O, a clock, a thread.
//!
//! Start reading at [`Follower`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod error;
mod event;
mod follower;
mod message;

pub use error::Error;
pub use event::{Blob, Event, Extension, Record, Status, Transaction};
pub use follower::{End, Follower, KEEP_ALIVE, Version};
