//! Measures one point: a server that runs, workers that are there, one workload.

use std::sync::atomic::AtomicBool;

use measure::{Histogram, Idle, Loop, Outcome, Usage, Verdict, usage};

use crate::control::Job;
use crate::fleet::{Fleet, Sum};
use crate::servers::Running;
use crate::{cold, engine};

/// A generator that lags by more than this share of the response is what was measured.
const LAG_SHARE_MAX: f64 = 0.01;

/// A worker that uses more than this share of a CPU is what limits.
const CPU_SHARE_MAX: f64 = 0.7;

/// Measures `job` (of all workers together) on a server. What fails is in the outcome.
pub(crate) fn measure(
    job: &Job,
    server: &Running,
    fleet: &mut Fleet,
    interrupted: &AtomicBool,
    progress: impl FnMut(&Histogram),
) -> Outcome {
    measure_watched(job, server, fleet, interrupted, || {}, progress)
}

/// Like [`measure()`]; `watch` is called at both ends of the counted time.
pub(crate) fn measure_watched(
    job: &Job,
    server: &Running,
    fleet: &mut Fleet,
    interrupted: &AtomicBool,
    mut watch: impl FnMut(),
    progress: impl FnMut(&Histogram),
) -> Outcome {
    let mut looks = Vec::new();
    let work = || {
        let idle = connect(job, server, fleet)?;
        let look = || {
            watch();
            looks.push((server.usage(), usage::steal_seconds()));
        };
        let sum = fleet.run(job, interrupted, look, progress)?;
        Ok((sum, idle))
    };
    let measured = fill(job).and_then(|()| {
        server.reset_peak();
        if job.workload.is_cold() { cold::keep(server.folder(), work)? } else { work() }
    });
    match (measured, &looks[..]) {
        (Ok((sum, idle)), [(Ok(before), stolen_before), (Ok(after), stolen_after)]) => {
            let mut outcome = outcome(job, sum, *after - *before);
            if let Some(fill) = job.workload.fill().filter(|_| job.workload.is_cold()) {
                cold::check(&mut outcome, fill.objects, fill.sizes);
            }
            let stolen = stolen_after.zip(*stolen_before).map(|(after, before)| after - before);
            Outcome { steal_seconds: stolen, idle, ..outcome }
        }
        (Ok((sum, _)), _) => {
            let failed = Verdict::Failed("the server ended while it was measured".to_owned());
            summed(sum, failed, Usage::default())
        }
        (Err(error), _) => without_result(Verdict::Failed(format!("{error:#}"))),
    }
}

/// Writes what is to be read, and has all workers connect.
pub(crate) fn prepare(job: &Job, fleet: &mut Fleet) -> anyhow::Result<()> {
    fill(job)?;
    fleet.prepare(job)
}

fn fill(job: &Job) -> anyhow::Result<()> {
    let Some(wanted) = job.workload.fill() else { return Ok(()) };
    engine::fill(job, wanted)
}

/// Has all workers connect, and looks what that costs the server if the workload is about it.
fn connect(job: &Job, server: &Running, fleet: &mut Fleet) -> anyhow::Result<Option<Idle>> {
    if !job.workload.looks_at_memory() {
        fleet.prepare(job)?;
        return Ok(None);
    }
    let before_bytes = server.anonymous_bytes()?;
    fleet.prepare(job)?;
    let after_bytes = server.anonymous_bytes()?;
    Ok(Some(Idle { connections: job.all_connections, before_bytes, after_bytes }))
}

/// What came of it, when nothing went wrong on the way.
pub(crate) fn outcome(job: &Job, sum: Sum, server: Usage) -> Outcome {
    let done = &sum.done;
    let verdict = if done.operations == 0 {
        Verdict::Failed("no operation was done in the counted time".to_owned())
    } else {
        verdict(job, &done.response, &done.lag, sum.busiest_seconds)
    };
    summed(sum, verdict, server)
}

/// The outcome of what was not measured.
pub(crate) fn without_result(verdict: Verdict) -> Outcome {
    summed(Sum::default(), verdict, Usage::default())
}

pub(crate) fn summed(Sum { done, intervals, .. }: Sum, verdict: Verdict, server: Usage) -> Outcome {
    Outcome {
        verdict,
        operations: done.operations,
        completed: Some(done.completed),
        seconds: done.seconds,
        response: done.response,
        service: done.service,
        lag: done.lag,
        intervals,
        server,
        generator: done.usage,
        spun_seconds: done.spun_seconds,
        bytes: done.bytes,
        trials: Vec::new(),
        steal_seconds: None,
        idle: None,
        means_ns: Vec::new(),
    }
}

/// `busiest_seconds`: the CPU time of the worker that worked most; a worker is one thread.
fn verdict(job: &Job, response: &Histogram, lag: &Histogram, busiest_seconds: f64) -> Verdict {
    let share = busiest_seconds / job.seconds;
    if share > CPU_SHARE_MAX {
        let percent = 100.0 * share;
        return Verdict::Invalid(format!("a worker of the generator used {percent:.0} % of a CPU"));
    }
    let (late, slow) = (lag.quantile_ns(0.99), response.quantile_ns(0.99));
    if matches!(job.load, Loop::Open { .. }) && late as f64 > LAG_SHARE_MAX * slow as f64 {
        let us = |ns: u64| ns as f64 / 1000.0;
        return Verdict::Invalid(format!(
            "the generator was late: 99 % within {:.1} us, with responses of {:.1} us",
            us(late),
            us(slow)
        ));
    }
    Verdict::Valid
}

#[cfg(test)]
mod tests {
    use measure::Arrivals;

    use super::*;
    use crate::workload::Workload;

    fn job(load: Loop) -> Job {
        Job {
            protocol: "msgpack".to_owned(),
            address: String::new(),
            tls: None,
            workload: Workload::Connect {},
            connections: 1,
            first_connection: 0,
            all_connections: 1,
            depth: 1,
            load,
            cpus: Vec::new(),
            is_sleepless: false,
            warmup_seconds: 0.0,
            seconds: 1.0,
            drain_seconds: 1.0,
            seed: 0,
        }
    }

    fn of(latency_ns: u64) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.record(latency_ns);
        histogram
    }

    #[test]
    fn a_late_or_busy_generator_is_no_result() {
        let open = job(Loop::Open { rate: 1.0, arrivals: Arrivals::Poisson });
        let (idle, busy) = (0.1, 0.8);
        let valid = |verdict| matches!(verdict, Verdict::Valid);
        assert!(valid(verdict(&open, &of(1_000_000), &of(9_000), idle)));
        assert!(!valid(verdict(&open, &of(1_000_000), &of(11_000), idle)));
        assert!(!valid(verdict(&open, &of(1_000_000), &of(9_000), busy)));
        assert!(valid(verdict(&job(Loop::Closed), &of(1_000), &of(1_000), idle)));
    }
}
