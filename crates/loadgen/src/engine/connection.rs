//! A socket with its wire, and the operations that are under way on it.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use client::Tls;
use protocol::Oid;
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::stream::{Received, Stream};
use crate::sizes::Sizes;
use crate::wire::{self, Event, Wire};

/// One connection.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) wire: Box<dyn Wire>,
    input: BytesMut,
    /// From `written` on, not sent yet.
    output: Vec<u8>,
    written: usize,
    /// Loads, oldest first.
    pub(super) loads: VecDeque<Load>,
    /// The one operation under way that is no load: a commit, or connecting.
    pub(super) single: Option<Times>,
    /// Sent and received, before encryption and after it.
    pub(super) bytes: (u64, u64),
}

/// The beginning of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When a user would have asked.
    pub(super) intended: Instant,
    /// When the generator got to it.
    pub(super) noticed: Instant,
    /// When it was asked: later than noticed if the connection was busy.
    pub(super) sent: Instant,
}

impl Times {
    /// Of an operation that nobody has planned.
    pub(super) fn at(now: Instant) -> Self {
        Self { intended: now, noticed: now, sent: now }
    }
}

/// A load under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    ticket: u64,
    oid: Oid,
    times: Times,
}

/// Where reads put their bytes at first. One for all connections: to clear memory for each read
/// would cost more than to copy what has come.
pub(super) struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Self {
        Self(vec![0; 64 << 10].into())
    }
}

impl Connection {
    /// Connects; the handshake goes on by events.
    pub(super) fn open(protocol: &str, address: &str, tls: Option<&Tls>) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connecting {address}"))?;
        stream.set_nonblocking(true)?;
        Self::of(Stream::new(stream, tls)?, protocol)
    }

    /// Disconnects, and connects again to the same server, without waiting for anything.
    pub(super) fn reopen(&mut self, protocol: &str) -> anyhow::Result<()> {
        let server = self.stream.socket.peer_addr().context("the server's address")?;
        // A reset: thousands of ports in TIME_WAIT would be used up soon.
        SockRef::from(&self.stream.socket).set_linger(Some(Duration::ZERO)).context("SO_LINGER")?;
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error).with_context(|| format!("connecting {server}"));
            }
            _ => {}
        }
        let (bytes, stream) = (self.bytes, self.stream.again(socket.into())?);
        *self = Self { bytes, ..Self::of(stream, protocol)? };
        Ok(())
    }

    fn of(stream: Stream, protocol: &str) -> anyhow::Result<Self> {
        stream.socket.set_nodelay(true)?;
        Ok(Self {
            stream,
            wire: wire::new(protocol)?,
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
            loads: VecDeque::new(),
            single: None,
            bytes: (0, 0),
        })
    }

    pub(super) fn load(&mut self, oid: Oid, times: Times) -> anyhow::Result<()> {
        let ticket = self.wire.load(oid)?;
        self.loads.push_back(Load { ticket, oid, times });
        Ok(())
    }

    /// The load that `ticket` is the answer of, whose record has to be right.
    pub(super) fn loaded(
        &mut self,
        ticket: u64,
        data: Option<&[u8]>,
        sizes: Sizes,
    ) -> anyhow::Result<Times> {
        // Answers come in order, as a rule.
        let position = self.loads.iter().position(|load| load.ticket == ticket);
        let load = position.and_then(|position| self.loads.remove(position));
        let Some(Load { oid, times, .. }) = load else { bail!("an answer that nobody asked for") };
        let Some(data) = data else { bail!("object {oid} is lost") };
        let revision = crate::data::check(oid, data);
        if revision.is_none_or(|revision| data.len() != sizes.bytes(oid, revision)) {
            bail!("object {oid}: {} wrong bytes", data.len());
        }
        Ok(times)
    }

    /// Reads once, by way of `scratch`; `None`: nothing was there.
    pub(super) fn receive(
        &mut self,
        Scratch(scratch): &mut Scratch,
    ) -> anyhow::Result<Option<Received>> {
        let (count, received) = loop {
            match self.stream.read(scratch) {
                Ok((0, _)) => bail!("the server closed a connection"),
                Ok(read) => break read,
                // A read with a time limit, when this process was stopped and goes on.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("reading from the server"),
            }
        };
        self.bytes.1 += count as u64;
        self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
        Ok(Some(received))
    }

    pub(super) fn next_event(&mut self) -> anyhow::Result<Option<Event>> {
        self.wire.handle_input(&mut self.input)
    }

    /// Writes what the socket takes.
    pub(super) fn send(&mut self) -> anyhow::Result<()> {
        loop {
            let rest = self.output.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                self.written = 0;
                if !self.wire.poll_transmit(&mut self.output) {
                    self.output.clear();
                    break;
                }
                continue;
            }
            match self.stream.write(rest) {
                Ok(count) => {
                    self.written += count;
                    self.bytes.0 += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("writing to the server"),
            }
        }
        match self.stream.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(error).context("writing to the server")
            }
            _ => Ok(()),
        }
    }
}
