//! Taking clients in.

use std::io;
use std::sync::Arc;

use async_std::io::{Read, Write};
use async_std::net::{TcpListener, TcpStream};
use async_std::os::unix::net::{UnixListener, UnixStream};
use async_std::task;
use server::{Server, Welcome};

use crate::client;

/// What both kinds of listeners do.
pub(crate) trait Accept: Send + Sync {
    type Stream: Read + Write + Send + Unpin + 'static;

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
pub(crate) async fn all(listener: impl Accept, welcome: Welcome, server: Arc<Server>) {
    loop {
        let error = match listener.next().await {
            Ok((stream, name)) => {
                client::spawn(&server, &welcome, name, stream);
                continue;
            }
            Err(error) => error,
        };
        let Some(pause) = server.after_failed_accept(&error) else { return };
        task::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise every answer that is sent behind another one waits for the client's kernel.
    #[test]
    fn answers_are_not_held_back() {
        let stream = task::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            listener.next().await.unwrap().0
        });
        assert!(stream.nodelay().unwrap());
    }
}
