//! What replication tells of a storage, for monitoring.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::Tid;
use replication::secondary::Lag;
use storage::{Clock as _, SystemClock};

/// Kept by the links of a storage.
#[derive(Debug, Default)]
pub(super) struct Figures {
    next: u64,
    secondaries: BTreeMap<u64, Secondary>,
    pub(super) source: Option<Source>,
}

#[derive(Debug)]
struct Secondary {
    node: String,
    acked: Tid,
}

/// Whom a storage follows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    pub(super) follows: bool,
    lag: Option<(Lag, Instant)>,
}

impl Source {
    /// Takes what a follower knows. While that stays the same, time goes by.
    pub(super) fn note(&mut self, follows: bool, lag: Option<Lag>) {
        self.follows = follows;
        let known = self.lag.map(|(lag, _)| lag);
        if known != lag {
            self.lag = lag.map(|lag| (lag, Instant::now()));
        }
    }
}

impl Figures {
    /// A secondary has come; what this returns names it.
    pub(super) fn join(&mut self, node: String, acked: Tid) -> u64 {
        self.next += 1;
        self.secondaries.insert(self.next, Secondary { node, acked });
        self.next
    }

    pub(super) fn ack(&mut self, number: u64, tid: Tid) {
        if let Some(secondary) = self.secondaries.get_mut(&number) {
            secondary.acked = tid;
        }
    }

    pub(super) fn leave(&mut self, number: u64) {
        self.secondaries.remove(&number);
    }

    /// As of now, of a storage that has all up to `last`.
    pub(super) fn report(&self, storage: &str, last: Tid) -> Report {
        let secondaries = self.secondaries.values().map(|secondary| {
            let is_behind = secondary.acked < last;
            let since = SystemClock.now().saturating_sub(secondary.acked.next().to_unix());
            let behind = if is_behind { since } else { Duration::ZERO };
            (secondary.node.clone(), behind)
        });
        let source = self.source.map(|source| {
            let behind = source.lag.map_or(Duration::ZERO, |(lag, at)| match lag.time {
                Duration::ZERO => Duration::ZERO,
                time => time + at.elapsed(),
            });
            (source.follows, behind)
        });
        Report { storage: storage.to_owned(), secondaries: secondaries.collect(), source }
    }
}

/// What monitoring tells.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) storage: String,
    /// Who follows it, and for how long they have lacked something.
    pub(crate) secondaries: Vec<(String, Duration)>,
    /// Whether it follows right now, and for how long it has lacked something; `None`: it follows
    /// nobody.
    pub(crate) source: Option<(bool, Duration)>,
}
