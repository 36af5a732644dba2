//! A connection's socket, with TLS or without, which may block or not.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::Context as _;
use client::Tls;
use rustls::ClientConnection;

/// What one read has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// As much as was asked for: there may be more.
    Full,
    /// All that there was, except for the end of the connection.
    All,
}

pub(super) struct Stream {
    pub(super) socket: TcpStream,
    tls: Option<Box<Layer>>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, tls: Option<&Tls>) -> anyhow::Result<Self> {
        Ok(Self { socket, tls: tls.map(Layer::new).transpose()?.map(Box::new) })
    }

    /// For the next connection to the same server.
    pub(super) fn again(&self, socket: TcpStream) -> anyhow::Result<Self> {
        Self::new(socket, self.tls.as_ref().map(|layer| &layer.with))
    }

    /// Reads into a buffer of 64 KiB; 0 bytes are the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Received)> {
        if let Some(layer) = &mut self.tls {
            return layer.read(&mut self.socket, buffer);
        }
        let count = self.socket.read(buffer)?;
        Ok((count, if count == buffer.len() { Received::Full } else { Received::All }))
    }

    /// Takes some bytes; those that the socket has not taken yet leave with [`Self::flush`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(bytes),
            Some(layer) => layer.write(&mut self.socket, bytes),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(layer) => layer.flush(&mut self.socket),
        }
    }
}

struct Layer {
    connection: ClientConnection,
    with: Tls,
    /// Memory for what is read.
    sealed: Box<[u8]>,
}

impl Layer {
    fn new(with: &Tls) -> anyhow::Result<Self> {
        let name = with.server_name.clone();
        let connection = ClientConnection::new(Arc::clone(&with.config), name);
        let connection = connection.context("TLS")?;
        Ok(Self { connection, with: with.clone(), sealed: vec![0; SEALED_BYTES].into() })
    }

    /// Reads from the socket until something was found in it. So it blocks only where the socket
    /// does, and where there is nothing else to return.
    fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Received)> {
        // What did not fit into the last caller's buffer, and is not in the socket any more.
        let left = self.open(buffer, 0)?;
        if left > 0 {
            return Ok((left, Received::Full));
        }
        loop {
            let count = socket.read(&mut self.sealed)?;
            if count == 0 {
                return Ok((0, Received::All));
            }
            let mut found = 0;
            let mut start = 0;
            while start < count {
                let mut rest = self.sealed.get(start..count).unwrap_or_default();
                start += self.connection.read_tls(&mut rest)?;
                found = self.open(buffer, found)?;
            }
            // The handshake goes on by itself.
            match self.flush(socket) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            let may_be_more = count == self.sealed.len() || found == buffer.len();
            if found > 0 {
                return Ok((found, if may_be_more { Received::Full } else { Received::All }));
            }
        }
    }

    /// Moves what was received to `buffer`, behind what is there, as far as there is room; gives
    /// how much is there then.
    fn open(&mut self, buffer: &mut [u8], mut found: usize) -> io::Result<usize> {
        let processed = self.connection.process_new_packets();
        processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        loop {
            let room = buffer.get_mut(found..).unwrap_or_default();
            match self.connection.reader().read(room) {
                Ok(0) => return Ok(found),
                Ok(count) => found += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(found),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes no more before all that it took has left: so what waits is bounded, and there is
    /// always room.
    fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        let count = self.connection.writer().write(bytes)?;
        match self.flush(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(count),
        }
    }

    fn flush(&mut self, socket: &mut TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(socket)?;
        }
        Ok(())
    }
}

/// The largest record of TLS, nearly.
const SEALED_BYTES: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::channel;
    use std::thread;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::tls::Trust;

    fn server(folder: &std::path::Path) -> ServerConnection {
        let file = folder.join("tls.pem");
        let certificate = CertificateDer::from_pem_file(&file).unwrap();
        let key = PrivateKeyDer::from_pem_file(&file).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        ServerConnection::new(Arc::new(config)).unwrap()
    }

    /// The peer reads nothing until the socket is full, and then sends all of it back.
    #[test]
    fn whatever_the_socket_takes_and_gives_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Trust::make(folder.path()).unwrap().tls().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (full, is_full) = channel::<()>();
        let mut connection = server(folder.path());
        let peer = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            while connection.is_handshaking() {
                connection.complete_io(&mut socket).unwrap();
            }
            is_full.recv().unwrap();
            let mut stream = rustls::StreamOwned::new(connection, socket);
            let mut bytes = vec![0; BYTES];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
            // Its end is told by TLS.
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        });
        let mut stream = Stream::new(socket, Some(&tls)).unwrap();
        // The handshake begins with a flush, and goes on by itself.
        stream.flush().unwrap();
        stream.socket.set_nonblocking(true).unwrap();
        let sent: Vec<u8> = (0..BYTES).map(|at| (at / 1000 * 7 + at) as u8).collect();
        let (mut written, mut received) = (0, Vec::new());
        let mut scratch = vec![0; 64 << 10];
        loop {
            let rest = &sent[written..];
            match if rest.is_empty() { stream.flush().map(|()| 0) } else { stream.write(rest) } {
                Ok(count) => written += count,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    if written > 0 {
                        _ = full.send(());
                    }
                }
            }
            match stream.read(&mut scratch) {
                Ok((0, _)) => break,
                Ok((count, _)) => received.extend_from_slice(&scratch[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            thread::yield_now();
        }
        assert!(received == sent, "{} bytes came back", received.len());
        peer.join().unwrap();
    }

    /// More than sockets hold.
    const BYTES: usize = 20 << 20;
}
