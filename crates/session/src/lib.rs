//! One connection as a state machine without I/O: bytes in, bytes out.
//!
//! A [`Session`] decodes what arrives, asks the storage, encodes the answers, and turns what comes
//! through its mailbox into invalidations and late answers. It is generic over the codec and knows
//! no runtime: whoever owns it moves the bytes.
//!
//! **Never**: I/O, a clock, a thread, a wait.
//!
//! Start reading at [`Session`]; the ordering rule that it keeps is told there.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod blobs;
mod events;
mod host;
mod iterators;
mod past;
mod reads;
mod requests;
mod session;
mod transactions;

pub use host::{Counters, Host, Hosted};
pub use requests::{KINDS, Requests};
pub use session::{Closed, HIGH_WATER_BYTES, Session};
