//! Drivers: programs outside that load a server with a client which is not ours.
//!
//! They are data, in `benchmarks/drivers.toml`. A driver reads one [`Order`] as a line of JSON from
//! its standard input, and prints what it has to say as lines of JSON: [`Said`].
//!
//! **Invariant**: what a driver measured is a result of the whole, client and server; so a client
//! that is the bottleneck does not make it invalid. Its CPU time stands beside the server's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use measure::{Histogram, Interval, Outcome, Point, Usage, Verdict};
use serde::{Deserialize, Serialize};

use crate::fleet::Sum;
use crate::servers::{self, Running};
use crate::{control, point};

/// By name; they are those of a point's record.
pub(crate) type Settings = BTreeMap<String, serde_json::Value>;

/// All drivers, by name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drivers {
    driver: BTreeMap<String, Driver>,
}

/// One kind of driver.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Driver {
    /// For people.
    pub(crate) about: String,
    /// The command line; `{target}` is cargo's target folder, `{benchmarks}` the one of the scenarios.
    command: Vec<String>,
    /// What servers may speak to its client.
    protocols: Vec<String>,
    /// A program or file without which it is skipped.
    needs: Option<String>,
    /// The command that installs that.
    #[serde(default)]
    install: String,
    /// Instead of a scenario's, where everything is tried and nothing is measured.
    #[serde(default)]
    quick: Settings,
}

/// What a driver is to do.
#[derive(Debug, Serialize)]
struct Order<'a> {
    /// `HOST:PORT`.
    address: &'a str,
    /// Client processes, of one connection each.
    connections: u32,
    warmup_seconds: f64,
    seconds: f64,
    seed: u64,
    settings: &'a Settings,
}

/// What a driver says, in this order: that the counted time begins, that it ends, what came of it.
/// Or, at any time, why nothing can come of it.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "says", rename_all = "kebab-case", deny_unknown_fields)]
enum Said {
    Began {},
    Ended {},
    Done(Done),
    Failed { why: String },
}

/// What came of it.
#[derive(Debug, PartialEq, Deserialize)]
struct Done {
    /// All of them right, as far as the driver can tell.
    operations: u64,
    /// The counted time.
    seconds: f64,
    /// When each operation was done (since the counted time began), and how long it took.
    #[serde(default)]
    responses_ns: Vec<(u64, u64)>,
    /// In their place: mean times of an operation, one of each measurement.
    #[serde(default)]
    means_ns: Vec<f64>,
    /// What the clients used in the counted time; of the memory the peak.
    client: Usage,
    /// Of the client and what it is made of.
    versions: BTreeMap<String, String>,
}

/// A point that a driver measured.
pub(crate) struct Measured {
    pub(crate) outcome: Outcome,
    pub(crate) versions: BTreeMap<String, String>,
}

/// A driver that has more to do than counting for so long hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// If the looks at the server are off by more than this share of the counted time, its CPU time is not
/// that of what was counted.
const LATE_SHARE_MAX: f64 = 0.1;

/// How often an interruption is looked for.
const TICK: Duration = Duration::from_millis(100);

impl Drivers {
    /// Those of a folder of benchmarks, which need not have any.
    pub(crate) fn read(benchmarks: &Path) -> anyhow::Result<Self> {
        let path = benchmarks.join("drivers.toml");
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    pub(crate) fn get(&self, name: &str) -> anyhow::Result<&Driver> {
        let known = || self.driver.keys().cloned().collect::<Vec<_>>().join(", ");
        self.driver.get(name).with_context(|| format!("no driver {name:?}; known are {}", known()))
    }

    /// A scenario's settings for a driver, completed as they are recorded.
    pub(crate) fn settings(
        &self,
        name: &str,
        protocol: &str,
        settings: &Settings,
        quick: bool,
    ) -> anyhow::Result<Settings> {
        let driver = self.get(name)?;
        if !driver.protocols.iter().any(|known| known == protocol) {
            bail!("{name} does not speak {protocol:?}, but {:?}", driver.protocols);
        }
        let mut settings = settings.clone();
        settings.insert("driver".to_owned(), name.into());
        if quick {
            settings.extend(driver.quick.clone());
        }
        Ok(settings)
    }
}

impl Driver {
    /// Why it cannot be used here, if it cannot: it is not installed.
    pub(crate) fn missing(&self) -> Option<String> {
        servers::not_installed(self.needs.as_deref(), &self.install)
    }

