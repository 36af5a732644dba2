//! The coordinator's side of the control connections: workers, told and heard together.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use measure::{Histogram, Interval};

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
    /// CPU time of the worker that used most, without what it spent on looking at the clock.
    pub(crate) busiest_seconds: f64,
}

/// Time to tell all workers when to start.
const LEAD: Duration = Duration::from_millis(50);

/// A worker that says nothing for so long is lost.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often an interruption is looked for.
const TICK: Duration = Duration::from_millis(100);

impl Fleet {
    /// Connects to workers that somebody has started, or starts `count` on this host.
    pub(crate) fn new(agents: &[String], count: u32) -> anyhow::Result<Self> {
        let workers = if agents.is_empty() {
            (0..count.max(1)).map(|_| Worker::start()).collect::<anyhow::Result<_>>()?
        } else {
            let connect = |address: &String| Worker::connect(address, None);
            agents.iter().map(connect).collect::<anyhow::Result<_>>()?
        };
        Ok(Self { workers })
    }

    /// Has all workers connect. `whole`: the job of all together; each gets its share.
    pub(crate) fn prepare(&mut self, whole: &Job) -> anyhow::Result<()> {
        let count = if whole.workload.is_of_one_worker() { 1 } else { self.workers.len() as u32 };
        let mut first = 0;
        for (number, worker) in (0..).zip(&mut self.workers) {
            let connections = share(whole.connections, count, number);
            let cpu = whole.cpus.iter().cycle().nth(number as usize).copied();
            let cpus = cpu.into_iter().collect();
            let job = Job { connections, first_connection: first, cpus, ..whole.clone() };
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

    /// Starts what was prepared. `look` is called at both ends of the counted time, `progress` with
    /// the responses of each of its seconds. After an error (also when `interrupted`) the workers
    /// are of no use any more.
    pub(crate) fn run(
        &mut self,
        job: &Job,
        interrupted: &AtomicBool,
        mut look: impl FnMut(),
        mut progress: impl FnMut(&Histogram),
    ) -> anyhow::Result<Sum> {
        let (at_unix_ns, begin) = (unix_ns() + LEAD.as_nanos() as u64, Instant::now() + LEAD);
        let warmup = Duration::from_secs_f64(job.warmup_seconds);
        let sockets = self.workers.iter().map(|worker| worker.line.socket());
        let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
        for worker in &mut self.workers {
            worker.line.set_patience(Some(PATIENCE + warmup))?;
            let at_unix_ns = at_unix_ns.saturating_add_signed(worker.offset_ns);
            worker.line.send(&Order::Start { at_unix_ns })?;
        }
        let (sender, reports) = mpsc::channel();
        let mut collected = Collected::new(self.workers.len(), job.seconds);
        thread::scope(|scope| {
            for worker in &mut self.workers {
                let sender = sender.clone();
                scope.spawn(move || worker.report(&sender));
            }
            drop(sender);
            let warm = begin + warmup;
            let end = warm + Duration::from_secs_f64(job.seconds);
            let mut all = || -> anyhow::Result<()> {
                collected.until(Some(warm), &reports, interrupted, &mut progress)?;
                look();
                collected.until(Some(end), &reports, interrupted, &mut progress)?;
                look();
                collected.until(None, &reports, interrupted, &mut progress)
            };
            let ended = all();
            if ended.is_err() {
                // Nobody waits for the others; what is closed already is no matter.
                sockets.iter().for_each(|socket| _ = socket.shutdown(Shutdown::Both));
            }
            ended
        })?;
        Ok(collected.sum())
    }
}

/// What workers have said.
struct Collected {
    workers: usize,
    seconds: f64,
    sum: Sum,
    /// By second: how many workers have told of it, and what.
    rows: BTreeMap<u64, (usize, Histogram)>,
}

impl Collected {
    fn new(workers: usize, seconds: f64) -> Self {
        Self { workers, seconds, sum: Sum::default(), rows: BTreeMap::new() }
    }

    /// Takes what comes until `deadline`, or until all workers have ended.
    fn until(
        &mut self,
        deadline: Option<Instant>,
        reports: &mpsc::Receiver<anyhow::Result<Report>>,
        interrupted: &AtomicBool,
        progress: &mut impl FnMut(&Histogram),
    ) -> anyhow::Result<()> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            match reports.recv_timeout(left.map_or(TICK, |left| left.min(TICK))) {
                Ok(report) => self.take(report?, progress)?,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn take(
        &mut self,
        report: Report,
        progress: &mut impl FnMut(&Histogram),
    ) -> anyhow::Result<()> {
        match report {
            Report::Interval { second, response } => {
                let (told, row) = self.rows.entry(second).or_default();
                row.add(&response);
                *told += 1;
                if *told == self.workers {
                    progress(row);
                }
            }
            Report::Done(done) => self.sum.add(&done),
            Report::Failed { error } => bail!("{error}"),
            other => bail!("a worker says {other:?}"),
        }
        Ok(())
    }

    fn sum(mut self) -> Sum {
        // A second of which nobody has told is one in which nothing was done.
        let whole = self.seconds.ceil() as u64;
        (0..whole).for_each(|second| _ = self.rows.entry(second).or_default());
        let interval = |(second, (_, row)): (u64, (usize, Histogram))| {
            let at = (second + 1) as f64;
            Interval::of(if second < whole { at.min(self.seconds) } else { at }, &row)
        };
        self.sum.intervals = self.rows.into_iter().map(interval).collect();
        self.sum.done.seconds = self.seconds;
        self.sum
    }
}

impl Sum {
    fn add(&mut self, done: &Done) {
        let sum = &mut self.done;
        sum.operations += done.operations;
        sum.completed += done.completed;
        sum.response.add(&done.response);
        sum.service.add(&done.service);
        sum.lag.add(&done.lag);
        sum.usage = sum.usage.and(done.usage);
        sum.spun_seconds += done.spun_seconds;
        let busy_seconds = done.usage.cpu_seconds() - done.spun_seconds;
        self.busiest_seconds = self.busiest_seconds.max(busy_seconds);
        sum.bytes = (sum.bytes.0 + done.bytes.0, sum.bytes.1 + done.bytes.1);
    }
}

fn share(all: u32, count: u32, number: u32) -> u32 {
    if number < count { all / count + u32::from(number < all % count) } else { 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        latencies.iter().for_each(|latency| histogram.record(*latency));
        histogram
    }

    #[test]
    fn seconds_of_workers_are_added_in_whatever_order_they_come() {
        let mut collected = Collected::new(2, 2.5);
        let mut seen = Vec::new();
        for (second, latencies) in [(0, [7, 7]), (2, [8, 8]), (0, [9, 9]), (3, [9, 9])] {
            let report = Report::Interval { second, response: of(&latencies) };
            collected.take(report, &mut |row: &Histogram| seen.push(row.count())).unwrap();
        }
        assert_eq!(seen, [4], "the one second that both have told of");
        let intervals = collected.sum().intervals;
        let found: Vec<_> = intervals.iter().map(|i| (i.at, i.operations, i.max_ns)).collect();
        assert_eq!(found, [(1.0, 4, 9), (2.0, 0, 0), (2.5, 2, 8), (4.0, 2, 9)]);
    }

    #[test]
    fn all_connections_are_shared_out() {
        assert_eq!((0..4).map(|number| share(7, 3, number)).collect::<Vec<_>>(), [3, 2, 2, 0]);
    }
}
