//! Searches for the highest rate that meets an objective.

use measure::Judgement;

use super::axis::{Axis, durations};
use super::{Kind, Layer, Mark, Plot};
use crate::report::cell::Cell;
use crate::report::group::{Condition, Groups, Section};
use crate::report::numbers;
use crate::report::quantity::Quantity;

/// What was found: a bar for each variant, strong up to the lower end of the confidence interval and
/// pale up to the upper one.
pub(in crate::report) fn highest(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Option<Plot> {
    let found: Vec<_> = section
        .at(condition)
        .filter_map(|(variant, cell)| {
            let rate = cell.median(Quantity::Rate)?;
            Some((variant, rate, cell.interval(Quantity::Rate)))
        })
        .collect();
    let end = |(_, rate, interval): &(_, f64, Option<(f64, f64)>)| {
        interval.map_or(*rate, |(_, high)| high)
    };
    let longest = found.iter().map(end).fold(0.0, f64::max);
    if longest <= 0.0 {
        return None;
    }
    let layer = |&(variant, rate, interval): &(usize, f64, Option<(f64, f64)>)| {
        let (low, high) = interval.unwrap_or((rate, rate));
        let text = match (rate > 0.0, interval) {
            (false, _) => "none".to_owned(),
            (true, None) => numbers::count(rate),
            (true, Some(_)) => {
                let [rate, low, high] = [rate, low, high].map(numbers::count);
                format!("{rate} ({low}..{high})")
            }
        };
        let parts = vec![low / longest, (high - low) / longest];
        Layer { variant, name: groups.name(variant), marks: vec![Mark::Bar { parts, text }] }
    };
    let title =
        format!("operations/s, strong up to the lower end of the 95 % interval: {condition}");
    Some(Plot { title, kind: Kind::Bars, limit: None, layers: found.iter().map(layer).collect() })
}

/// How it was found: p99 against the achieved rate in each run of each repeat, and the objective.
pub(in crate::report) fn trials(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Option<Plot> {
    let layer = |(variant, cell): (usize, &Cell<'_>)| {
        let all = cell.repeats.iter().flat_map(|source| &source.record.outcome.trials);
        let marks = all.filter_map(|trial| {
            let at = (trial.achieved, trial.p99_ns as f64);
            match trial.judgement {
                Judgement::Probe => None,
                Judgement::Invalid(_) => Some(Mark::Invalid(at)),
                Judgement::Passed | Judgement::TooSlow | Judgement::Behind => {
                    Some(Mark::Repeat(at))
                }
            }
        });
        Layer { variant, name: groups.name(variant), marks: marks.collect() }
    };
    let plot = Plot::curves(
        format!("p99 against achieved rate in all runs (dashed: the objective): {condition}"),
        section.at(condition).map(layer).collect(),
        |rates| Axis::linear("operations/s", rates, numbers::short_count),
        |latencies| Axis::log("p99", latencies, durations),
    )?;
    Some(Plot { limit: Some(condition.level() * 1e6), ..plot })
}