    /// Measures a point on a server that nobody else uses. What fails is in the outcome.
    pub(crate) fn measure(
        &self,
        point: &Point,
        server: &Running,
        benchmarks: &Path,
        interrupted: &AtomicBool,
    ) -> Measured {
        let order = Order {
            address: &server.address,
            connections: point.connections,
            warmup_seconds: point.warmup_seconds,
            seconds: point.seconds,
            seed: point.seed ^ u64::from(point.repeat),
            settings: &point.settings,
        };
        let mut looks = Vec::new();
        let outcome = self
            .run(&order, benchmarks, interrupted, || looks.push((Instant::now(), server.usage())))
            .and_then(|done| match &looks[..] {
                [(began, Ok(before)), (ended, Ok(after))] => {
                    done.measured(*after - *before, *ended - *began)
                }
                [_, _] => bail!("the server ended while it was measured"),
                _ => bail!("the driver did not say when the counted time began and ended"),
            });
        outcome.unwrap_or_else(|error| Measured {
            outcome: point::without_result(Verdict::Failed(format!("{error:#}"))),
            versions: BTreeMap::new(),
        })
    }

    /// `look` is called at both ends of the counted time.
    fn run(
        &self,
        order: &Order<'_>,
        benchmarks: &Path,
        interrupted: &AtomicBool,
        mut look: impl FnMut(),
    ) -> anyhow::Result<Done> {
        let counted = Duration::from_secs_f64(order.warmup_seconds + order.seconds);
        let deadline = Instant::now() + PATIENCE + counted;
        let mut program = Program::start(&self.command, benchmarks)?;
        let lines = program.order(order)?;
        loop {
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            if Instant::now() > deadline {
                bail!("the driver hangs: not done {PATIENCE:?} after the counted time");
            }
            match lines.recv_timeout(TICK) {
                Ok(line) => match serde_json::from_str(&line)
                    .with_context(|| format!("the driver says {line:.200?}"))?
                {
                    Said::Began {} | Said::Ended {} => look(),
                    Said::Done(done) => return Ok(done),
                    Said::Failed { why } => bail!("{why}"),
                },
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    bail!("the driver ended (it says: {})", program.last_error())
                }
            }
        }
    }
}

impl Done {
    /// `server`: what it used between two looks that were so far apart.
    fn measured(self, server: Usage, apart: Duration) -> anyhow::Result<Measured> {
        if self.operations == 0 || self.seconds <= 0.0 {
            bail!("no operation was done in the counted time");
        }
        let told = self.responses_ns.len() as u64;
        if told != self.operations && (told > 0 || self.means_ns.is_empty()) {
            bail!("the driver tells {told} responses to {} operations", self.operations);
        }
        let off = (apart.as_secs_f64() - self.seconds).abs() / self.seconds;
        let verdict = if told > 0 && off > LATE_SHARE_MAX {
            let (apart, counted) = (apart.as_secs_f64(), self.seconds);
            Verdict::Invalid(format!(
                "the server was looked at twice in {apart:.2} s, and {counted:.2} s were counted"
            ))
        } else {
            Verdict::Valid
        };
        let mut response = Histogram::default();
        let mut rows: BTreeMap<u64, Histogram> = BTreeMap::new();
        for (done_ns, took_ns) in self.responses_ns {
            response.record(took_ns);
            rows.entry(done_ns / 1_000_000_000).or_default().record(took_ns);
        }
        let end = |second: u64| ((second + 1) as f64).min(self.seconds);
        let intervals = rows.iter().map(|(second, row)| Interval::of(end(*second), row)).collect();
        let done = control::Done {
            operations: self.operations,
            completed: self.operations,
            seconds: self.seconds,
            // Whoever waits for an answer before it asks again waits for nothing else.
            service: response.clone(),
            response,
            usage: self.client,
            ..control::Done::default()
        };
        let sum = Sum { done, intervals, ..Sum::default() };
        let outcome = Outcome { means_ns: self.means_ns, ..point::summed(sum, verdict, server) };
        Ok(Measured { outcome, versions: self.versions })
    }
}

/// A driver that runs, with whatever processes it started.
struct Program {
    child: Child,
    errors: File,
}

impl Program {
    fn start(command: &[String], benchmarks: &Path) -> anyhow::Result<Self> {
        let benchmarks = benchmarks.display().to_string();
        let expand = |word: &String| {
            word.replace("{target}", &servers::target()).replace("{benchmarks}", &benchmarks)
        };
        let mut words = command.iter().map(expand);
        let program = words.next().context("a command without a program")?;
        let errors = tempfile::tempfile().context("a file for a driver's errors")?;
        let child = Command::new(&program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            // Its own group, so that all of it can be ended, and a terminal ends none of it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        Ok(Self { child, errors })
    }

    /// Tells what to do; hands back the lines that are said then.
    fn order(&mut self, order: &Order<'_>) -> anyhow::Result<mpsc::Receiver<String>> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let mut input = self.child.stdin.take().context("a driver's input")?;
        // One that ended already does not read it; what it said tells why.
        _ = input.write_all(&line);
        let output = self.child.stdout.take().context("a driver's output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(lines)
    }

    fn last_error(&mut self) -> String {
        let mut said = String::new();
        // What cannot be read is as good as nothing.
        _ = self.errors.rewind().and_then(|()| self.errors.read_to_string(&mut said));
        said.lines().last().unwrap_or("nothing").to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nobody has waited for it yet, so the id is still its own.
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests;
