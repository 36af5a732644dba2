//! What is counted, and when.

use std::time::{Duration, Instant};

use measure::{Histogram, Usage};

use super::connection::Times;
use crate::control::Done;

/// Latencies of a worker's part.
///
/// In a closed loop an operation counts that was done within the counted time; in an open loop one
/// that was intended then, however late it is done: leaving those out that are late is how
/// stalled servers come out fast.
pub(super) struct Counts {
    warm: Instant,
    end: Instant,
    pub(super) open: bool,
    begun: bool,
    response: Histogram,
    service: Histogram,
    lag: Histogram,
    /// Responses since they were told last.
    interval: Histogram,
    told: Instant,
    before: Option<Usage>,
    after: Option<Usage>,
}

/// How often the coordinator hears of it.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an open loop's last operations may take.
const DRAIN: Duration = Duration::from_secs(20);

impl Counts {
    pub(super) fn new(warm: Instant, end: Instant, open: bool) -> Self {
        Self {
            warm,
            end,
            open,
            begun: true,
            response: Histogram::default(),
            service: Histogram::default(),
            lag: Histogram::default(),
            interval: Histogram::default(),
            told: warm,
            before: None,
            after: None,
        }
    }

    /// Before the beginning nothing counts.
    pub(super) fn ignoring() -> Self {
        let now = Instant::now();
        Self { begun: false, ..Self::new(now, now, false) }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether new operations are asked for.
    pub(super) fn asks(&self, now: Instant) -> bool {
        self.begun && now < self.end
    }

    /// Whether the worker goes on: until the end, and in an open loop while `is_busy`.
    pub(super) fn goes_on(&mut self, now: Instant, is_busy: impl FnOnce() -> bool) -> bool {
        if self.before.is_none() && now >= self.warm {
            self.before = Usage::of_process(std::process::id()).ok();
        }
        if now < self.end {
            return true;
        }
        if self.after.is_none() {
            self.after = Usage::of_process(std::process::id()).ok();
        }
        self.open && now < self.end + DRAIN && is_busy()
    }

    /// An operation is done.
    pub(super) fn count(&mut self, Times { intended, sent }: Times, done: Instant) {
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
            self.lag.record(ns(intended, sent));
        }
    }

    /// Tells of the last second if it is over.
    pub(super) fn tell_if_due(
        &mut self,
        tell: &mut impl FnMut(bool, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.told.elapsed() >= INTERVAL {
            self.tell(tell)?;
        }
        Ok(())
    }

    fn tell(
        &mut self,
        tell: &mut impl FnMut(bool, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        tell(Instant::now() > self.warm, &self.interval)?;
        self.response.add(&self.interval);
        self.interval.clear();
        self.told = Instant::now();
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        bytes: (u64, u64),
        tell: &mut impl FnMut(bool, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<Done> {
        self.tell(tell)?;
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
