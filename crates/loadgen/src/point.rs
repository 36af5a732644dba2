//! Measures one point: a server that runs, workers that are there, one workload.

use std::thread;
use std::time::Duration;

use measure::{Histogram, Loop, Outcome, Usage, Verdict};

use crate::control::{Job, unix_ns};
use crate::engine;
use crate::fleet::{Begin, Fleet, Sum};
use crate::servers::Running;

/// A generator that lags by more than this share of the response is what was measured.
const LAG_SHARE_MAX: f64 = 0.01;

/// Above this share of its CPUs the generator is what limits.
const CPU_SHARE_MAX: f64 = 0.7;

/// Measures `job` (of all workers together) on a server. What fails is in the outcome.
pub(crate) fn measure(
    job: &Job,
    server: &Running,
    fleet: &mut Fleet,
    progress: impl FnMut(&Histogram),
) -> Outcome {
    let mut usage = None;
    let measured = prepare(job, fleet).and_then(|()| {
        fleet.run(job.seconds, |begin| usage = usage_between(begin, job, server), progress)
    });
    let used = usage.and_then(|used| used.ok());
    match (measured, used) {
        (Ok(sum), Some(used)) => outcome(job, fleet.len(), sum, used),
        (Ok(sum), None) => failed(sum, "the server ended while it was measured".to_owned()),
        (Err(error), _) => failed(Sum::default(), format!("{error:#}")),
    }
}

fn prepare(job: &Job, fleet: &mut Fleet) -> anyhow::Result<()> {
    if let Some((objects, bytes)) = job.workload.fill() {
        engine::fill(&job.protocol, &job.address, objects, bytes)?;
    }
    fleet.prepare(job)
}

/// What the server uses in the counted time.
fn usage_between(begin: Begin, job: &Job, server: &Running) -> Option<anyhow::Result<Usage>> {
    let wait = Duration::from_nanos(begin.at_unix_ns.saturating_sub(unix_ns()));
    thread::sleep(wait + Duration::from_secs_f64(job.warmup_seconds));
    let before = server.usage();
    thread::sleep(Duration::from_secs_f64(job.seconds));
    Some(before.and_then(|before| Ok(server.usage()? - before)))
}

fn outcome(job: &Job, workers: u32, Sum { done, intervals }: Sum, server: Usage) -> Outcome {
    let verdict = verdict(job, workers, &done.response, &done.lag, done.usage);
    let verdict = match verdict {
        Verdict::Valid if done.operations == 0 => {
            Verdict::Failed("no operation was done in the counted time".to_owned())
        }
        verdict => verdict,
    };
    Outcome {
        verdict,
        operations: done.operations,
        seconds: done.seconds,
        response: done.response,
        service: done.service,
        lag: done.lag,
        intervals,
        server,
        generator: done.usage,
        bytes: done.bytes,
    }
}

fn verdict(job: &Job, workers: u32, response: &Histogram, lag: &Histogram, used: Usage) -> Verdict {
    let share = used.cpu_seconds() / (job.seconds * f64::from(workers.max(1)));
    if share > CPU_SHARE_MAX {
        let percent = 100.0 * share;
        return Verdict::Invalid(format!("the generator used {percent:.0} % of its CPUs"));
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

fn failed(Sum { done, intervals }: Sum, error: String) -> Outcome {
    Outcome {
        verdict: Verdict::Failed(error),
        operations: done.operations,
        seconds: done.seconds,
        response: done.response,
        service: done.service,
        lag: done.lag,
        intervals,
        server: Usage::default(),
        generator: done.usage,
        bytes: done.bytes,
    }
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
            workload: Workload::Connect {},
            connections: 1,
            first_connection: 0,
            all_connections: 1,
            depth: 1,
            load,
            warmup_seconds: 0.0,
            seconds: 1.0,
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
        let idle = Usage { user_seconds: 0.1, ..Usage::default() };
        let busy = Usage { user_seconds: 0.8, ..Usage::default() };
        let valid = |verdict| matches!(verdict, Verdict::Valid);
        assert!(valid(verdict(&open, 1, &of(1_000_000), &of(9_000), idle)));
        assert!(!valid(verdict(&open, 1, &of(1_000_000), &of(11_000), idle)));
        assert!(!valid(verdict(&open, 1, &of(1_000_000), &of(9_000), busy)));
        assert!(valid(verdict(&open, 2, &of(1_000_000), &of(9_000), busy)), "of two CPUs");
        assert!(valid(verdict(&job(Loop::Closed), 1, &of(1_000), &of(1_000), idle)));
    }
}
