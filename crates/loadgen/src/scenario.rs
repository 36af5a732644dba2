//! Scenarios: which servers, which workloads, how often. Data in `benchmarks/*.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use measure::{Arrivals, Loop, Pin, Point};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Deserialize;

use crate::driver::{Drivers, Settings};
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
    /// Look at each server once at the end, at each closed loop: where its time goes.
    #[serde(default)]
    pub(crate) profile: bool,
    point: Vec<Points>,
    /// What reports compare with, if nobody says otherwise.
    pub(crate) baseline: Option<String>,
    /// What reports answer.
    #[serde(default)]
    pub(crate) figure: Vec<Figure>,
    /// Everything is tried, and nothing measured.
    #[serde(skip)]
    quick: bool,
}

/// A workload at several numbers of connections, depths and rates; or a driver's, at several numbers
/// of clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Points {
    /// In records and reports.
    name: String,
    workload: Option<Workload>,
    /// Of `drivers.toml`: it does what its settings say, in place of our workers and a workload.
    driver: Option<String>,
    #[serde(default)]
    settings: Settings,
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

/// A point that is to be measured, and its work in a form that can be done.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) point: Point,
    pub(crate) work: Work,
    pub(crate) drain_seconds: f64,
}

/// Who loads the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// Our workers.
    Own(Workload),
    /// The driver of this name.
    Driver(String),
}

impl Scenario {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// All tasks in the order in which they are measured: repeat by repeat, and in each of them
    /// every point of all servers before the next point, so that what is compared is measured one
    /// after the other. The points' order is shuffled, so that a machine's drift looks like no trend.
    pub(crate) fn tasks(
        &self,
        name: &str,
        servers: &Servers,
        drivers: &Drivers,
    ) -> anyhow::Result<Vec<Task>> {
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
                    let work = points.work(protocol).with_context(|| points.name.clone())?;
                    let (settings, workers) = match &work {
                        Work::Own(workload) => (workload.settings()?, self.workers),
                        Work::Driver(driver) if defined.tls => {
                            bail!("{driver} has no TLS, which {server} wants")
                        }
                        Work::Driver(driver) => (
                            drivers.settings(driver, protocol, &points.settings, self.quick)?,
                            connections,
                        ),
                    };
                    let point = Point {
                        scenario: name.to_owned(),
                        server: server.to_owned(),
                        command: defined.command.clone(),
                        protocol: protocol.to_owned(),
                        workload: points.name.clone(),
                        settings,
                        connections,
                        depth,
                        load,
                        workers,
                        pin: self.pin.clone(),
                        warmup_seconds: self.warmup_seconds,
                        seconds: self.seconds,
                        seed: self.seed,
                        repeat,
                    };
                    tasks.push(Task { point, work, drain_seconds: self.drain_seconds });
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
        (self.repeats, self.warmup_seconds, self.seconds, self.quick) = (1, 0.1, 0.5, true);
        self
    }

    /// The drivers of the scenario, each once.
    pub(crate) fn driver_names(&self) -> BTreeSet<&str> {
        self.point.iter().filter_map(|points| points.driver.as_deref()).collect()
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

impl Points {
    /// Refuses what cannot be.
    fn work(&self, protocol: &str) -> anyhow::Result<Work> {
        if self.search.is_some() && !self.rates.is_empty() {
            bail!("either rates or a search");
        }
        if self.search.is_some_and(|Objective { p99_ms }| !(p99_ms > 0.0 && p99_ms < 1e6)) {
            bail!("a search needs a p99_ms above 0 and below 1e6");
        }
        let is_closed = self.rates.is_empty() && self.search.is_none();
        match (&self.workload, &self.driver) {
            (Some(workload), None) if self.settings.is_empty() => {
                workload.check(protocol)?;
                Ok(Work::Own(workload.clone()))
            }
            (None, Some(driver)) if self.depth == one() && is_closed => {
                Ok(Work::Driver(driver.clone()))
            }
            (None, Some(_)) => bail!("a driver has one operation under way for each connection"),
            _ => bail!("a point has either a workload or a driver with settings"),
        }
    }
}

#[cfg(test)]
mod tests;
