//! How long to wait before the next try.

use std::time::Duration;

/// Doubles from [`FIRST`] to [`LONGEST`], with jitter, so that those who lost one primary do not
/// come back at the same moment.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after another failure; `random` chooses within its second half.
    pub fn fail(&mut self, random: u64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(DOUBLINGS)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        // The upper 32 bits, as a fraction.
        half + half.mul_f64((random >> 32) as f64 / f64::from(u32::MAX))
    }

    /// Something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The first wait, without its jitter.
pub const FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(10);
/// After so many the longest wait is reached.
const DOUBLINGS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_from_a_tenth_of_a_second_to_ten_seconds() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.fail(0), Duration::from_millis(100));
        assert_eq!(backoff.fail(u64::MAX), Duration::from_millis(400));
        for _ in 0..100 {
            backoff.fail(0);
        }
        assert_eq!(backoff.fail(0), Duration::from_secs(5));
        assert_eq!(backoff.fail(u64::MAX), LONGEST);
        backoff.reset();
        assert_eq!(backoff.fail(0), Duration::from_millis(100));
    }
}
