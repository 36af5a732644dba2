//! What the coordinator and its workers say to each other: one JSON value a line, over TCP.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use measure::{Histogram, Usage};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::tls::Trust;
use crate::workload::Workload;

/// Changes with every change of the messages: both ends must be of one build.
pub(crate) const VERSION: &str = concat!("loadgen ", env!("CARGO_PKG_VERSION"), ", control 4");

/// What the coordinator says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// First of all.
    Hello { version: String },
    /// Asks for the time.
    Clock,
    /// Connect, and make ready what the job needs.
    Prepare(Box<Job>),
    /// Begin at this time of the worker's own clock, in nanoseconds since 1970.
    Start { at_unix_ns: u64 },
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// To [`Order::Hello`].
    Hello { version: String, cpus: usize },
    /// To [`Order::Clock`].
    Clock { unix_ns: u64 },
    /// To [`Order::Prepare`].
    Ready,
    /// What was done in this second of the counted time, or since the last one that was told of.
    Interval { second: u64, response: Histogram },
    /// The end of a job.
    Done(Box<Done>),
    /// The end of a job, or of a preparation, that failed.
    Failed { error: String },
}

/// One worker's part of a point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// `msgpack`, `pickle`, `proto`, `redis`, `memcached`, `echo`.
    pub(crate) protocol: String,
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// `None`: connections are not encrypted.
    pub(crate) tls: Option<Trust>,
    pub(crate) workload: Workload,
    /// Connections of this worker, and how many of all come before them.
    pub(crate) connections: u32,
    pub(crate) first_connection: u32,
    /// Connections of all workers.
    pub(crate) all_connections: u32,
    pub(crate) depth: u32,
    /// Of all workers, as `all_connections`. A search is jobs of the other kinds.
    pub(crate) load: measure::Loop,
    /// The CPU that a worker is to stay on, or none; in the job of all of them, one for each.
    pub(crate) cpus: Vec<u32>,
    /// Whether workers never sleep before an arrival: they have CPUs to themselves.
    pub(crate) is_sleepless: bool,
    pub(crate) warmup_seconds: f64,
    pub(crate) seconds: f64,
    /// What is under way at the end must be answered within this time.
    pub(crate) drain_seconds: f64,
    pub(crate) seed: u64,
}

/// What came of a worker's part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) operations: u64,
    /// Those that were answered in the counted time, whenever they were intended.
    pub(crate) completed: u64,
    pub(crate) seconds: f64,
    pub(crate) response: Histogram,
    pub(crate) service: Histogram,
    pub(crate) lag: Histogram,
    pub(crate) usage: Usage,
    /// How much of it went into looking at the clock.
    pub(crate) spun_seconds: f64,
    pub(crate) bytes: (u64, u64),
}

/// A control connection.
#[derive(Debug)]
pub(crate) struct Line {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Line {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { input: BufReader::new(stream.try_clone()?), output: stream })
    }

    pub(crate) fn send(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.output.write_all(&line).context("the control connection")
    }

    /// The next message; `None` when the other end has closed the connection.
    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> anyhow::Result<Option<M>> {
        let mut line = String::new();
        if self.input.read_line(&mut line).context("the control connection")? == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line).map(Some).context("not a control message")
    }

    /// The next message, which has to come.
    pub(crate) fn expect<M: DeserializeOwned>(&mut self) -> anyhow::Result<M> {
        match self.receive()? {
            Some(message) => Ok(message),
            None => bail!("the other end of the control connection is gone"),
        }
    }

    /// For who has to end the connection while another thread waits for a message.
    pub(crate) fn socket(&self) -> io::Result<TcpStream> {
        self.output.try_clone()
    }

    /// Ends waits for a message that does not come.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.output.set_read_timeout(patience)
    }
}

/// The time in nanoseconds since 1970.
pub(crate) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
