//! The counted time, second by second.

use measure::Interval;

use super::axis::{Axis, durations};
use super::{Layer, Mark, Plot};
use crate::report::cell::Cell;
use crate::report::group::{Condition, Groups, Section};
use crate::report::numbers;

/// Rate and p99 over the time of a condition: the first repeat, and the others thin behind it.
pub(in crate::report) fn over_time(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Vec<Plot> {
    let layers = |series: fn(&[Interval]) -> Vec<(f64, f64)>| {
        let layer = |(variant, cell): (usize, &Cell<'_>)| {
            let lines = cell.valid().map(|(_, outcome)| series(&outcome.intervals));
            let mut marks: Vec<_> = lines.filter(|line| line.len() > 1).map(Mark::Thin).collect();
            if let Some(Mark::Thin(first)) = marks.first_mut() {
                let first = std::mem::take(first);
                marks.remove(0);
                marks.push(Mark::Line(first));
            }
            Layer { variant, name: groups.name(variant), marks }
        };
        section.at(condition).map(layer).collect::<Vec<_>>()
    };
    let x = |times: &[f64]| Axis::linear("seconds", times, numbers::count);
    let rate = Plot::curves(format!("rate over time: {condition}"), layers(rates), x, |values| {
        Axis::linear("operations/s", values, numbers::short_count)
    });
    let p99 = Plot::curves(format!("p99 over time: {condition}"), layers(p99s), x, |values| {
        Axis::log("p99", values, durations)
    });
    rate.into_iter().chain(p99).collect()
}

/// Intervals say when they end; each begins where the one before ends.
fn rates(intervals: &[Interval]) -> Vec<(f64, f64)> {
    let mut began = 0.0;
    let mut points = Vec::new();
    for interval in intervals {
        let seconds = interval.at - began;
        if seconds > 0.0 {
            points.push((interval.at, interval.operations as f64 / seconds));
        }
        began = interval.at;
    }
    points
}

fn p99s(intervals: &[Interval]) -> Vec<(f64, f64)> {
    let answered = intervals.iter().filter(|interval| interval.operations > 0);
    answered.map(|interval| (interval.at, interval.p99_ns as f64)).collect()
}
