//! What is counted, and when.

use std::time::{Duration, Instant};

use anyhow::bail;
use measure::{Histogram, Usage};

use super::connection::Times;
use crate::control::{Done, Job};

/// Latencies of a worker's part.
///
/// In a closed loop an operation counts that was done within the counted time; in an open loop one
/// that was intended then, however late it is done: leaving those out that are late is how
/// stalled servers come out fast.
pub(super) struct Counts {
    warm: Instant,
    end: Instant,
    /// How long what is under way at the end may take.
    drain: Duration,
    pub(super) open: bool,
    begun: bool,
    response: Histogram,
    service: Histogram,
    lag: Histogram,
    /// Responses since they were told last: those of this second of the counted time.
    interval: Histogram,
    second: u64,
    before: Option<Usage>,
    after: Option<Usage>,
}

impl Counts {
    pub(super) fn new(begin: Instant, job: &Job) -> Self {
        let warm = begin + Duration::from_secs_f64(job.warmup_seconds);
        Self {
            warm,
            end: warm + Duration::from_secs_f64(job.seconds),
            drain: Duration::from_secs_f64(job.drain_seconds),
            open: matches!(job.load, measure::Loop::Open { .. }),
            begun: true,
            response: Histogram::default(),
            service: Histogram::default(),
            lag: Histogram::default(),
            interval: Histogram::default(),
            second: 0,
            before: None,
            after: None,
        }
    }

    /// Before the beginning nothing counts.
    pub(super) fn ignoring(job: &Job) -> Self {
        Self { begun: false, ..Self::new(Instant::now(), job) }
    }

    /// Whether new operations are asked for.
    pub(super) fn asks(&self, now: Instant) -> bool {
        self.begun && now < self.end
    }

    /// Whether the worker goes on: until the end, and then while operations are `under_way`. One
    /// that is never answered would otherwise be missing, and nobody would miss it.
    pub(super) fn goes_on(
        &mut self,
        now: Instant,
        under_way: impl FnOnce() -> usize,
    ) -> anyhow::Result<bool> {
        if self.before.is_none() && now >= self.warm {
            self.before = Usage::of_process(std::process::id()).ok();
        }
        if now < self.end {
            return Ok(true);
        }
        if self.after.is_none() {
            self.after = Usage::of_process(std::process::id()).ok();
        }
        let left = under_way();
        if left > 0 && now >= self.end + self.drain {
            bail!("{left} operations are not answered {:?} after the end", self.drain);
        }
        Ok(left > 0)
    }

    /// An operation is done.
    pub(super) fn count(&mut self, times: Times, done: Instant) {
        let Times { intended, noticed, sent } = times;
        let when = if self.open { intended } else { done };
        if !self.begun || when < self.warm || when >= self.end {
            return;
        }
        let ns = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
        };
        self.interval.record(ns(intended, done));
        if self.open {
            self.service.record(ns(sent, done));
            self.lag.record(ns(intended, noticed));
        }
    }

    /// Tells of the last second if it is over.
    pub(super) fn tell_if_due(
        &mut self,
        tell: &mut impl FnMut(u64, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let second = self.warm.elapsed().as_secs();
        if second > self.second {
            self.tell(tell)?;
            self.second = second;
        }
        Ok(())
    }

    fn tell(
        &mut self,
        tell: &mut impl FnMut(u64, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        tell(self.second, &self.interval)?;
        self.response.add(&self.interval);
        self.interval.clear();
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        bytes: (u64, u64),
        tell: &mut impl FnMut(u64, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<Done> {
        if self.interval.count() > 0 {
            self.tell(tell)?;
        }
        if !self.open {
            // Sent when intended, so the two are the same.
            self.service = self.response.clone();
        }
        let usage = match (self.before, self.after) {
            (Some(before), Some(after)) => after - before,
            _ => Usage::default(),
        };
        Ok(Done {
            operations: self.response.count(),
            seconds: self.end.duration_since(self.warm).as_secs_f64(),
            response: self.response,
            service: self.service,
            lag: self.lag,
            usage,
            bytes,
        })
    }
}
