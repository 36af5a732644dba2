//! When operations of an open loop are due.

use std::time::{Duration, Instant};

use measure::Arrivals;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, Exp};

/// Arrivals, one after the other, made before anybody knows how the server does.
#[derive(Debug)]
pub(super) struct Schedule {
    next: Instant,
    mean: Duration,
    random: Option<(StdRng, Exp<f64>)>,
}

impl Schedule {
    /// `rate` operations a second, from `begin` on. `None` if the rate is not above zero.
    pub(super) fn new(begin: Instant, rate: f64, arrivals: Arrivals, seed: u64) -> Option<Self> {
        let mean = Duration::try_from_secs_f64(1.0 / rate).ok().filter(|_| rate > 0.0)?;
        let random = match arrivals {
            Arrivals::Constant => None,
            Arrivals::Poisson => Some((StdRng::seed_from_u64(seed), Exp::new(rate).ok()?)),
        };
        let mut schedule = Self { next: begin, mean, random };
        schedule.advance();
        Some(schedule)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// The next one if it is due by `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next;
        (due <= now).then(|| {
            self.advance();
            due
        })
    }

    fn advance(&mut self) {
        self.next += match &mut self.random {
            None => self.mean,
            Some((random, gaps)) => {
                Duration::try_from_secs_f64(gaps.sample(random)).unwrap_or(self.mean)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(arrivals: Arrivals) -> Vec<f64> {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin, 1000.0, arrivals, 5).unwrap();
        let far = begin + Duration::from_secs(3600);
        let mut last = begin;
        let gap = |due: Instant, last: &mut Instant| {
            let gap = due.duration_since(*last).as_secs_f64();
            *last = due;
            gap
        };
        (0..20_000).map(|_| gap(schedule.take(far).unwrap(), &mut last)).collect()
    }

    #[test]
    fn both_kinds_keep_their_rate() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let gaps = gaps(arrivals);
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            assert!((mean - 0.001).abs() < 0.00003, "{arrivals:?}: {mean}");
        }
    }

    /// The standard deviation of Poisson gaps is their mean.
    #[test]
    fn only_one_kind_is_regular() {
        let deviation = |gaps: &[f64]| {
            let squares = gaps.iter().map(|gap| (gap - 0.001) * (gap - 0.001));
            (squares.sum::<f64>() / gaps.len() as f64).sqrt()
        };
        assert!(deviation(&gaps(Arrivals::Constant)) < 1e-6);
        assert!((deviation(&gaps(Arrivals::Poisson)) - 0.001).abs() < 0.00005);
    }

    #[test]
    fn nothing_is_due_too_early_and_nothing_is_left_out() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(begin, 10.0, Arrivals::Constant, 0).unwrap();
        assert_eq!(schedule.take(begin), None);
        let later = begin + Duration::from_millis(350);
        let due: Vec<_> = std::iter::from_fn(|| schedule.take(later)).collect();
        assert_eq!(due.len(), 3);
        assert!(Schedule::new(begin, 0.0, Arrivals::Constant, 0).is_none());
    }
}
