//! Scenarios: which servers, which workloads, how often. Data in `benchmarks/*.toml`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use measure::{Arrivals, Loop, Pin, Point};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Deserialize;

use crate::report::Figure;
use crate::servers::Servers;
use crate::workload::Workload;

/// A scenario as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// For people.
    pub(crate) about: String,
    /// `SERVER:PROTOCOL`, in the order of tables.
    servers: Vec<String>,
    #[serde(default = "three")]
    repeats: u32,
    #[serde(default = "two")]
    workers: u32,
    /// Keeps the servers and the workers on CPUs of their own.
    pin: Option<Pin>,
    warmup_seconds: f64,
    seconds: f64,
    /// How long the answers that are missing at the end may take.
    #[serde(default = "twenty")]
    drain_seconds: f64,
    #[serde(default)]
    seed: u64,
    point: Vec<Points>,
    /// What reports compare with, if nobody says otherwise.
    pub(crate) baseline: Option<String>,
    /// What reports answer.
    #[serde(default)]
    pub(crate) figure: Vec<Figure>,
}

/// A workload at several numbers of connections, depths and rates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Points {
    /// In records and reports.
    name: String,
    workload: Workload,
    connections: Vec<u32>,
    #[serde(default = "one")]
    depth: Vec<u32>,
    /// Operations a second of an open loop; none: a closed loop.
    #[serde(default)]
    rates: Vec<f64>,
    /// Instead of rates: the highest one that meets this is searched for.
    search: Option<Objective>,
    #[serde(default = "poisson")]
    arrivals: Arrivals,
    /// Instead of the scenario's.
    servers: Option<Vec<String>>,
}

fn one() -> Vec<u32> {
    vec![1]
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

fn twenty() -> f64 {
    20.0
}

fn poisson() -> Arrivals {
    Arrivals::Poisson
}

/// What a search looks for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Objective {
    p99_ms: f64,
}

/// A point that is to be measured, and its workload in a form that can be.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) point: Point,
    pub(crate) workload: Workload,
    pub(crate) drain_seconds: f64,
}

impl Points {
    fn check(&self, protocol: &str) -> anyhow::Result<()> {
        if self.search.is_some() && !self.rates.is_empty() {
            bail!("either rates or a search");
        }
        if self.search.is_some_and(|Objective { p99_ms }| !(p99_ms > 0.0 && p99_ms < 1e6)) {
            bail!("a search needs a p99_ms above 0 and below 1e6");
        }
        self.workload.check(protocol)
    }
}

impl Scenario {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// All tasks in the order in which they are measured: repeat by repeat, and in each of them
    /// every point of all servers before the next point, so that what is compared is measured one
    /// after the other. The points' order is shuffled, so that a machine's drift looks like no trend.
    pub(crate) fn tasks(&self, name: &str, servers: &Servers) -> anyhow::Result<Vec<Task>> {
        let mut tasks = Vec::new();
        for repeat in 0..self.repeats {
            let mut settings = self.settings();
            let mut random = StdRng::seed_from_u64(self.seed ^ u64::from(repeat));
            settings.shuffle(&mut random);
            for (points, connections, depth, load) in settings {
                let variants = points.servers.as_ref().unwrap_or(&self.servers);
                let turn = repeat as usize % variants.len().max(1);
                for variant in variants.iter().cycle().skip(turn).take(variants.len()) {
                    let (server, protocol) = variant
                        .split_once(':')
                        .with_context(|| format!("{variant}: SERVER:PROTOCOL"))?;
                    let defined = servers.get(server)?;
                    if !defined.protocols.iter().any(|known| known == protocol) {
                        bail!("{server} does not speak {protocol:?}, but {:?}", defined.protocols);
                    }
                    points.check(protocol).with_context(|| points.name.clone())?;
                    let point = Point {
                        scenario: name.to_owned(),
                        server: server.to_owned(),
                        command: defined.command.clone(),
                        protocol: protocol.to_owned(),
                        workload: points.name.clone(),
                        settings: points.workload.settings()?,
                        connections,
                        depth,
                        load,
                        workers: self.workers,
                        pin: self.pin.clone(),
                        warmup_seconds: self.warmup_seconds,
                        seconds: self.seconds,
                        seed: self.seed,
                        repeat,
                    };
                    let (workload, drain_seconds) = (points.workload.clone(), self.drain_seconds);
                    tasks.push(Task { point, workload, drain_seconds });
                }
            }
        }
        Ok(tasks)
    }

