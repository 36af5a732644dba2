//! One measured point: what was asked, on what, and what came of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, checksum};
use serde::{Deserialize, Serialize};

use crate::file::{self, RecordError};
use crate::histogram::Histogram;
use crate::host::Host;
use crate::usage::Usage;

/// Raised when a field changes its meaning; readers refuse other numbers.
pub const SCHEMA: u32 = 1;

/// One point, as it is kept in a file of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was asked for; its hash is the file's name.
    pub point: Point,
    /// When it began, in seconds since 1970 (UTC).
    pub began: u64,
    /// Versions of the load generator and of the server, by name.
    pub versions: BTreeMap<String, String>,
    /// Where.
    pub host: Host,
    /// What came of it.
    pub outcome: Outcome,
}

/// The settings of a point. Equal points have the same name, and are measured once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Of which scenario it is a part.
    pub scenario: String,
    /// The server's name in `benchmarks/servers.toml`.
    pub server: String,
    /// How the server was started.
    pub command: Vec<String>,
    /// How its clients spoke: `msgpack`, `pickle`, `proto`, `redis`, `memcached`, `echo`.
    pub protocol: String,
    /// The workload's name in the scenario, and all that defines it.
    pub workload: String,
    /// The workload's settings, as they were read.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// Connections in all.
    pub connections: u32,
    /// Operations under way on each connection.
    pub depth: u32,
    /// When operations start.
    #[serde(rename = "loop")]
    pub load: Loop,
    /// Worker processes.
    pub workers: u32,
    /// Which CPUs the server and the workers were kept on, if they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Not counted, in seconds.
    pub warmup_seconds: f64,
    /// Counted, in seconds.
    pub seconds: f64,
    /// Of all that is random.
    pub seed: u64,
    /// 0, 1, ...: the same point again.
    pub repeat: u32,
}

/// When operations start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loop {
    /// Each as soon as the one before is answered: a slow server is asked less.
    Closed,
    /// By a schedule that was made beforehand.
    Open {
        /// Operations a second, over all connections.
        rate: f64,
        /// How they follow each other.
        arrivals: Arrivals,
    },
    /// By schedules of several rates, to find the highest one that meets an objective: 99 % of the
    /// responses within `p99_ms`, no error, and as many answers as arrivals. The outcome is that of
    /// the run that confirmed it.
    Search {
        /// In milliseconds.
        p99_ms: f64,
        /// How operations follow each other.
        arrivals: Arrivals,
    },
}

/// CPUs by their numbers, those of each process; with none of them it may run on all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pin {
    /// Of the server.
    pub server: Vec<u32>,
    /// Of the workers, one each: if there are more workers, the CPUs begin again.
    pub workers: Vec<u32>,
}

/// How operations of an open loop follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// At random, as if from many clients that do not know of each other.
    Poisson,
}

/// What came of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether it may be drawn.
    pub verdict: Verdict,
    /// Operations that were answered, and answered right, in the counted time.
    pub operations: u64,
    /// Operations that were answered in the counted time, whenever they were intended. In an open
    /// loop `operations` are those that were intended then: a server that falls behind has answered
    /// fewer. Absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
    /// The counted time.
    pub seconds: f64,
    /// Done minus intended: what a user would have waited. Empty if only means were told.
    pub response: Histogram,
    /// Done minus sent: what the server needed.
    pub service: Histogram,
    /// Sent minus intended: how late the generator was.
    pub lag: Histogram,
    /// The counted time, second by second.
    pub intervals: Vec<Interval>,
    /// What the server used in the counted time.
    pub server: Usage,
    /// What the workers used.
    pub generator: Usage,
    /// How much of that was looking at the clock until the next arrival was due.
    #[serde(default)]
    pub spun_seconds: f64,
    /// Bytes that the workers sent and received; both 0 if nobody counted.
    pub bytes: (u64, u64),
    /// Mean times of an operation in nanoseconds, one of each measurement, from a driver that tells
    /// only these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub means_ns: Vec<f64>,
    /// The runs of a search, in their order; none of other points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<Trial>,
    /// CPU time that the machine lost to others in the counted time; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_seconds: Option<f64>,
    /// What connections that do nothing cost the server; of workloads that look at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Idle>,
}

/// One run of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Operations a second that were asked for; absent in the closed loop that comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// The counted time, in seconds.
    pub seconds: f64,
    /// Operations a second that were answered in it.
    pub achieved: f64,
    /// Percentile of the responses in nanoseconds.
    pub p50_ns: u64,
    /// Likewise.
    pub p99_ns: u64,
    /// Likewise, of how late the generator was.
    pub lag_p99_ns: u64,
    /// What it says of its rate.
    pub judgement: Judgement,
}

