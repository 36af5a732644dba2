//! Many servers, many workloads, one report.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;
use measure::record::SCHEMA;
use measure::{Host, Loop, Outcome, Point, Record, Trial, Verdict, probe};

use crate::control::{Job, unix_ns};
use crate::fleet::Fleet;
use crate::scenario::{Scenario, Task};
use crate::search::Objective;
use crate::servers::{self, Running, Servers};
use crate::{interrupt, pin, point, report, search, versions};

/// Measure servers side by side, as a scenario says, and write a report.
///
/// Every point is a file of its own; what is there and did not fail is not measured again, so an
/// interrupted shootout goes on where it was.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A scenario: benchmarks/NAME.toml
    #[arg(default_value = "quick")]
    scenario: String,
    /// Measure again what is there
    #[arg(long)]
    force: bool,
    /// Only servers whose name contains this (repeatable)
    #[arg(long, value_name = "TEXT")]
    server: Vec<String>,
    /// Only workloads whose name contains this (repeatable)
    #[arg(long, value_name = "TEXT")]
    workload: Vec<String>,
    /// Fractions of a second for each point: everything is tried, nothing is measured, and records
    /// and report go into cargo's target folder
    #[arg(long)]
    verify: bool,
    /// Where scenarios and servers.toml are
    #[arg(long, value_name = "DIR", default_value = "benchmarks")]
    benchmarks: PathBuf,
    /// Where records and pages go, in folders of these names and then of the scenario's
    /// [default: reports]
    #[arg(long, value_name = "DIR")]
    reports: Option<PathBuf>,
    /// Use these workers, which somebody has started, instead of own ones (repeatable)
    #[arg(long, value_name = "HOST:PORT")]
    agent: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let servers = Servers::read(&options.benchmarks.join("servers.toml"))?;
    let path = options.benchmarks.join(format!("{}.toml", options.scenario));
    let mut scenario = Scenario::read(&path)?;
    if options.verify {
        scenario = scenario.shortened();
    }
    let reports = match (&options.reports, options.verify) {
        (Some(reports), _) => reports.clone(),
        (None, true) => Path::new(&servers::target()).join("verify"),
        (None, false) => PathBuf::from("reports"),
    };
    let folder = reports.join("records").join(&options.scenario);
    let interrupted = interrupt::flag()?;
    println!("{}: {}", options.scenario, scenario.about);
    let missing = missing(&scenario, &servers, options)?;
    let all = scenario.tasks(&options.scenario, &servers)?;
    report::check_figures(&scenario.figure, &all).with_context(|| path.display().to_string())?;
    let wanted = |task: &Task| {
        let any = |list: &[String], name: &str| {
            list.is_empty() || list.iter().any(|text| name.contains(text.as_str()))
        };
        any(&options.server, &task.point.server)
            && any(&options.workload, &task.point.workload)
            && !missing.contains_key(&task.point.server)
    };
    let tasks: Vec<Task> = all.into_iter().filter(wanted).collect();
    let again = options.force || options.verify;
    // What failed is tried again.
    let is_there = |task: &&Task| {
        let record = Record::read(&folder.join(task.point.file_name()));
        record.is_ok_and(|record| !matches!(record.outcome.verdict, Verdict::Failed(_)))
    };
    let todo: Vec<&Task> = tasks.iter().filter(|task| again || !is_there(task)).collect();
    if todo.len() < tasks.len() {
        let there = tasks.len() - todo.len();
        println!("{there} of {} points are there; --force measures them again", tasks.len());
    }
    let failed = measure_all(&todo, &servers, options, &folder, &interrupted)?;
    let page = reports.join("pages").join(&options.scenario);
    if folder.is_dir() {
        report::of_folder(&folder, &page, &options.scenario, &path)?;
    }
    for (server, why) in &missing {
        println!("skipped {server}: {why}");
    }
    if interrupted.load(Ordering::Relaxed) {
        bail!("interrupted; the same command goes on from here");
    }
    if failed > 0 {
        bail!("{failed} points failed; the report names them");
    }
    Ok(())
}

/// Builds what is there, and tells what is not.
fn missing(
    scenario: &Scenario,
    servers: &Servers,
    options: &Options,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut missing = BTreeMap::new();
    for name in scenario.server_names() {
        let chosen = |text: &String| name.contains(text.as_str());
        if !options.server.is_empty() && !options.server.iter().any(chosen) {
            continue;
        }
        let server = servers.get(&name)?;
        println!("{name}: {}", server.about);
        match server.missing() {
            Some(why) => {
                println!("    skipped: {why}");
                missing.insert(name, why);
            }
            None => server.build()?,
        }
    }
    Ok(missing)
}