    /// The servers and protocols of the scenario, each once.
    pub(crate) fn server_names(&self) -> Vec<String> {
        let own = self.point.iter().filter_map(|points| points.servers.as_ref()).flatten();
        let mut names: Vec<String> = self
            .servers
            .iter()
            .chain(own)
            .filter_map(|variant| Some(variant.split_once(':')?.0.to_owned()))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// A copy that is over in no time, for tests of everything but the figures.
    pub(crate) fn shortened(mut self) -> Self {
        (self.repeats, self.warmup_seconds, self.seconds) = (1, 0.1, 0.5);
        self
    }

    fn settings(&self) -> Vec<(&Points, u32, u32, Loop)> {
        let mut settings = Vec::new();
        for points in &self.point {
            let arrivals = points.arrivals;
            let mut loops: Vec<Loop> =
                points.rates.iter().map(|&rate| Loop::Open { rate, arrivals }).collect();
            let search =
                points.search.map(|Objective { p99_ms }| Loop::Search { p99_ms, arrivals });
            loops.extend(search);
            if loops.is_empty() {
                loops.push(Loop::Closed);
            }
            for &connections in &points.connections {
                for &depth in &points.depth {
                    settings.extend(loops.iter().map(|load| (points, connections, depth, *load)));
                }
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: &str = r#"
        [server.a]
        about = "a"
        command = ["a"]
        protocols = ["msgpack", "redis"]
        [server.b]
        about = "b"
        command = ["b"]
        protocols = ["msgpack"]
    "#;

    fn tasks(scenario: &str) -> anyhow::Result<Vec<Task>> {
        let servers: Servers = toml::from_str(SERVERS)?;
        let scenario: Scenario = toml::from_str(scenario)?;
        scenario.tasks("test", &servers)
    }

    const HEAD: &str = r#"
        about = "test"
        servers = ["a:msgpack", "b:msgpack"]
        repeats = 2
        warmup_seconds = 0.1
        seconds = 1.0
    "#;

    #[test]
    fn what_is_compared_is_measured_one_after_the_other() {
        let points = r#"
            [[point]]
            name = "read"
            workload = { kind = "read", objects = 10, record_bytes = 100 }
            connections = [1, 8]
            rates = [10.0, 20.0]
        "#;
        let tasks = tasks(&format!("{HEAD}{points}")).unwrap();
        assert_eq!(tasks.len(), 2 * 2 * 2 * 2);
        for pair in tasks.chunks(2) {
            let [a, b] = pair else { panic!("pairs") };
            assert_ne!(a.point.server, b.point.server);
            let other = Point {
                server: b.point.server.clone(),
                command: b.point.command.clone(),
                ..a.point.clone()
            };
            assert_eq!(other, b.point);
        }
        assert_eq!(tasks[0].point.server, "a");
        assert_eq!(tasks[8].point.server, "b", "the second repeat begins with the other one");
    }

    #[test]
    fn a_search_is_one_point_of_each_server_and_repeat() {
        let points = r#"
            [[point]]
            name = "read"
            workload = { kind = "read", objects = 10, record_bytes = 100 }
            connections = [8]
            search = { p99_ms = 5.0 }
        "#;
        let tasks = tasks(&format!("{HEAD}pin = {{ server = [0], workers = [1] }}\n{points}"));
        let tasks = tasks.unwrap();
        assert_eq!(tasks.len(), 4);
        let load = Loop::Search { p99_ms: 5.0, arrivals: Arrivals::Poisson };
        let pin = Some(Pin { server: vec![0], workers: vec![1] });
        assert!(tasks.iter().all(|task| task.point.load == load && task.point.pin == pin));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |variant: &str, workload: &str| {
            let point = format!(
                "[[point]]\nname = 'p'\nconnections = [1]\nservers = ['{variant}']\nworkload = {workload}"
            );
            tasks(&format!("{HEAD}{point}"))
        };
        let read = "{ kind = 'read', objects = 10, record_bytes = 100 }";
        let hot = "{ kind = 'commit', objects = 1, record_bytes = 100, hot = true }";
        assert!(with("a:msgpack", hot).is_ok());
        assert!(with("a:redis", read).is_ok());
        let failure = |variant, workload| format!("{:#}", with(variant, workload).unwrap_err());
        assert!(failure("a:redis", hot).contains("no transactions"));
        assert!(failure("b:pickle", read).contains("does not speak"));
        assert!(failure("c:pickle", read).contains("known are a, b"));
        assert!(failure("a", read).contains("SERVER:PROTOCOL"));
        assert!(failure("a:msgpack", "{ kind = 'dance' }").contains("dance"));
        let none = "{ kind = 'read', objects = 0, record_bytes = 100 }";
        assert!(failure("a:msgpack", none).contains("no objects"));
        let other = "{ kind = 'read', objects = 1, record_bytes = 'prod2' }";
        assert!(failure("a:msgpack", other).contains("prod1"));
        let new = "{ kind = 'commit', objects = 2, new_objects = 3, record_bytes = 100 }";
        assert!(failure("a:msgpack", new).contains("3 new objects in a transaction of 2"));
        let zipf = "{ kind = 'read', objects = 9, record_bytes = 9, choice = { zipf = -1.0 } }";
        assert!(failure("a:msgpack", zipf).contains("Zipf"));
        let search = |search: &str| {
            format!("{:#}", with("a:msgpack", &format!("{read}\n{search}")).unwrap_err())
        };
        assert!(search("search = { p99_ms = 1.0 }\nrates = [1.0]").contains("either"));
        for objective in ["0.0", "-1.0", "nan", "inf"] {
            assert!(search(&format!("search = {{ p99_ms = {objective} }}")).contains("p99_ms"));
        }
    }
}
