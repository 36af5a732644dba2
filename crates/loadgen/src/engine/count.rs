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
    completed: u64,
    spun: Duration,
    before: Option<Usage>,
    after: Option<Usage>,
}

/// One look at the clock and for events takes less, or the worker was kept from its CPU.
const LOOK: Duration = Duration::from_micros(10);

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
            completed: 0,
            spun: Duration::ZERO,
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
        let is_counted = |at: Instant| self.begun && at >= self.warm && at < self.end;
        self.completed += u64::from(is_counted(done));
        if !is_counted(if self.open { intended } else { done }) {
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

    /// Nothing was to be done from the one look to the next. That is CPU time, but not work; what is
    /// longer than a look was no CPU time of this worker either.
    pub(super) fn spun(&mut self, from: Instant, to: Instant) {
        if from >= self.warm && to < self.end {
            self.spun += to.saturating_duration_since(from).min(LOOK);
        }
    }

    /// Tells of the last second if it is over.
    pub(super) fn tell_if_due(
        &mut self,
        now: Instant,
        tell: &mut impl FnMut(u64, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let second = now.saturating_duration_since(self.warm).as_secs();
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
            completed: self.completed,
            seconds: self.end.duration_since(self.warm).as_secs_f64(),
            response: self.response,
            service: self.service,
            lag: self.lag,
            usage,
            spun_seconds: self.spun.as_secs_f64(),
            bytes,
        })
    }
}
