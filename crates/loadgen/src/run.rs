//! One server that somebody has started, one workload, and what it does, second by second.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use clap::Args;
use measure::{Arrivals, Histogram, Loop, Outcome, Trial, Usage, Verdict};
use serde::Deserialize;

use crate::control::Job;
use crate::fleet::Fleet;
use crate::progress::{duration, tried};
use crate::search::Objective;
use crate::tls::Trust;
use crate::workload::Workload;
use crate::{interrupt, point, search};

/// Load a server that runs, and show what it does.
///
/// Nothing is kept: what is compared should be a scenario, and measured by shootout.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// The server has TLS, and a certificate that an authority in this PEM file signed
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Whom that certificate has to be for, unless it is for the host in the address
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_server_name: Option<String>,
    /// What it speaks: msgpack, pickle, proto, redis, memcached, echo
    #[arg(long, value_name = "NAME", default_value = "msgpack")]
    protocol: String,
    /// As in a scenario, for example { kind = "read", objects = 10000, record_bytes = 1024 }
    #[arg(long, value_name = "TOML", value_parser = workload)]
    workload: Workload,
    /// Connections of all workers
    #[arg(long, value_name = "N", default_value_t = 1)]
    connections: u32,
    /// Loads under way on each connection of a closed loop
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: u32,
    /// An open loop of so many operations a second; without it, a closed loop
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Search for the highest rate of an open loop at which 99 % of the responses are within so many
    /// milliseconds. The counted time is that of the run that confirms it, three times the others'
    #[arg(long, value_name = "X", conflicts_with = "rate", value_parser = milliseconds)]
    search_p99_ms: Option<f64>,
    /// How the operations of an open loop follow each other: constant or poisson
    #[arg(long, value_name = "KIND", default_value = "poisson", value_parser = arrivals)]
    arrivals: Arrivals,
    /// The counted time
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// What precedes it
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    warmup: f64,
    /// Worker processes, one thread each
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: u32,
    /// Keep the workers on these CPUs, one each, where nothing else should run (keep the server from
    /// them with taskset): with a CPU to itself a worker does not sleep before arrivals
    #[arg(long, value_name = "CPU,...", value_delimiter = ',')]
    pin: Vec<u32>,
    /// Use these workers, which somebody has started, instead of own ones (repeatable)
    #[arg(long, value_name = "HOST:PORT")]
    agent: Vec<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let job = job(options)?;
    job.workload.check(&job.protocol)?;
    if job.workload.is_cold() {
        bail!("only a shootout, which knows the server's files, can drop them from the page cache");
    }
    let interrupted = interrupt::flag()?;
    let mut fleet = Fleet::new(&options.agent, options.workers)?;
    if let Some(p99_ms) = options.search_p99_ms {
        let objective = Objective { p99_ms, arrivals: options.arrivals };
        return search_for(&job, objective, &mut fleet, &interrupted);
    }
    point::prepare(&job, &mut fleet)?;
    let mut so_far = Histogram::default();
    let mut second = 0_u32;
    let tell = |response: &Histogram| {
        let took = (job.seconds - f64::from(second)).clamp(0.001, 1.0);
        second += 1;
        so_far.add(response);
        println!(
            "{second:>5} s {:>10.0}/s  p50 {:>9}  p99 {:>9}  max {:>9}",
            response.count() as f64 / took,
            duration(response.quantile_ns(0.5)),
            duration(response.quantile_ns(0.99)),
            duration(response.max_ns()),
        );
    };
    match fleet.run(&job, &interrupted, || {}, tell) {
        Ok(sum) => summary(&job, &point::outcome(&job, sum, Usage::default())),
        Err(_) if interrupted.load(Ordering::Relaxed) => {
            println!("\ninterrupted after {} operations", so_far.count());
            table(&[("response", &so_far)]);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Searches, with a line for each run.
fn search_for(
    job: &Job,
    objective: Objective,
    fleet: &mut Fleet,
    interrupted: &AtomicBool,
) -> anyhow::Result<()> {
    let mut measure = |job: &Job| {
        let sum =
            point::prepare(job, fleet).and_then(|()| fleet.run(job, interrupted, || {}, |_| {}));
        match sum {
            Ok(sum) => point::outcome(job, sum, Usage::default()),
            Err(error) => point::without_result(Verdict::Failed(format!("{error:#}"))),
        }
    };
    let mut tell = |trial: &Trial| println!("{}", tried(trial));
    let outcome = search::search(job, objective, &mut measure, &mut tell);
    if outcome.operations == 0 {
        if outcome.verdict == Verdict::Valid {
            println!("\nno rate has a p99 within {} ms", objective.p99_ms);
        }
        return told(&outcome.verdict);
    }
    let load = Loop::Search { p99_ms: objective.p99_ms, arrivals: objective.arrivals };
    summary(&Job { load, ..job.clone() }, &outcome)
}

fn job(options: &Options) -> anyhow::Result<Job> {
    let Options { address, arrivals, .. } = options;
    let (arrivals, name) = (*arrivals, options.tls_server_name.as_deref());
    let tls = options.tls_ca.as_ref().map(|file| Trust::read(file, name, address)).transpose()?;
    Ok(Job {
        protocol: options.protocol.clone(),
        address: address.clone(),
        tls,
        workload: options.workload.clone(),
        connections: options.connections,
        first_connection: 0,
        all_connections: options.connections,
        depth: options.depth,
        load: options.rate.map_or(Loop::Closed, |rate| Loop::Open { rate, arrivals }),
        cpus: options.pin.clone(),
        is_sleepless: options.pin.len() >= options.workers as usize,
        warmup_seconds: options.warmup,
        seconds: options.seconds,
        drain_seconds: 20.0,
        seed: 0,
    })
}

fn summary(job: &Job, outcome: &Outcome) -> anyhow::Result<()> {
    println!(
        "\n{} operations in {} s: {:.0}/s; {:.2} us of the generator's CPU time each",
        outcome.operations,
        outcome.seconds,
        outcome.rate(),
        outcome.generator_cpu_us(),
    );
    match job.load {
        Loop::Closed => table(&[("response", &outcome.response)]),
        Loop::Open { .. } | Loop::Search { .. } => table(&[
            ("response", &outcome.response),
            ("service", &outcome.service),
            ("lag", &outcome.lag),
        ]),
    }
    told(&outcome.verdict)
}

fn told(verdict: &Verdict) -> anyhow::Result<()> {
    match verdict {
        Verdict::Valid => {}
        Verdict::Invalid(why) => println!("this says little of the server: {why}"),
        Verdict::Failed(why) => bail!("{why}"),
    }
    Ok(())
}

fn table(rows: &[(&str, &Histogram)]) {
    println!("{:<9}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "p50", "p90", "p99", "p99.9", "max");
    for (name, histogram) in rows {
        let cells = [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| {
            let latency = duration(histogram.quantile_ns(share));
            format!("{latency:>10}")
        });
        println!("{name:<9}{}", cells.concat());
    }
}

fn workload(text: &str) -> Result<Workload, String> {
    #[derive(Deserialize)]
    struct Line {
        workload: Workload,
    }
    let line: Line =
        toml::from_str(&format!("workload = {text}")).map_err(|error| error.to_string())?;
    Ok(line.workload)
}

fn arrivals(text: &str) -> Result<Arrivals, String> {
    match text {
        "constant" => Ok(Arrivals::Constant),
        "poisson" => Ok(Arrivals::Poisson),
        _ => Err("constant or poisson".to_owned()),
    }
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let milliseconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_some = milliseconds > 0.0 && milliseconds < 1e6;
    is_some.then_some(milliseconds).ok_or_else(|| "above 0 and below 1e6".to_owned())
}

/// Of time, as [`std::time::Duration`] can hold it.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let is_time = (0.0..1e9).contains(&seconds);
    is_time.then_some(seconds).ok_or_else(|| "from 0 to 1e9".to_owned())
}
