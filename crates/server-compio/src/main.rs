//! zeoxide on io_uring, with compio: a runtime per thread, as many threads as there are CPUs, and
//! a task per connection, which stays on its thread.
//!
//! Reads and writes go to the kernel with their memory, which comes back when they are done. One
//! system call hands over what all connections of a thread want next and waits for what is done,
//! so a request costs a share of one, and less the more there is to do. compio allocates, for each
//! read and each write, what the kernel calls it by; the memory of the messages is used again.
//! Where the kernel refuses io_uring, the server says so and goes on with `epoll`.
//!
//! **Never**: a timer, a lock of ours or a copy of our own per request; a wait for a client that
//! does not read.
//!
//! Start reading at [`Compio`], then [`client`].

mod accept;
mod client;
mod driver;

use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use server::{Runtime, Setup};
use socket2::Socket;
use tracing::warn;

fn main() -> ExitCode {
    server::run::<Compio>()
}

/// One thread that accepts, and others that serve: they share nothing but the storages.
struct Compio;

impl Runtime for Compio {
    const NAME: &'static str = "zeoxide-compio";

    fn serve(Setup { server, listeners, threads, lifetime }: Setup) -> anyhow::Result<()> {
        let driver = driver::choose();
        let count =
            threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let mut sockets = Vec::new();
        for listener in &listeners {
            // As `epoll` wants it, see below.
            listener.socket.set_nonblocking(true)?;
            sockets.push(listener.socket.try_clone()?);
        }
        let mut inboxes = Vec::new();
        for _ in 0..count {
            let (inbox, arrivals) = flume::unbounded();
            let server = Arc::clone(&server);
            driver::spawn(&driver, "serve", move || client::all(server, arrivals))
                .context("cannot start a thread that serves")?;
            inboxes.push(inbox);
        }
        // They are also kept here: a thread ends, with its connections, when nobody has its inbox.
        let workers = inboxes.clone();
        // The kernel takes down the ring of a killed process when it has time. Until then that ring
        // would hold the listeners, and the next server could not have them.
        let epoll = driver::epoll();
        driver::spawn(&epoll, "accept", move || accept::all(server, listeners, workers))
            .context("cannot start the thread that accepts")?;
        // On Linux, this has a waiting `accept` return.
        let stop = |socket: &Socket| socket.shutdown(Shutdown::Both);
        lifetime.wait(|| {
            if let Err(error) = sockets.iter().try_for_each(stop) {
                warn!("cannot stop listening: {error}");
            }
        });
        drop(inboxes);
        Ok(())
    }
}
