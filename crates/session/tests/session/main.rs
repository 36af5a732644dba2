//! Sessions without a socket, a thread or a clock: the test is the runtime, the client and the
//! storage.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fake;
mod order;
mod past;
mod talk;
mod transactions;
