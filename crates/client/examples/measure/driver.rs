//! Drives many connections from one thread.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use client::Session;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use protocol::{Codec, Incoming};

use crate::Failed;
use crate::work::{Blocking, Work};

/// Connections, each with its work.
pub(crate) struct Driver<C> {
    poll: Poll,
    connections: Vec<Connection<C>>,
}

/// What came of a turn.
pub(crate) struct Turn {
    pub(crate) seconds: f64,
    /// Of each unit of work, in ascending order.
    pub(crate) latencies_us: Vec<u32>,
}

struct Connection<C> {
    stream: TcpStream,
    session: Session<C>,
    input: BytesMut,
    /// From `written` on, not sent yet.
    output: Vec<u8>,
    written: usize,
    work: Work,
    asked: Instant,
}

const READ_BYTES: usize = 16 << 10;

impl<C: Codec> Driver<C> {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self { poll: Poll::new()?, connections: Vec::new() })
    }

    pub(crate) fn add(&mut self, connection: Blocking<C>, work: Work) -> Result<(), Failed> {
        let Blocking { stream, session, input, .. } = connection;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(self.connections.len()), both)?;
        let (output, asked) = (Vec::new(), Instant::now());
        self.connections.push(Connection {
            stream,
            session,
            input,
            output,
            written: 0,
            work,
            asked,
        });
        Ok(())
    }

    /// Works for `duration`; what is under way then is not counted.
    pub(crate) fn run(mut self, duration: Duration) -> Result<Turn, Failed> {
        let mut latencies_us = Vec::new();
        let began = Instant::now();
        for connection in &mut self.connections {
            connection.ask()?;
            connection.send()?;
        }
        let mut events = Events::with_capacity(1024);
        while began.elapsed() < duration {
            self.poll.poll(&mut events, Some(PATIENCE))?;
            if events.is_empty() {
                return Err(format!("nothing was answered for {PATIENCE:?}").into());
            }
            for event in &events {
                if let Some(connection) = self.connections.get_mut(event.token().0) {
                    connection.receive(&mut latencies_us)?;
                    connection.send()?;
                }
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        latencies_us.sort_unstable();
        Ok(Turn { seconds, latencies_us })
    }
}

impl Turn {
    /// The latency that a share of all is not above.
    pub(crate) fn latency_us(&self, share: f64) -> u32 {
        let position = (share * self.latencies_us.len() as f64).ceil() as usize;
        self.latencies_us.get(position.max(1) - 1).copied().unwrap_or(0)
    }
}

impl<C: Codec> Connection<C> {
    fn ask(&mut self) -> Result<(), Failed> {
        self.asked = Instant::now();
        self.work.ask(&mut self.session)
    }

    /// Reads until the socket is empty, which a short read proves, and goes on with the work.
    fn receive(&mut self, latencies_us: &mut Vec<u32>) -> Result<(), Failed> {
        loop {
            let start = self.input.len();
            self.input.resize(start + READ_BYTES, 0);
            let read = self.stream.read(self.input.get_mut(start..).unwrap_or_default());
            let count = match read {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error.into()),
            };
            self.input.truncate(start + count);
            while let Some(incoming) = self.session.handle_input(&mut self.input)? {
                let Incoming::Reply { reply, .. } = incoming else { continue };
                if self.work.answer(reply, &mut self.session)? {
                    let latency = self.asked.elapsed().as_micros();
                    latencies_us.push(u32::try_from(latency).unwrap_or(u32::MAX));
                    self.ask()?;
                }
            }
            if count < READ_BYTES {
                return Ok(());
            }
        }
    }

    /// Writes what the socket takes.
    fn send(&mut self) -> Result<(), Failed> {
        loop {
            let rest = self.output.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                self.written = 0;
                if !self.session.poll_transmit(&mut self.output) {
                    self.output.clear();
                    return Ok(());
                }
                continue;
            }
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A server that answers none of 64 clients for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);
