//! All latencies of one condition: which share of operations is answered within which time.

use measure::{Histogram, Outcome};

use super::axis::{Axis, durations};
use super::{Layer, Mark, Plot};
use crate::report::cell::Cell;
use crate::report::group::{Condition, Groups, Load, Section};

/// The percentile plot of a condition, its repeats added. In an open loop the service time, without
/// what an operation waited for its turn, is the thin line.
pub(in crate::report) fn percentiles(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Option<Plot> {
    let most = section.at(condition).map(|(_, cell)| responses(cell).count()).max()?;
    let layer = |(variant, cell): (usize, &Cell<'_>)| {
        let mut marks = Vec::new();
        let responses = responses(cell);
        if responses.count() > 0 {
            if condition.load != Load::Closed {
                let service = cell.histogram(|outcome: &Outcome| &outcome.service);
                marks.push(Mark::Thin(curve(&service)));
            }
            marks.push(Mark::Line(curve(&responses)));
        }
        Layer { variant, name: groups.name(variant), marks }
    };
    let thin = if condition.load == Load::Closed { "" } else { " (thin: from sending on)" };
    Plot::curves(
        format!("latency by share of operations{thin}: {condition}"),
        section.at(condition).map(layer).collect(),
        |_| Axis::shares("share of operations", most),
        |latencies| Axis::log("latency", latencies, durations),
    )
}

fn responses(cell: &Cell<'_>) -> Histogram {
    cell.histogram(|outcome: &Outcome| &outcome.response)
}

/// Points at equal distances of the axis, up to the share that a single operation decides.
fn curve(histogram: &Histogram) -> Vec<(f64, f64)> {
    let last = (histogram.count().max(1) as f64).log10();
    let steps = (last * STEPS_PER_DECADE).floor() as u32;
    let shares = (0..=steps).map(|step| 10_f64.powf(f64::from(step) / STEPS_PER_DECADE));
    shares.map(|x| (x, histogram.quantile_ns(1.0 - 1.0 / x) as f64)).collect()
}

const STEPS_PER_DECADE: f64 = 24.0;
