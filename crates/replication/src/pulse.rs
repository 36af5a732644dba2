//! Signs of life of one connection.

use std::time::Duration;

use crate::limits::INTERVALS_TO_DEATH;

/// When something was sent and heard, in the time of a clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    interval: Duration,
    sent: Duration,
    heard: Duration,
}

impl Pulse {
    /// Of a connection that begins.
    pub(crate) fn new(interval: Duration, now: Duration) -> Self {
        Self { interval, sent: now, heard: now }
    }

    pub(crate) fn sent(&mut self, now: Duration) {
        self.sent = now;
    }

    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard = now;
    }

    /// Whether it is time to say something.
    pub(crate) fn is_silent(&self, now: Duration) -> bool {
        now >= self.next_sign()
    }

    /// Whether the other end has to be given up.
    pub(crate) fn is_dead(&self, now: Duration) -> bool {
        now >= self.death()
    }

    /// When one of the two comes next.
    pub(crate) fn deadline(&self) -> Duration {
        self.next_sign().min(self.death())
    }

    /// When the other end has to be given up.
    pub(crate) fn death(&self) -> Duration {
        self.heard.saturating_add(self.interval.saturating_mul(INTERVALS_TO_DEATH))
    }

    fn next_sign(&self) -> Duration {
        self.sent.saturating_add(self.interval)
    }
}
