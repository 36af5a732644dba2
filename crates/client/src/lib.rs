//! A client for all of zeoxide's protocols.
//!
//! Three layers, of which the lower two do no I/O:
//!
//! - [`Session`]: one connection as a state machine, generic over its codec. The load generator's
//!   connections are these.
//! - [`cache::Cache`]: revisions, kept right by invalidations.
//! - [`Client`]: both of them behind a socket, a lock and a reading thread; blocking, for many
//!   threads, with the dialect chosen by URL.
//!
//! **Never**: a reply or an invalidation handled in another order than the one in which it was
//! received; a thing of the server's (this crate does not know `storage`).
//!
//! Start reading at [`Client`], then [`Session`].

mod blobs;
pub mod cache;
mod client;
mod connect;
pub mod error;
mod options;
mod past;
mod session;
mod shared;
mod state;
mod stream;
mod tls;
mod transaction;
mod wire;

pub use client::Client;
pub use error::{
    BeginError, CallError, ConnectError, Disconnect, FinishError, LoadBlobError, LoadError,
    SendError, StoreBlobError, VoteError,
};
pub use options::{Listener, Notice, Options};
pub use past::{Records, Transactions};
pub use session::{RequestTooLong, Session, SessionError};
pub use stream::Stream;
pub use tls::{Identity, Tls, TlsError};
pub use transaction::{Metadata, Transaction, Vote};
