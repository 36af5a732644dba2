//! What a storage counts and times, for monitoring.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use protocol::Tid;

use crate::pack::PackState;

/// What monitoring wants to know of a storage, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// From a vote's request to its locks, in nanoseconds.
    pub lock_wait: Buckets,
    /// From a finish's request to its answer, in nanoseconds.
    pub finish: Buckets,
    /// Writing a batch, in nanoseconds, with the sync.
    pub append: Buckets,
    /// Only the sync of a batch, in nanoseconds.
    pub sync: Buckets,
    /// Loads that missed memory, from request to answer, in nanoseconds.
    pub late_load: Buckets,
    /// Transactions that were committed together.
    pub batch: Buckets,
    /// Transactions that were aborted because they held their locks for too long.
    pub timeouts: u64,
    /// Finishes that wait for the committer.
    pub commit_queue: u64,
    /// Reads and other jobs that wait for a thread.
    pub pool_queue: u64,
    /// Bytes of memory that the index takes, about.
    pub index_bytes: u64,
    /// Of the records read lately.
    pub cache: CacheUse,
    /// The newest tid.
    pub last_tid: Tid,
    /// How far packs have come.
    pub pack: PackState,
    /// Why no write is taken any more.
    pub refusal: Option<String>,
}

/// What became of look-ups in the memory for records that were read lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Found.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
    /// Taken by records now.
    pub bytes: u64,
}

/// How often values fell between bounds, each twice the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// The first inclusive upper bound.
    pub first: u64,
    /// Of each bucket; the last one has no bound.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: u64,
}

/// [`Buckets`] that any thread can add to.
#[derive(Debug)]
pub(crate) struct Histogram {
    first: u64,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// With so many bounds, of which the first is `first`, above zero.
    fn new(first: u64, bounds: usize) -> Self {
        let counts = (0..=bounds).map(|_| AtomicU64::new(0)).collect();
        Self { first, counts, sum: AtomicU64::new(0) }
    }

    /// From 16 microseconds to 16 seconds.
    pub(crate) fn of_durations() -> Self {
        Self::new(16_000, 21)
    }

    pub(crate) fn record(&self, value: u64) {
        let doublings = 64 - (value.saturating_sub(1) / self.first).leading_zeros();
        let bucket = self.counts.get(doublings as usize).or_else(|| self.counts.last());
        if let Some(count) = bucket {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The counts are not all of the same moment.
    pub(crate) fn read(&self) -> Buckets {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Buckets { first: self.first, counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// What the commit path and the reader threads record.
#[derive(Debug)]
pub(crate) struct Timings {
    pub(crate) lock_wait: Histogram,
    pub(crate) finish: Histogram,
    pub(crate) append: Histogram,
    pub(crate) late_load: Histogram,
    pub(crate) batch: Histogram,
    pub(crate) timeouts: Counter,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            lock_wait: Histogram::of_durations(),
            finish: Histogram::of_durations(),
            append: Histogram::of_durations(),
            late_load: Histogram::of_durations(),
            batch: Histogram::new(1, 11),
            timeouts: Counter::default(),
        }
    }
}

/// A sum that many threads add to at the same time, and that is read seldom.
///
/// Each thread adds to one of several parts, so that they do not wait for each other's caches.
#[derive(Debug, Default)]
pub(crate) struct Counter([Part; PARTS]);

/// A cache line for itself; processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

const PARTS: usize = 16;

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        if let Some(part) = self.0.get(PART.get()) {
            part.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

thread_local! {
    /// Which part of every [`Counter`] is this thread's.
    static PART: Cell<usize> = Cell::new(NEXT_PART.fetch_add(1, Ordering::Relaxed) % PARTS);
}

static NEXT_PART: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_and_are_inclusive() {
        let histogram = Histogram::new(10, 3);
        for value in [0, 1, 10, 11, 20, 21, 40, 41, u64::MAX / 2] {
            histogram.record(value);
        }
        let read = histogram.read();
        assert_eq!((read.first, read.counts), (10, vec![3, 2, 2, 2]));
        assert_eq!(read.sum, 144 + u64::MAX / 2);
    }

    #[test]
    fn durations_reach_from_microseconds_to_seconds() {
        let histogram = Histogram::of_durations();
        histogram.record_duration(Duration::from_micros(16));
        histogram.record_duration(Duration::from_micros(16 << 20));
        histogram.record_duration(Duration::from_micros((16 << 20) + 1));
        histogram.record_duration(Duration::MAX);
        let counts = histogram.read().counts;
        let filled: Vec<_> = counts.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(filled, [(0, &1), (20, &1), (21, &2)]);
        assert_eq!(counts.len(), 22);
    }

    #[test]
    fn all_threads_count() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| (0..100).for_each(|_| counter.add(1)));
            }
        });
        assert_eq!(counter.read(), 4000);
    }
}
