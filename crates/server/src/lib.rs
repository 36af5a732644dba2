//! What every zeoxide server shares: command line, listeners, the way from bytes to a session and
//! back, limits, shutdown.
//!
//! A server binary is a [`Runtime`]: it accepts, reads, writes and wakes in the idiom of its
//! runtime, and [`run()`] does the rest of its `main`. This is not an abstraction of I/O: the
//! runtimes are compared with each other, so each is written as its experts would write it.
//!
//! ```text
//! run: options, listeners, storages -> Setup -> Runtime::serve
//!                                                 |  accept, read, write, wake
//!                                                 v
//!                                             Connection: TLS if wanted, handshake, then Session<C>
//! ```
//!
//! **Never**: a read, a write or a wait on a client's socket; a look into messages after the
//! handshake.
//!
//! Start reading at [`connection`], then [`run`](mod@run) for start and shutdown.

mod buffers;
mod clock;
mod config;
pub mod connection;
pub mod listen;
mod logging;
mod metrics;
mod one_line;
pub mod options;
mod peer;
mod pid_file;
mod replication;
pub mod run;
pub mod shared;
mod status;
pub mod storages;
mod tls;
mod wake;

pub use codecs::Dialect;
pub use connection::{Closed, Connection};
pub use listen::{Listener, Welcome, peer_name};
pub use options::Options;
pub use run::{Lifetime, Runtime, Setup, run};
pub use shared::Server;
pub use wake::TaskWake;