/// What a run of a search says of its rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// The objective was met.
    Passed,
    /// The responses took longer.
    TooSlow,
    /// The server answered less than 98 % of what was asked for in the same time.
    Behind,
    /// The objective was not met, and the generator was the bottleneck, for this reason.
    Invalid(String),
    /// It was the closed loop that shows about where to begin.
    Probe,
}

/// The server's anonymous memory before and after connections were made and registered, in bytes
/// ([`crate::usage::anonymous_bytes`]: without the kernel's own for sockets).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// How many.
    pub connections: u32,
    /// Without them.
    pub before_bytes: u64,
    /// With them.
    pub after_bytes: u64,
}

impl Idle {
    /// Memory for each of the connections.
    pub fn bytes_per_connection(self) -> f64 {
        let all = self.after_bytes.saturating_sub(self.before_bytes);
        all as f64 / f64::from(self.connections.max(1))
    }
}

/// Whether a point means what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It does.
    Valid,
    /// The generator was the bottleneck, or a search found nothing sure, for this reason: no result
    /// of the server.
    Invalid(String),
    /// A wrong answer, a lost commit, an error: no result at all.
    Failed(String),
}

/// A part of the counted time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its end, in seconds from the start of the counted time.
    pub at: f64,
    /// Operations.
    pub operations: u64,
    /// Percentile of the responses in nanoseconds.
    pub p50_ns: u64,
    /// Likewise.
    pub p99_ns: u64,
    /// Likewise.
    pub max_ns: u64,
}

impl Point {
    /// The name of the record's file, without folder: what people look for, then the settings' hash.
    pub fn file_name(&self) -> String {
        let settings = serde_json::to_vec(self).expect("settings are plain data");
        let hash = checksum(CrcAlgorithm::Crc64Nvme, &settings);
        let Self { server, protocol, workload, connections, repeat, .. } = self;
        format!("{server}-{protocol}-{workload}-c{connections}-r{repeat}-{hash:016x}.json")
    }
}

impl Outcome {
    /// Operations that were answered in the counted time, as far as the record knows.
    pub fn answered(&self) -> u64 {
        self.completed.unwrap_or(self.operations)
    }

    /// Operations a second that were answered.
    pub fn rate(&self) -> f64 {
        self.answered() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// The mean time of an operation in nanoseconds, if a driver told only means.
    pub fn mean_ns(&self) -> Option<f64> {
        let sum: f64 = self.means_ns.iter().sum();
        (!self.means_ns.is_empty()).then(|| sum / self.means_ns.len() as f64)
    }

    /// The server's CPU time for each operation, in microseconds.
    pub fn server_cpu_us(&self) -> f64 {
        self.server.cpu_seconds() * 1e6 / self.answered().max(1) as f64
    }

    /// Times that a thread of the server slept or was made to wait, for each operation.
    pub fn switches_per_operation(&self) -> f64 {
        let switches = self.server.voluntary_switches + self.server.involuntary_switches;
        self.per_operation(switches)
    }

    /// Bytes that came from the disk for each operation.
    pub fn disk_read_per_operation(&self) -> Option<f64> {
        self.server.disk_read_bytes.map(|bytes| self.per_operation(bytes))
    }

    /// Bytes that went to the disk for each operation.
    pub fn disk_written_per_operation(&self) -> Option<f64> {
        self.server.disk_written_bytes.map(|bytes| self.per_operation(bytes))
    }

    fn per_operation(&self, count: u64) -> f64 {
        count as f64 / self.answered().max(1) as f64
    }

    /// The workers' CPU time for each operation, in microseconds, without what they spent on looking
    /// at the clock.
    pub fn generator_cpu_us(&self) -> f64 {
        let busy_seconds = self.generator.cpu_seconds() - self.spun_seconds;
        busy_seconds.max(0.0) * 1e6 / self.answered().max(1) as f64
    }
}

impl Interval {
    /// What these responses were, in an interval that ended `at`.
    pub fn of(at: f64, responses: &Histogram) -> Self {
        Self {
            at,
            operations: responses.count(),
            p50_ns: responses.quantile_ns(0.5),
            p99_ns: responses.quantile_ns(0.99),
            max_ns: responses.max_ns(),
        }
    }
}

impl Record {
    /// Writes the record into `folder`, which is created. Whoever reads finds all of it or nothing.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf, RecordError> {
        file::keep(folder, &self.point.file_name(), self)
    }

    /// Reads a record.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        file::read(path)
    }
}

#[cfg(test)]
mod tests;
