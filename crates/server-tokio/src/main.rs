//! zeoxide on tokio: a task per connection, on as many threads as there are CPUs.
//!
//! A request costs one read and one write, besides its share of an `epoll_wait`: sockets are
//! registered once, edge-triggered, for both directions; a read that leaves room in the buffer
//! proves the socket empty; and the answer is written at once, without asking for readiness.
//!
//! **Never**: a timer, a lock or an allocation per request; a wait for a client that does not
//! read.
//!
//! Start reading at [`Tokio`], then [`task`].

mod accept;
mod task;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use server::{Runtime, Setup};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Builder;
use tokio::task::JoinHandle;

fn main() -> ExitCode {
    server::run::<Tokio>()
}

/// tokio's work-stealing scheduler, without its timers: they would be looked at in every turn.
struct Tokio;

impl Runtime for Tokio {
    const NAME: &'static str = "zeoxide-tokio";

    fn serve(Setup { server, listeners, threads, lifetime }: Setup) -> anyhow::Result<()> {
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = threads {
            builder.worker_threads(threads);
        }
        // A worker that runs out of work gives way once before it sleeps: what that lets others do
        // is mostly to send the next requests, and they then need no wake-up.
        builder.enable_io().on_thread_park(thread::yield_now);
        let runtime = builder.build().context("cannot start tokio")?;
        let _context = runtime.enter();
        let mut acceptors = Vec::new();
        for listener in listeners {
            let server = Arc::clone(&server);
            listener.socket.set_nonblocking(true)?;
            acceptors.push(if listener.is_unix {
                let sockets = UnixListener::from_std(listener.socket.into())?;
                runtime.spawn(accept::all(sockets, listener.welcome, server))
            } else {
                let sockets = TcpListener::from_std(listener.socket.into())?;
                runtime.spawn(accept::all(sockets, listener.welcome, server))
            });
        }
        lifetime.wait(|| acceptors.iter().for_each(JoinHandle::abort));
        Ok(())
    }
}
