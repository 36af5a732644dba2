//! zeoxide on threads: two for each connection, one that reads and one that pushes.
//!
//! A request costs one read and one write, and a lock that is hardly ever contended: the reader
//! answers by itself. The pusher sleeps until something reaches the connection's mailbox that the
//! reader will not look for.
//!
//! **Never**: a poll for readiness, a wait for a client that does not read.
//!
//! Start reading at [`client`].

mod client;

use std::io;
use std::net::Shutdown;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Context as _;
use server::{Listener, Runtime, Server, Setup};
use socket2::Socket;
use tracing::warn;

fn main() -> ExitCode {
    server::run::<Threads>()
}

/// Blocking calls, and a scheduler that is the system's.
struct Threads;

impl Runtime for Threads {
    const NAME: &'static str = "zeoxide-threads";

    fn serve(Setup { server, listeners, threads, lifetime }: Setup) -> anyhow::Result<()> {
        if threads.is_some() {
            warn!("--threads has no effect: every connection has its own");
        }
        let mut sockets = Vec::new();
        for listener in listeners {
            sockets.push(listener.socket.try_clone()?);
            accept(Arc::clone(&server), listener).context("cannot start a thread")?;
        }
        // On Linux, this has a blocked `accept` return.
        let stop = |socket: &Socket| socket.shutdown(Shutdown::Both);
        lifetime.wait(|| {
            if let Err(error) = sockets.iter().try_for_each(stop) {
                warn!("cannot stop listening: {error}");
            }
        });
        Ok(())
    }
}

/// Starts the thread that accepts from `listener` until the server stops.
fn accept(server: Arc<Server>, listener: Listener) -> io::Result<JoinHandle<()>> {
    let accept = move || {
        loop {
            let error = match next(&listener) {
                Ok((socket, name)) => {
                    client::start(&server, &listener.welcome, name, socket);
                    continue;
                }
                Err(error) => error,
            };
            let Some(pause) = server.after_failed_accept(&error) else { return };
            thread::sleep(pause);
        }
    };
    thread::Builder::new().name("accept".to_owned()).spawn(accept)
}

/// The next client, and its name in log lines.
fn next(listener: &Listener) -> io::Result<(Socket, String)> {
    let (socket, address) = listener.socket.accept()?;
    if !listener.is_unix {
        // That a client is gone already is found by the first read.
        let _set = socket.set_tcp_nodelay(true);
    }
    Ok((socket, server::peer_name(&address)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use server::Dialect;

    use super::*;

    /// Otherwise every answer that is sent behind another one waits for the client's kernel.
    #[test]
    fn answers_are_not_held_back() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let listener =
            Listener { socket: socket.into(), welcome: Dialect::Pickle.into(), is_unix: false };
        assert!(next(&listener).unwrap().0.tcp_nodelay().unwrap());
    }
}
