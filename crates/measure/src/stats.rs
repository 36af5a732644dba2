//! Comparing variants that were measured several times.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

/// Differences of less than this share are called the same, however sure they are: nobody decides
/// on them.
pub const SMALLEST_EFFECT: f64 = 0.02;

/// With so many pairs the bootstrap has something to draw from; of fewer it says nothing.
pub const FEWEST_PAIRS: usize = 3;

const RESAMPLES: usize = 10_000;

/// How variant A compares with variant B in a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Median of A over median of B.
    pub ratio: f64,
    /// The 95 % confidence interval of the ratio, by bootstrap over the repeats.
    pub interval: (f64, f64),
    /// What may be said.
    pub effect: Effect,
}

/// What a comparison says of A's quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The whole interval is below 1, and the ratio by 2 % or more.
    Smaller,
    /// The whole interval is above 1, and the ratio by 2 % or more.
    Larger,
    /// The whole interval is within 2 % of 1.
    Same,
    /// The repeats do not tell.
    Unsure,
}

/// The middle value; of an even number, the mean of the two in the middle. `None` for none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    sorted.get(sorted.len() / 2 - 1).map(|lower| (lower + upper) / 2.0)
}

/// Compares the repeats of A with those of B, which took turns: repeat `i` of both happened one
/// after the other, and pairs are drawn together, so that the drift of a machine cancels out.
///
/// `None` without repeats, or if a median of B is zero. The result is the same for the same input.
pub fn compare(a: &[f64], b: &[f64]) -> Option<Comparison> {
    let ratio = ratio_of_medians(a, b)?;
    let pairs = a.len().min(b.len());
    // The seed is fixed: a report that is made again says the same.
    let mut random = StdRng::seed_from_u64(0x7a65_6f78_6964_6521);
    let mut ratios = Vec::with_capacity(RESAMPLES);
    let (mut drawn_a, mut drawn_b) = (Vec::new(), Vec::new());
    for _ in 0..RESAMPLES {
        drawn_a.clear();
        drawn_b.clear();
        for _ in 0..pairs {
            let drawn = random.random_range(0..pairs);
            drawn_a.extend(a.get(drawn));
            drawn_b.extend(b.get(drawn));
        }
        ratios.extend(ratio_of_medians(&drawn_a, &drawn_b));
    }
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let position = (share * (ratios.len().saturating_sub(1)) as f64).round() as usize;
        ratios.get(position).copied()
    };
    let interval = (at(0.025)?, at(0.975)?);
    Some(Comparison { ratio, interval, effect: effect(ratio, interval, pairs) })
}

fn ratio_of_medians(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (median(a)?, median(b)?);
    (b != 0.0).then(|| a / b)
}

fn effect(ratio: f64, (low, high): (f64, f64), pairs: usize) -> Effect {
    // Of fewer repeats no interval means anything.
    if pairs < FEWEST_PAIRS {
        Effect::Unsure
    } else if low >= 1.0 - SMALLEST_EFFECT && high <= 1.0 + SMALLEST_EFFECT {
        Effect::Same
    } else if high < 1.0 && ratio <= 1.0 - SMALLEST_EFFECT {
        Effect::Smaller
    } else if low > 1.0 && ratio >= 1.0 + SMALLEST_EFFECT {
        Effect::Larger
    } else {
        Effect::Unsure
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    fn effect_of(a: &[f64], b: &[f64]) -> Effect {
        compare(a, b).unwrap().effect
    }

    #[test]
    fn what_is_clear_is_said() {
        let b = [100.0, 101.0, 99.0, 100.5, 99.5];
        assert_eq!(effect_of(&b.map(|x| x * 0.8), &b), Effect::Smaller);
        assert_eq!(effect_of(&b.map(|x| x * 1.3), &b), Effect::Larger);
        assert_eq!(effect_of(&b.map(|x| x * 1.001), &b), Effect::Same);
    }

    #[test]
    fn what_is_not_clear_is_not_said() {
        assert_eq!(effect_of(&[50.0, 150.0, 100.0, 120.0], &[100.0; 4]), Effect::Unsure);
        assert_eq!(effect_of(&[50.0, 50.0], &[100.0, 100.0]), Effect::Unsure, "two repeats");
        assert_eq!(compare(&[], &[1.0]), None);
        assert_eq!(compare(&[1.0], &[0.0]), None);
    }

    /// A machine that grows slower all the while slows both.
    #[test]
    fn drift_cancels_out() {
        let b: Vec<f64> = (0..8).map(|i| 100.0 * 1.1_f64.powi(i)).collect();
        let a: Vec<f64> = b.iter().map(|x| x * 0.9).collect();
        let compared = compare(&a, &b).unwrap();
        assert_eq!(compared.effect, Effect::Smaller);
        assert!((compared.ratio - 0.9).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_ratio_of_something_that_could_be(
            a in prop::collection::vec(1.0..1e6, 1..9),
            b in prop::collection::vec(1.0..1e6, 1..9),
        ) {
            let compared = compare(&a, &b).unwrap();
            prop_assert!(compared.interval.0 <= compared.interval.1);
            prop_assert_eq!(compare(&a, &b), Some(compared), "the same again");
        }
    }
}
