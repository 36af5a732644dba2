//! Servers that run, and who loads them: each task gets the server and the workers it needs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};
use measure::{Host, Loop, Outcome, Point, Profile, Verdict};

use crate::control::Job;
use crate::driver::{Drivers, Measured};
use crate::fleet::Fleet;
use crate::progress::Progress;
use crate::scenario::{Task, Work};
use crate::search::{self, Objective};
use crate::servers::{Running, Servers};
use crate::workload::Workload;
use crate::{pin, point, profile};

/// All that a shootout keeps from one task to the next.
pub(crate) struct Bench<'a> {
    servers: &'a Servers,
    drivers: &'a Drivers,
    benchmarks: &'a Path,
    agents: &'a [String],
    interrupted: &'a AtomicBool,
    running: BTreeMap<Key, Running>,
    fleet: Option<Fleet>,
}

/// Server and protocol, and whether it is for one point alone.
type Key = (String, String, bool);

impl<'a> Bench<'a> {
    /// Nothing runs yet. `benchmarks`: where drivers find their files; `agents`: workers that
    /// somebody has started.
    pub(crate) fn new(
        (servers, drivers): (&'a Servers, &'a Drivers),
        benchmarks: &'a Path,
        agents: &'a [String],
        interrupted: &'a AtomicBool,
    ) -> Self {
        let running = BTreeMap::new();
        Self { servers, drivers, benchmarks, agents, interrupted, running, fleet: None }
    }

    /// Measures one task. What fails is in the outcome, also a server that does not start.
    pub(crate) fn measure(&mut self, task: &Task, line: &Progress) -> anyhow::Result<Measured> {
        self.start_workers(task)?;
        let measured = match &task.work {
            Work::Own(workload) => self.measure_own(task, workload, line),
            Work::Driver(name) => self.measure_driver(task, name),
        };
        Ok(measured.unwrap_or_else(|error| {
            let outcome = point::without_result(Verdict::Failed(format!("{error:#}")));
            Measured { outcome, versions: BTreeMap::new() }
        }))
    }

    fn measure_own(
        &mut self,
        task: &Task,
        workload: &Workload,
        line: &Progress,
    ) -> anyhow::Result<Measured> {
        // One whose memory is looked at is for that point alone.
        let is_own = workload.looks_at_memory();
        let key = self.start_if_needed(task, is_own)?;
        let server = self.running.get(&key).context("it was just started")?;
        let workers = self.fleet.as_mut().context("it was just started")?;
        let job = job(task, workload, server);
        let mut measure = |job: &Job| {
            point::measure(job, server, workers, self.interrupted, |second| line.tell(second))
        };
        let outcome: Outcome = match task.point.load {
            Loop::Search { p99_ms, arrivals } => {
                let objective = Objective { p99_ms, arrivals };
                search::search(&job, objective, &mut measure, &mut |trial| line.tried(trial))
            }
            Loop::Closed | Loop::Open { .. } => measure(&job),
        };
        let versions = server.versions.clone();
        if matches!(outcome.verdict, Verdict::Failed(_)) {
            // It may be in any state; and workers may still be connected to it.
            self.running.remove(&key);
            self.fleet = None;
        } else if is_own && let Some(server) = self.running.remove(&key) {
            stop(&key.0, server);
        }
        Ok(Measured { outcome, versions })
    }

    /// The server is for the driver alone, which may write there what it likes.
    fn measure_driver(&self, task: &Task, name: &str) -> anyhow::Result<Measured> {
        let server = self.start(task)?;
        let driver = self.drivers.get(name)?;
        let mut measured = driver.measure(&task.point, &server, self.benchmarks, self.interrupted);
        measured.versions.extend(server.versions.clone());
        if !matches!(measured.outcome.verdict, Verdict::Failed(_)) {
            stop(&task.point.server, server);
        }
        Ok(measured)
    }

    /// Looks at the server while it does a task, which is not measured by that.
    pub(crate) fn profile(&mut self, task: &Task, host: &Host) -> anyhow::Result<Profile> {
        let Work::Own(workload) = &task.work else { bail!("a driver's time is not the workers'") };
        self.start_workers(task)?;
        let key = self.start_if_needed(task, false)?;
        let server = self.running.get(&key).context("it was just started")?;
        let workers = self.fleet.as_mut().context("it was just started")?;
        let job = job(task, workload, server);
        let looked = profile::look(&task.point, &job, server, workers, host, self.interrupted);
        if looked.is_err() {
            self.running.remove(&key);
            self.fleet = None;
        }
        looked
    }

    /// Without workers there is nothing to say of any server.
    fn start_workers(&mut self, task: &Task) -> anyhow::Result<()> {
        if self.fleet.is_none() && matches!(task.work, Work::Own(_)) {
            self.fleet = Some(Fleet::new(self.agents, task.point.workers)?);
        }
        Ok(())
    }

    fn start_if_needed(&mut self, task: &Task, is_own: bool) -> anyhow::Result<Key> {
        let key = (task.point.server.clone(), task.point.protocol.clone(), is_own);
        if !self.running.contains_key(&key) {
            self.running.insert(key.clone(), self.start(task)?);
        }
        Ok(key)
    }

    fn start(&self, task: &Task) -> anyhow::Result<Running> {
        let Point { server, protocol, pin, .. } = &task.point;
        let cpus = pin.as_ref().map_or(&[][..], |pin| &pin.server);
        self.servers.get(server)?.start(server, protocol, cpus)
    }

    /// Stops all servers in order.
    pub(crate) fn stop(self) {
        for ((name, ..), server) in self.running {
            stop(&name, server);
        }
    }
}

/// Stops a server. What it measured is measured; if it does not stop, it is killed, and that is said.
fn stop(name: &str, server: Running) {
    if let Err(error) = server.stop() {
        println!("{name}, which was killed: {error:#}");
    }
}

fn job(task: &Task, workload: &Workload, server: &Running) -> Job {
    let point = &task.point;
    Job {
        protocol: point.protocol.clone(),
        address: server.address.clone(),
        tls: server.tls.clone(),
        workload: workload.clone(),
        connections: point.connections,
        first_connection: 0,
        all_connections: point.connections,
        depth: point.depth,
        load: point.load,
        cpus: point.pin.as_ref().map_or_else(Vec::new, |pin| pin.workers.clone()),
        is_sleepless: point.pin.as_ref().is_some_and(|pin| pin::is_alone(pin, point.workers)),
        warmup_seconds: point.warmup_seconds,
        seconds: point.seconds,
        drain_seconds: task.drain_seconds,
        seed: point.seed ^ u64::from(point.repeat),
    }
}
