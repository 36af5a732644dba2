//! Taking clients in.

use std::io;
use std::sync::Arc;

use server::{Server, Welcome};
use smol::{Async, Timer};
use socket2::Socket;

use crate::task;

/// Accepts until the server stops.
pub(crate) async fn all(
    listener: Async<Socket>,
    is_unix: bool,
    welcome: Welcome,
    server: Arc<Server>,
) {
    loop {
        let error = match next(&listener, is_unix).await {
            Ok((socket, name)) => {
                task::spawn(&server, &welcome, name, socket);
                continue;
            }
            Err(error) => error,
        };
        let Some(pause) = server.after_failed_accept(&error) else { return };
        Timer::after(pause).await;
    }
}

/// The next client, and its name in log lines.
async fn next(listener: &Async<Socket>, is_unix: bool) -> io::Result<(Async<Socket>, String)> {
    let (socket, address) = listener.read_with(Socket::accept).await?;
    if !is_unix {
        // That a client is gone already is found by the first read.
        let _set = socket.set_tcp_nodelay(true);
    }
    Ok((Async::new(socket)?, server::peer_name(&address)))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Otherwise every answer that is sent behind another one waits for the client's kernel.
    #[test]
    fn answers_are_not_held_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listener = Async::new(Socket::from(listener)).unwrap();
        let (socket, _) = smol::block_on(next(&listener, false)).unwrap();
        assert!(socket.get_ref().tcp_nodelay().unwrap());
    }
}
