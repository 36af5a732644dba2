//! The coordinator's side of the control connections: workers, told and heard together.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use measure::{Histogram, Interval, Loop};

use crate::control::{Done, Job, Line, Order, Report, VERSION, unix_ns};

/// Workers, on this host or others.
pub(crate) struct Fleet {
    workers: Vec<Worker>,
}

struct Worker {
    line: Line,
    /// Of this host.
    child: Option<Child>,
    /// Its clock minus ours.
    offset_ns: i64,
}

/// What all workers did together.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) done: Done,
    pub(crate) intervals: Vec<Interval>,
}

/// The beginning of a job, once all workers are ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    /// By this host's clock.
    pub(crate) at_unix_ns: u64,
}

/// Time to tell all workers when to start.
const LEAD: Duration = Duration::from_millis(50);

/// A worker that says nothing for so long is lost.
const PATIENCE: Duration = Duration::from_secs(90);

impl Fleet {
    /// Starts `count` workers on this host.
    pub(crate) fn start(count: u32) -> anyhow::Result<Self> {
        let workers = (0..count.max(1)).map(|_| Worker::start()).collect::<anyhow::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Connects to workers that somebody has started.
    pub(crate) fn connect(addresses: &[String]) -> anyhow::Result<Self> {
        let connect = |address: &String| Worker::connect(address, None);
        Ok(Self { workers: addresses.iter().map(connect).collect::<anyhow::Result<_>>()? })
    }

    pub(crate) fn len(&self) -> u32 {
        self.workers.len() as u32
    }

    /// Has all workers connect. `whole`: the job of all together; each gets its share.
    pub(crate) fn prepare(&mut self, whole: &Job) -> anyhow::Result<()> {
        let count = self.len();
        let mut first = 0;
        for (number, worker) in (0..).zip(&mut self.workers) {
            let connections = share(whole.connections, count, number);
            let mut job = Job { connections, first_connection: first, ..whole.clone() };
            if let Loop::Open { rate, .. } = &mut job.load {
                *rate *= f64::from(connections) / f64::from(whole.connections.max(1));
            }
            first += connections;
            worker.line.send(&Order::Prepare(Box::new(job)))?;
        }
        for worker in &mut self.workers {
            match worker.line.expect()? {
                Report::Ready => {}
                Report::Failed { error } => bail!("{error}"),
                other => bail!("a worker answers {other:?}"),
            }
        }
        Ok(())
    }

    /// Starts what was prepared, and calls `begun` when all have been told.
    pub(crate) fn run(
        &mut self,
        seconds: f64,
        begun: impl FnOnce(Begin) + Send,
        mut progress: impl FnMut(&Histogram),
    ) -> anyhow::Result<Sum> {
        let at_unix_ns = unix_ns() + LEAD.as_nanos() as u64;
        for worker in &mut self.workers {
            let at_unix_ns = at_unix_ns.saturating_add_signed(worker.offset_ns);
            worker.line.send(&Order::Start { at_unix_ns })?;
        }
        let (sender, reports) = mpsc::channel();
        let count = self.workers.len();
        thread::scope(|scope| {
            for worker in &mut self.workers {
                let sender = sender.clone();
                scope.spawn(move || worker.report(&sender));
            }
            drop(sender);
            scope.spawn(move || begun(Begin { at_unix_ns }));
            collect(reports, count, seconds, &mut progress)
        })
    }
}

/// Adds up what workers say until all have ended.
fn collect(
    reports: mpsc::Receiver<anyhow::Result<Report>>,
    count: usize,
    seconds: f64,
    progress: &mut impl FnMut(&Histogram),
) -> anyhow::Result<Sum> {
    let mut sum = Sum::default();
    let mut failed = None;
    let mut rows = Rows { count, rows: Vec::new() };
    for report in reports {
        match report {
            Ok(Report::Interval { counted, response }) => {
                progress(&response);
                if counted {
                    rows.add(response);
                }
            }
            Ok(Report::Done(done)) => sum.add(&done),
            Ok(Report::Failed { error }) => {
                failed.get_or_insert_with(|| anyhow::anyhow!("{error}"));
            }
            Ok(other) => bail!("a worker says {other:?}"),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    sum.done.seconds = seconds;
    sum.intervals = rows.intervals(seconds);
    failed.map_or(Ok(sum), Err)
}

/// Intervals of all workers, row by row: all begin and tell at the same times.
struct Rows {
    count: usize,
    rows: Vec<Histogram>,
}

impl Rows {
    fn add(&mut self, response: Histogram) {
        self.rows.push(response);
    }

    fn intervals(self, seconds: f64) -> Vec<Interval> {
        let chunks: Vec<_> = self.rows.chunks(self.count).collect();
        let each = seconds / chunks.len().max(1) as f64;
        let interval = |(number, rows): (usize, &&[Histogram])| {
            let mut all = Histogram::default();
            rows.iter().for_each(|row| all.add(row));
            Interval {
                at: each * (number + 1) as f64,
                operations: all.count(),
                p50_ns: all.quantile_ns(0.5),
                p99_ns: all.quantile_ns(0.99),
                max_ns: all.max_ns(),
            }
        };
        chunks.iter().enumerate().map(interval).collect()
    }
}

impl Sum {
    fn add(&mut self, done: &Done) {
        let sum = &mut self.done;
        sum.operations += done.operations;
        sum.response.add(&done.response);
        sum.service.add(&done.service);
        sum.lag.add(&done.lag);
        sum.usage = sum.usage.and(done.usage);
        sum.bytes = (sum.bytes.0 + done.bytes.0, sum.bytes.1 + done.bytes.1);
    }
}

fn share(all: u32, count: u32, number: u32) -> u32 {
    all / count + u32::from(number < all % count)
}

impl Worker {
    fn start() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program's own path")?;
        let mut child = Command::new(own)
            .args(["agent", "--once"])
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .context("starting a worker")?;
        let mut output = BufReader::new(child.stdout.take().context("a worker's output")?);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let address = first.trim().strip_prefix("listening ").map(str::to_owned);
        let address = address.with_context(|| format!("a worker says {first:?}"))?;
        Self::connect(&address, Some(child))
    }

    fn connect(address: &str, child: Option<Child>) -> anyhow::Result<Self> {
        let connected = TcpStream::connect(address).with_context(|| format!("agent {address}"))?;
        let mut worker = Self { line: Line::new(connected)?, child, offset_ns: 0 };
        worker.line.set_patience(Some(PATIENCE))?;
        worker.line.send(&Order::Hello { version: VERSION.to_owned() })?;
        match worker.line.expect()? {
            Report::Hello { version, .. } if version == VERSION => {}
            Report::Hello { version, .. } => {
                bail!("agent {address} is {version:?}, and this is {VERSION:?}")
            }
            other => bail!("agent {address} answers {other:?}"),
        }
        worker.offset_ns = worker.clock_offset_ns()?;
        Ok(worker)
    }

    /// By the quickest of several questions.
    fn clock_offset_ns(&mut self) -> anyhow::Result<i64> {
        let mut best = (u64::MAX, 0);
        for _ in 0..8 {
            let asked = unix_ns();
            self.line.send(&Order::Clock)?;
            let Report::Clock { unix_ns: theirs } = self.line.expect()? else {
                bail!("an agent does not tell the time");
            };
            let took = unix_ns().saturating_sub(asked);
            let ours = asked + took / 2;
            best = best.min((took, theirs.wrapping_sub(ours) as i64));
        }
        Ok(best.1)
    }

    fn report(&mut self, sender: &mpsc::Sender<anyhow::Result<Report>>) {
        loop {
            let report = self.line.expect::<Report>();
            let ends = !matches!(report, Ok(Report::Interval { .. }));
            // The receiver is gone only if the coordinator has failed.
            if sender.send(report).is_err() || ends {
                return;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            _ = child.kill();
            _ = child.wait();
        }
    }
}
