//! A TCP or unix socket, the former with TLS or without.
//!
//! Also for whom [`crate::Client`] is too much, such as one who asks for a server's status.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use codecs::Address;

use crate::tls::{Tls, TlsStream};

/// A connected socket. Clones share the connection.
#[derive(Debug)]
pub struct Stream(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Tls(TlsStream),
    Unix(UnixStream),
}

impl Stream {
    /// Tries all addresses of a host, each one for `timeout`; `None`: as long as it takes.
    pub fn connect(address: &Address, timeout: Option<Duration>) -> io::Result<Self> {
        match address {
            Address::Unix(path) => Ok(Self(Socket::Unix(UnixStream::connect(path)?))),
            Address::Tcp { host, port } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                for socket_address in (host.as_str(), *port).to_socket_addrs()? {
                    let connected = match timeout {
                        Some(timeout) => TcpStream::connect_timeout(&socket_address, timeout),
                        None => TcpStream::connect(socket_address),
                    };
                    match connected {
                        Ok(stream) => {
                            // Requests are small, and written when somebody waits for the answer.
                            stream.set_nodelay(true)?;
                            return Ok(Self(Socket::Tcp(stream)));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// Encrypts what goes over a network from now on: shakes hands, within the time limits.
    pub fn secured(self, tls: &Tls) -> io::Result<Self> {
        match self.0 {
            Socket::Tcp(socket) => Ok(Self(Socket::Tls(TlsStream::new(socket, tls)?))),
            socket @ (Socket::Tls(_) | Socket::Unix(_)) => Ok(Self(socket)),
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match &self.0 {
            Socket::Tcp(stream) => stream.try_clone().map(Socket::Tcp),
            Socket::Tls(stream) => stream.try_clone().map(Socket::Tls),
            Socket::Unix(stream) => stream.try_clone().map(Socket::Unix),
        }
        .map(Self)
    }

    /// Ends the connection for all clones; a read under way returns.
    pub(crate) fn shutdown(&self) {
        // A socket that the peer has closed before cannot be shut down, and need not be.
        _ = match &self.0 {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Tls(stream) => stream.socket.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }

    /// For all clones; `None`: as long as it takes.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.0 {
            Socket::Tcp(stream) => stream.set_read_timeout(timeout),
            Socket::Tls(stream) => stream.socket.set_read_timeout(timeout),
            Socket::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// For all clones; `None`: as long as it takes.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.0 {
            Socket::Tcp(stream) => stream.set_write_timeout(timeout),
            Socket::Tls(stream) => stream.socket.set_write_timeout(timeout),
            Socket::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Tls(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Tls(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
