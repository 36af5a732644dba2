//! zeoxide on async-std, **which is discontinued** (RUSTSEC-2025-0052): a task per connection.
//!
//! It is here to be compared with, not to be used: see the crate's README. A request costs three
//! reads, one write and one `epoll_ctl`, besides its share of an `epoll_wait`: async-std's streams
//! ask the socket first, then the reactor, which remembers what it told before, and then the socket
//! again. Requests are read into a buffer that the task owns, and copied from there: async-std
//! reads into memory that was written before.
//!
//! **Never**: a timer, a lock of ours or an allocation per request; a wait for a client that does
//! not read.
//!
//! Start reading at [`AsyncStd`], then [`client`].

mod accept;
mod client;

use std::net;
use std::os::fd::OwnedFd;
use std::os::unix;
use std::process::ExitCode;
use std::sync::Arc;

use async_global_executor::GlobalExecutorConfig;
use async_std::net::TcpListener;
use async_std::os::unix::net::UnixListener;
use async_std::task;
use server::{Runtime, Setup};
use tracing::info;

fn main() -> ExitCode {
    server::run::<AsyncStd>()
}

/// async-std's global executor.
struct AsyncStd;

impl Runtime for AsyncStd {
    const NAME: &'static str = "zeoxide-async-std";

    fn serve(Setup { server, listeners, threads, lifetime }: Setup) -> anyhow::Result<()> {
        info!("async-std is discontinued: this server is for comparisons only");
        if let Some(threads) = threads {
            // Before async-std does so: the first one counts.
            let config = GlobalExecutorConfig::default();
            async_global_executor::init_with_config(
                config.with_min_threads(threads).with_max_threads(threads),
            );
        }
        let mut acceptors = Vec::new();
        for listener in listeners {
            let server = Arc::clone(&server);
            let socket = OwnedFd::from(listener.socket);
            acceptors.push(if listener.is_unix {
                let sockets = UnixListener::from(unix::net::UnixListener::from(socket));
                task::spawn(accept::all(sockets, listener.welcome, server))
            } else {
                let sockets = TcpListener::from(net::TcpListener::from(socket));
                task::spawn(accept::all(sockets, listener.welcome, server))
            });
        }
        lifetime.wait(|| {
            for acceptor in acceptors {
                task::block_on(acceptor.cancel());
            }
        });
        Ok(())
    }
}
