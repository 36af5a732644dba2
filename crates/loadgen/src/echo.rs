//! The floor: a server that reads a record from a file and sends it, and does nothing else.
//!
//! One thread with epoll, one `recv`, one `pread` and one `send` for each request of a client that
//! waits for its answers. No server of records can need less, so what one needs more is its own.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use clap::Args;
use protocol::Oid;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::data;
use crate::engine::FIRST_READ;
use crate::wire::{REPLY_HEAD_BYTES, parse_request};

/// Be the floor that servers are compared with.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Wait here for clients; it is told on standard output as `listening HOST:PORT`, then `ready`
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// How many records there are
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    objects: u64,
    /// The length of each
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    record_bytes: usize,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&options.listen).context("listening")?;
    let mut server = Echo {
        records: records(options)?,
        record_bytes: options.record_bytes.max(data::HEAD_BYTES),
        clients: Vec::new(),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
    };
    listener.set_nonblocking(true)?;
    let data = epoll::EventData::new_u64(LISTENER);
    epoll::add(&server.epoll, listener.as_fd(), data, epoll::EventFlags::IN)?;
    println!("listening {}\nready", listener.local_addr()?);
    io::stdout().flush()?;
    server.serve(&listener)
}

/// A file of all records, of which only this process knows.
fn records(options: &Options) -> anyhow::Result<File> {
    let mut file = tempfile::tempfile().context("a temporary file")?;
    let mut record = Vec::new();
    for n in 0..options.objects {
        record.clear();
        data::append(Oid(FIRST_READ + n), 1, options.record_bytes, &mut record);
        file.write_all(&record)?;
    }
    Ok(file)
}

const LISTENER: u64 = u64::MAX;

struct Echo {
    records: File,
    record_bytes: usize,
    /// By number; gone ones are `None`.
    clients: Vec<Option<Client>>,
    epoll: rustix::fd::OwnedFd,
}

struct Client {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    written: usize,
}

impl Echo {
    fn serve(&mut self, listener: &TcpListener) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(1024);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("epoll"),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(listener)?,
                    number => self.turn(number as usize),
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> anyhow::Result<()> {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            let data = epoll::EventData::new_u64(self.clients.len() as u64);
            epoll::add(&self.epoll, stream.as_fd(), data, flags)?;
            let (input, output) = (BytesMut::new(), Vec::new());
            self.clients.push(Some(Client { stream, input, output, written: 0 }));
        }
        Ok(())
    }

    /// A client that does anything wrong is dropped.
    fn turn(&mut self, number: usize) {
        let Some(slot) = self.clients.get_mut(number) else { return };
        let Some(client) = slot else { return };
        if client.turn(&self.records, self.record_bytes).is_err() {
            *slot = None;
        }
    }
}

const READ_BYTES: usize = 16 << 10;

impl Client {
    fn turn(&mut self, records: &File, record_bytes: usize) -> anyhow::Result<()> {
        loop {
            let start = self.input.len();
            self.input.resize(start + READ_BYTES, 0);
            let read = self.stream.read(self.input.get_mut(start..).unwrap_or_default());
            let count = match read {
                Ok(0) => bail!("gone"),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error.into()),
            };
            self.input.truncate(start + count);
            while let Some((ticket, oid)) = parse_request(&mut self.input) {
                self.answer(ticket, oid, records, record_bytes)?;
            }
            self.send()?;
            if count < READ_BYTES {
                return Ok(());
            }
        }
    }

    fn answer(
        &mut self,
        ticket: u64,
        oid: Oid,
        records: &File,
        record_bytes: usize,
    ) -> anyhow::Result<()> {
        let start = self.output.len();
        self.output.resize(start + REPLY_HEAD_BYTES + record_bytes, 0);
        let reply = self.output.get_mut(start..).unwrap_or_default();
        let (head, record) = reply.split_at_mut(REPLY_HEAD_BYTES);
        let (length, number) = head.split_at_mut(4);
        length.copy_from_slice(&((8 + record_bytes) as u32).to_be_bytes());
        number.copy_from_slice(&ticket.to_be_bytes());
        let offset = oid.0.checked_sub(FIRST_READ).context("no such record")?;
        Ok(records.read_exact_at(record, offset * record_bytes as u64)?)
    }

    fn send(&mut self) -> anyhow::Result<()> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.written = 0;
        self.output.clear();
        Ok(())
    }
}
