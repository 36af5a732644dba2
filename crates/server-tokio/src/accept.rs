//! Taking clients in.

use std::io;
use std::sync::Arc;
use std::thread;

use server::{Dialect, Server};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::task;

/// What both kinds of listeners do.
pub(crate) trait Accept: Send + Sync {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next client, and its name in log lines.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, String)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, String)> {
        let (stream, address) = self.accept().await?;
        // That a client is gone already is found by the first read.
        let _set = stream.set_nodelay(true);
        Ok((stream, address.to_string()))
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, String)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, "unix".to_owned()))
    }
}

/// Accepts until the server stops.
pub(crate) async fn all(listener: impl Accept, dialect: Dialect, server: Arc<Server>) {
    loop {
        let error = match listener.next().await {
            Ok((stream, name)) => {
                task::spawn(&server, dialect, name, stream);
                continue;
            }
            Err(error) => error,
        };
        let Some(pause) = server.after_failed_accept(&error) else { return };
        if !pause.is_zero() {
            // Rare, and worth a thread: a timer would cost every turn of the loop.
            let _slept = tokio::task::spawn_blocking(move || thread::sleep(pause)).await;
        }
    }
}
