//! A socket with its wire, and the operations that are under way on it.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use protocol::Oid;

use crate::wire::{self, Event, Wire};

/// One connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) wire: Box<dyn Wire>,
    input: BytesMut,
    /// From `written` on, not sent yet.
    output: Vec<u8>,
    written: usize,
    /// Loads, oldest first.
    pub(super) loads: VecDeque<Load>,
    /// The commit under way: when it was intended, and when it was sent.
    pub(super) commit: Option<Times>,
    pub(super) bytes: (u64, u64),
}

/// When an operation should have started, and did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) intended: Instant,
    pub(super) sent: Instant,
}

/// A load under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    ticket: u64,
    oid: Oid,
    times: Times,
}

/// One read asks for this much.
const READ_BYTES: usize = 16 << 10;

impl Connection {
    /// Connects; the handshake goes on by events.
    pub(super) fn open(protocol: &str, address: &str) -> anyhow::Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connecting {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            wire: wire::new(protocol)?,
            input: BytesMut::new(),
            output: Vec::new(),
            written: 0,
            loads: VecDeque::new(),
            commit: None,
            bytes: (0, 0),
        })
    }

    pub(super) fn load(&mut self, oid: Oid, times: Times) -> anyhow::Result<()> {
        let ticket = self.wire.load(oid)?;
        self.loads.push_back(Load { ticket, oid, times });
        Ok(())
    }

    /// The load that `ticket` is the answer of, whose record has to be right.
    pub(super) fn loaded(&mut self, ticket: u64, data: Option<&[u8]>) -> anyhow::Result<Times> {
        // Answers come in order, as a rule.
        let position = self.loads.iter().position(|load| load.ticket == ticket);
        let load = position.and_then(|position| self.loads.remove(position));
        let Some(Load { oid, times, .. }) = load else { bail!("an answer that nobody asked for") };
        let Some(data) = data else { bail!("object {oid} is lost") };
        if crate::data::check(oid, data).is_none() {
            bail!("object {oid}: {} wrong bytes", data.len());
        }
        Ok(times)
    }

    /// Reads once; `false`: nothing was there.
    pub(super) fn receive(&mut self) -> anyhow::Result<bool> {
        let start = self.input.len();
        self.input.resize(start + READ_BYTES, 0);
        let read = self.stream.read(self.input.get_mut(start..).unwrap_or_default());
        let count = match &read {
            Ok(count) => *count,
            Err(_) => 0,
        };
        self.input.truncate(start + count);
        self.bytes.1 += count as u64;
        match read {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => Ok(count == READ_BYTES),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error).context("reading from the server"),
        }
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
                    return Ok(());
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
    }
}
