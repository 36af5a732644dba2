//! zeoxide on smol: a task per connection, on as many threads as there are CPUs.
//!
//! A request costs one read, one write and one `epoll_ctl`, besides its share of an `epoll_wait`:
//! smol's reactor tells of a socket once and has to be asked again. So a socket is read when it
//! was told of, never to find out whether something is there; and the answer is written at once,
//! without asking for readiness.
//!
//! **Never**: a timer, a lock of ours or an allocation per request; a wait for a client that does
//! not read.
//!
//! Start reading at [`Smol`], then [`task`].

mod accept;
mod task;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use server::{Runtime, Setup};
use smol::channel::{Receiver, bounded};
use smol::{Async, Executor};

fn main() -> ExitCode {
    server::run::<Smol>()
}

/// smol's work-stealing executor, on threads of its own: `smol::spawn` has one.
struct Smol;

static EXECUTOR: Executor<'static> = Executor::new();

impl Runtime for Smol {
    const NAME: &'static str = "zeoxide-smol";

    fn serve(Setup { server, listeners, threads, lifetime }: Setup) -> anyhow::Result<()> {
        let mut acceptors = Vec::new();
        for listener in listeners {
            let sockets = Async::new(listener.socket)?;
            let server = Arc::clone(&server);
            let accept = accept::all(sockets, listener.is_unix, listener.welcome, server);
            acceptors.push(EXECUTOR.spawn(accept));
        }
        let count =
            threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        // Closed, and the threads end, when this function does.
        let (open, closed) = bounded(1);
        thread::scope(|scope| {
            let _open = open;
            for _ in 0..count {
                let closed = &closed;
                let worker = thread::Builder::new().name("smol".to_owned());
                worker.spawn_scoped(scope, || work(closed)).context("cannot start a thread")?;
            }
            lifetime.wait(|| drop(acceptors));
            Ok(())
        })
    }
}

/// Runs tasks until nobody holds the other end.
fn work(closed: &Receiver<()>) {
    // A task that panics ends, and its connection with it; the thread goes on.
    let run = || smol::block_on(EXECUTOR.run(closed.recv()));
    while catch_unwind(AssertUnwindSafe(run)).is_err() {}
}