/// Measures the tasks, one after the other; returns how many failed.
fn measure_all(
    tasks: &[&Task],
    servers: &Servers,
    options: &Options,
    folder: &Path,
    interrupted: &AtomicBool,
) -> anyhow::Result<usize> {
    let mut fleet = None;
    let (host, own_versions) = (host()?, versions::own());
    let mut running: BTreeMap<(String, String, bool), Running> = BTreeMap::new();
    let mut failed = 0;
    let began = Instant::now();
    for (number, task) in tasks.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        // One whose memory is looked at is for that point alone.
        let is_own = task.workload.looks_at_memory();
        let key = (task.point.server.clone(), task.point.protocol.clone(), is_own);
        if !running.contains_key(&key) {
            let Point { server, protocol, pin, .. } = &task.point;
            let cpus = pin.as_ref().map_or(&[][..], |pin| &pin.server);
            let server = servers.get(server)?.start(server, protocol, cpus);
            running.insert(key.clone(), server.with_context(|| task.point.server.clone())?);
        }
        let server = running.get(&key).context("it was just started")?;
        let job = job(task, server);
        let line = Progress::new(number, tasks.len(), began, task);
        let workers = match &mut fleet {
            Some(fleet) => fleet,
            None => fleet.insert(Fleet::new(&options.agent, task.point.workers)?),
        };
        let began_unix = unix_ns() / 1_000_000_000;
        let mut measure = |job: &Job| {
            point::measure(job, server, workers, interrupted, |second| line.tell(second))
        };
        let outcome = match task.point.load {
            Loop::Search { p99_ms, arrivals } => {
                let objective = Objective { p99_ms, arrivals };
                search::search(&job, objective, &mut measure, &mut |trial| line.tried(trial))
            }
            Loop::Closed | Loop::Open { .. } => measure(&job),
        };
        line.end(&outcome);
        let is_failure = matches!(outcome.verdict, Verdict::Failed(_));
        if is_failure && interrupted.load(Ordering::Relaxed) {
            // A terminal interrupts servers and workers, too: this is no failure of theirs.
            break;
        }
        failed += usize::from(is_failure);
        let mut versions = own_versions.clone();
        versions.extend(server.versions.clone());
        let point = task.point.clone();
        let (host, began) = (host.clone(), began_unix);
        Record { schema: SCHEMA, point, began, versions, host, outcome }.keep(folder)?;
        if is_failure {
            // It may be in any state; and workers may still be connected to it.
            running.remove(&key);
            fleet = None;
        } else if is_own && let Some(server) = running.remove(&key) {
            server.stop().with_context(|| key.0)?;
        }
    }
    for ((name, ..), server) in running {
        server.stop().with_context(|| name)?;
    }
    Ok(failed)
}

/// The machine, with the disk where servers have their folders.
fn host() -> anyhow::Result<Host> {
    let folder = std::env::temp_dir();
    let mut host = Host::read(&folder);
    let syncs = probe::sync_latencies(&folder, SYNCS)
        .with_context(|| format!("syncing in {}", folder.display()))?;
    for (name, share) in [("disk.sync_p50_us", 0.5), ("disk.sync_p99_us", 0.99)] {
        let us = syncs.quantile_ns(share) / 1000;
        host.0.insert(name.to_owned(), us.to_string());
    }
    Ok(host)
}

/// So many syncs tell how fast the disk is.
const SYNCS: u32 = 100;

fn job(task: &Task, server: &Running) -> Job {
    let point = &task.point;
    Job {
        protocol: point.protocol.clone(),
        address: server.address.clone(),
        workload: task.workload.clone(),
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

/// What is seen while a point is measured.
struct Progress {
    head: String,
    terminal: bool,
}

impl Progress {
    fn new(number: usize, count: usize, began: Instant, task: &Task) -> Self {
        let point = &task.point;
        let minutes = began.elapsed().as_secs() / 60;
        let seconds = began.elapsed().as_secs() % 60;
        let head = format!(
            "[{:>3}/{count} {minutes}:{seconds:02}] {:<24} {:<14} c={:<5} d={:<3}",
            number + 1,
            format!("{}-{}", point.server, point.protocol),
            point.workload,
            point.connections,
            point.depth,
        );
        let progress = Self { head, terminal: std::io::stdout().is_terminal() };
        progress.show("...");
        progress
    }

    fn show(&self, text: &str) {
        if self.terminal {
            print!("\r\x1b[2K{} {text}", self.head);
            // Progress that cannot be shown is not worth an end.
            _ = std::io::stdout().flush();
        }
    }

    fn tried(&self, trial: &Trial) {
        self.show(&tried(trial));
    }

    fn tell(&self, second: &measure::Histogram) {
        self.show(&format!("{} in the last second", second.count()));
    }

    fn end(self, outcome: &Outcome) {
        let text = match &outcome.verdict {
            Verdict::Failed(why) => format!("FAILED: {why}"),
            Verdict::Valid if outcome.operations == 0 => "no rate meets the objective".to_owned(),
            verdict => format!(
                "{:>9.0}/s  p50 {:>8}  p99 {:>8}  server {:>6.2} us/op{}",
                outcome.rate(),
                duration(outcome.response.quantile_ns(0.5)),
                duration(outcome.response.quantile_ns(0.99)),
                outcome.server_cpu_us(),
                match verdict {
                    Verdict::Invalid(why) => format!("  INVALID: {why}"),
                    _ => String::new(),
                }
            ),
        };
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        println!("{clear}{} {text}", self.head);
    }
}

/// A run of a search, for people.
pub(crate) fn tried(trial: &Trial) -> String {
    let rate = trial.rate.unwrap_or(trial.achieved);
    format!("{rate:>9.0}/s {}, p99 {}", search::said(&trial.judgement), duration(trial.p99_ns))
}

/// For people.
pub(crate) fn duration(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{:.2} us", ns as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} us", ns as f64 / 1e3),
        1_000_000..10_000_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}
