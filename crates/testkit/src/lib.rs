//! What the tests of several crates share.
//!
//! [`SimDisk`] is a disk in memory that fails on demand and shows what a power cut would have
//! left at any moment; [`Clock`] stands still until told; [`Inbox`] waits for what a storage
//! answers later; [`Model`] is the simplest storage that can be right, and [`same_content`]
//! compares a real one with it. [`mod@conformance`] is what every server has to do, over real sockets.
//! [`tls`] makes certificates. [`operations`] are what costs are measured of.
//!
//! **Never**: part of anything that is shipped, a sleep (waiting has a deadline and ends with
//! what is waited for), randomness without a seed that the caller gives.
//!
//! Start reading at [`disk`] for crashes, at [`model`] for what a storage has to do.

// A helper of tests fails as a test does.
#![allow(clippy::panic)]

mod blobs;
mod clock;
pub mod compare;
pub mod conformance;
pub mod disk;
pub mod inbox;
pub mod model;
pub mod operations;
pub mod past;
pub mod server;
pub mod tls;

pub use clock::Clock;
pub use compare::same_content;
pub use disk::{Call, Change, Fault, Held, Op, SimDisk};
pub use inbox::{Inbox, NotCommitted, Stamped};
pub use model::{Draft, Model, Verdict, Write};
