//! From values to places on a plot, and the marks along its edges.

use crate::report::numbers;

/// One direction of a plot. A place is a share of it: 0 is its beginning, 1 its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) label: String,
    is_log: bool,
    low: f64,
    high: f64,
    /// Values, and what is written there.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero to somewhat more than the largest value.
    pub(super) fn linear(label: &str, values: &[f64], format: fn(f64) -> String) -> Self {
        let largest = values.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        let step = round_up(largest / 6.0);
        let steps = (largest / step).ceil().max(1.0) as usize;
        let ticks = (0..=steps).map(|n| n as f64 * step).map(|at| (at, format(at))).collect();
        Self { label: label.to_owned(), is_log: false, low: 0.0, high: steps as f64 * step, ticks }
    }

    /// Logarithmic, from a round number below all to a round one above all.
    pub(super) fn log(label: &str, values: &[f64], format: fn(f64) -> String) -> Self {
        let values = || values.iter().copied().filter(|value| *value > 0.0);
        let (mut low, mut high) = match (values().reduce(f64::min), values().reduce(f64::max)) {
            (Some(low), Some(high)) => (round_down(low), round_up(high)),
            _ => (1.0, 10.0),
        };
        // A curve that is nearly flat shall look so.
        if high / low < 4.9 {
            (low, high) = (round_down(low / 1.5), round_up(high * 1.5));
        }
        let mut ticks = Vec::new();
        let mut at = low;
        while at <= high * 1.001 {
            ticks.push(at);
            at = round_up(at * 1.5);
        }
        if ticks.len() > 12 {
            ticks.retain(|at| is_power_of_ten(*at));
        }
        let ticks = ticks.into_iter().map(|at| (at, format(at))).collect();
        Self { label: label.to_owned(), is_log: true, low, high, ticks }
    }

    /// Logarithmic over the values themselves, with a mark at each.
    pub(super) fn steps(label: &str, values: &[f64], format: fn(f64) -> String) -> Self {
        let mut sorted: Vec<_> = values.iter().copied().filter(|value| *value > 0.0).collect();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        let low = sorted.first().copied().unwrap_or(1.0) / 1.25;
        let high = sorted.last().copied().unwrap_or(1.0) * 1.25;
        let ticks = sorted.into_iter().map(|at| (at, format(at))).collect();
        Self { label: label.to_owned(), is_log: true, low, high, ticks }
    }

    /// 1/(1-q) for shares q, from 0 to that of which `count` values tell something.
    pub(super) fn shares(label: &str, count: u64) -> Self {
        let mut ticks = vec![(1.0, "0 %".to_owned())];
        let mut at = 10.0;
        while at <= count.max(100) as f64 {
            let nines = at.log10().round() as usize;
            ticks.push((at, format!("{:.*} %", nines.saturating_sub(2), 100.0 - 100.0 / at)));
            at *= 10.0;
        }
        let high = ticks.last().map_or(10.0, |(at, _)| *at);
        Self { label: label.to_owned(), is_log: true, low: 1.0, high, ticks }
    }

    /// The place of a value; those beyond an end are put there.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }
}

/// Durations on an axis.
pub(super) fn durations(ns: f64) -> String {
    numbers::duration(ns)
}

/// The next of 1, 2, 5, 10, 20... at or above.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| value <= step * power * 1.000_001);
    step.unwrap_or(10.0) * power
}

fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let step = [5.0, 2.0].into_iter().find(|step| value >= step * power * 0.999_999);
    step.unwrap_or(1.0) * power
}

fn is_power_of_ten(value: f64) -> bool {
    let log = value.log10();
    (log - log.round()).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ends_are_round_and_hold_all_values() {
        let axis = Axis::linear("rate", &[3.0, 71_000.0], numbers::short_count);
        assert_eq!(marks(&axis), ["0", "20 k", "40 k", "60 k", "80 k"]);
        assert_eq!((axis.place(0.0), axis.place(80_000.0)), (0.0, 1.0));
        let axis = Axis::log("p99", &[130_000.0, 4_200_000.0], durations);
        assert_eq!(marks(&axis), ["100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms"]);
        assert!(axis.place(130_000.0) > 0.0 && axis.place(4_200_000.0) < 1.0);
    }

    #[test]
    fn many_decades_have_a_mark_each() {
        let axis = Axis::log("p99", &[1_500.0, 900_000_000.0], durations);
        assert_eq!(marks(&axis), ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
    }

    #[test]
    fn shares_end_where_values_do() {
        let axis = Axis::shares("share", 150_000);
        assert_eq!(marks(&axis), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert!((axis.place(1_000.0) - 0.6).abs() < 1e-9);
        assert_eq!(axis.place(1e9), 1.0);
    }

    #[test]
    fn nothing_and_one_value_have_an_axis_too() {
        for values in [&[][..], &[0.0], &[5.0]] {
            for axis in [
                Axis::linear("", values, numbers::count),
                Axis::log("", values, numbers::count),
                Axis::steps("", values, numbers::count),
            ] {
                assert!((0.0..=1.0).contains(&axis.place(5.0)), "{axis:?}");
                assert!(axis.ticks.iter().all(|(at, _)| axis.place(*at).is_finite()), "{axis:?}");
            }
        }
    }
}
