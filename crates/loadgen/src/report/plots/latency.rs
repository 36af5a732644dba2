//! Latency against the rate that was achieved.

use super::axis::{Axis, durations};
use super::curve::curve;
use super::{Layer, Plot};
use crate::report::group::{Condition, Groups, Load, Section};
use crate::report::numbers;
use crate::report::quantity::Quantity;

/// Plots for p50, p99 and p99.9: of the closed loop over its numbers of connections, and of each
/// kind of open loop over its rates.
pub(in crate::report) fn latencies(groups: &Groups<'_>, section: &Section<'_>) -> Vec<Plot> {
    let mut series: Vec<(String, Vec<Condition>)> = Vec::new();
    for condition in section.conditions().into_iter().filter(|condition| !condition.is_search()) {
        let title = match condition.load {
            Load::Closed => "closed loop, each point a number of connections".to_owned(),
            load => {
                format!("{} connections, open loop, {}", condition.connections, load.arrivals())
            }
        };
        match series.iter_mut().find(|(other, _)| *other == title) {
            Some((_, conditions)) => conditions.push(condition),
            None => series.push((title, vec![condition])),
        }
    }
    let plots = series.iter().flat_map(|(title, conditions)| {
        [Quantity::P50, Quantity::P99, Quantity::P999].into_iter().filter_map(move |quantity| {
            let title = format!("{} against achieved rate: {title}", quantity.label());
            plot(groups, section, conditions, quantity, title)
        })
    });
    plots.collect()
}

fn plot(
    groups: &Groups<'_>,
    section: &Section<'_>,
    conditions: &[Condition],
    quantity: Quantity,
    title: String,
) -> Option<Plot> {
    let layer = |variant: usize| {
        let cells =
            conditions.iter().filter_map(|c| Some((*c, section.cells.get(&(*c, variant))?)));
        let marks = curve(cells, |_, outcome| Some(outcome.rate()), quantity);
        Layer { variant, name: groups.name(variant), marks }
    };
    Plot::curves(
        title,
        (0..groups.variants.len()).map(layer).collect(),
        |rates| Axis::linear("operations/s", rates, numbers::short_count),
        |latencies| Axis::log(quantity.label(), latencies, durations),
    )
}
