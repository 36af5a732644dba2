//! Many servers, many workloads, one report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;
use measure::record::SCHEMA;
use measure::{Host, Loop, Point, Profile, Record, Verdict, probe};

use crate::bench::Bench;
use crate::control::unix_ns;
use crate::driver::{Drivers, Measured};
use crate::progress::Progress;
use crate::scenario::{Scenario, Task, Work};
use crate::servers::{self, Servers};
use crate::{interrupt, profile, report, versions};

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
    let drivers = Drivers::read(&options.benchmarks)?;
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
    let mut missing = missing(&scenario, &servers, options)?;
    missing.extend(missing_drivers(&scenario, &drivers)?);
    let all = scenario.tasks(&options.scenario, &servers, &drivers)?;
    report::check_figures(&scenario.figure, &all).with_context(|| path.display().to_string())?;
    let wanted = |task: &Task| {
        let any = |list: &[String], name: &str| {
            list.is_empty() || list.iter().any(|text| name.contains(text.as_str()))
        };
        any(&options.server, &task.point.server)
            && any(&options.workload, &task.point.workload)
            && !missing.contains_key(&task.point.server)
            && !matches!(&task.work, Work::Driver(name) if missing.contains_key(&driver_key(name)))
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
    let mut bench =
        Bench::new((&servers, &drivers), &options.benchmarks, &options.agent, &interrupted);
    let failed = measure_all(&todo, &mut bench, &folder, &interrupted)?;
    let profile_of: Vec<&Task> = tasks.iter().filter(|_| scenario.profile).collect();
    profile_all(&profile_of, &mut bench, &folder, again, &interrupted)?;
    bench.stop();
    let page = reports.join("pages").join(&options.scenario);
    if folder.is_dir() {
        report::of_folder(&folder, &page, &path)?;
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

/// Drivers that are not installed, as [`missing`] tells servers.
fn missing_drivers(
    scenario: &Scenario,
    drivers: &Drivers,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut missing = BTreeMap::new();
    for name in scenario.driver_names() {
        let driver = drivers.get(name)?;
        println!("{}: {}", driver_key(name), driver.about);
        if let Some(why) = driver.missing() {
            println!("    skipped: {why}");
            missing.insert(driver_key(name), why);
        }
    }
    Ok(missing)
}

/// No server's name.
fn driver_key(name: &str) -> String {
    format!("driver {name}")
}

/// Measures the tasks, one after the other; returns how many failed.
fn measure_all(
    tasks: &[&Task],
    bench: &mut Bench<'_>,
    folder: &Path,
    interrupted: &AtomicBool,
) -> anyhow::Result<usize> {
    let (host, own_versions) = (host()?, versions::own());
    let mut failed = 0;
    let began = Instant::now();
    for (number, task) in tasks.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let line = Progress::new(number, tasks.len(), began, task);
        let began = unix_ns() / 1_000_000_000;
        let Measured { outcome, versions } = bench.measure(task, &line)?;
        line.end(&outcome);
        let is_failure = matches!(outcome.verdict, Verdict::Failed(_));
        if is_failure && interrupted.load(Ordering::Relaxed) {
            // A terminal interrupts servers and workers, too: this is no failure of theirs.
            break;
        }
        failed += usize::from(is_failure);
        let versions = own_versions.clone().into_iter().chain(versions).collect();
        let (point, host) = (task.point.clone(), host.clone());
        Record { schema: SCHEMA, point, began, versions, host, outcome }.keep(folder)?;
    }
    Ok(failed)
}

/// Looks at the servers once in each closed loop, where that has not been done.
fn profile_all(
    tasks: &[&Task],
    bench: &mut Bench<'_>,
    folder: &Path,
    again: bool,
    interrupted: &AtomicBool,
) -> anyhow::Result<()> {
    let is_wanted = |task: &Task| {
        let Point { load, repeat, .. } = task.point;
        (load, repeat) == (Loop::Closed, 0)
            && matches!(task.work, Work::Own(_))
            && (again || !Profile::is_there(folder, &task.point))
    };
    let tasks: Vec<&Task> = tasks.iter().copied().filter(|task| is_wanted(task)).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    if let Some(why) = profile::missing() {
        println!("skipped the profiles of {} points: {why}", tasks.len());
        return Ok(());
    }
    let host = host()?;
    let began = Instant::now();
    for (number, task) in tasks.iter().enumerate() {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        let line = Progress::new(number, tasks.len(), began, task);
        let looked = bench.profile(task, &host);
        if looked.is_err() && interrupted.load(Ordering::Relaxed) {
            break;
        }
        line.looked(&looked);
        if let Ok(profile) = looked {
            profile.keep(folder)?;
        }
    }
    Ok(())
}

/// The machine, with the disk where servers have their folders.
fn host() -> anyhow::Result<Host> {
    let folder = std::env::temp_dir();
    let mut host = Host::read(&folder);
    let syncs =
        probe::syncs(&folder, SYNCS).with_context(|| format!("syncing in {}", folder.display()))?;
    for (name, syncs) in [("append", syncs.appending), ("overwrite", syncs.overwriting)] {
        for (percentile, share) in [("p50", 0.5), ("p99", 0.99)] {
            let us = syncs.quantile_ns(share) / 1000;
            host.0.insert(format!("disk.sync_{name}_{percentile}_us"), us.to_string());
        }
    }
    Ok(host)
}

/// So many syncs tell how fast the disk is.
const SYNCS: u32 = 100;
