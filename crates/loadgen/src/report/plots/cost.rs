//! What an operation costs: a bar of two parts for each variant.

use measure::{Outcome, stats};

use super::{Kind, Layer, Mark, Plot};
use crate::report::cell::Cell;
use crate::report::group::{Condition, Groups, Section};
use crate::report::numbers;
use crate::report::quantity::bytes_per_operation;

/// The server's CPU time per operation, in user mode and in the kernel.
pub(in crate::report) fn cpu(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Option<Plot> {
    let parts = |outcome: &Outcome| {
        let per_operation = |seconds: f64| seconds * 1e9 / outcome.answered().max(1) as f64;
        [per_operation(outcome.server.user_seconds), per_operation(outcome.server.system_seconds)]
    };
    let title = format!("server CPU per operation, user (strong) + kernel (pale): {condition}");
    bars(title, &medians(section, condition, parts), groups, numbers::duration)
}

/// The CPU time per operation of a driver's client beside the server's.
pub(in crate::report) fn both(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Option<Plot> {
    section.driver()?;
    let parts = |outcome: &Outcome| {
        [outcome.generator_cpu_us(), outcome.server_cpu_us()].map(|us| us * 1000.0)
    };
    let title = format!("CPU per operation, client (strong) + server (pale): {condition}");
    bars(title, &medians(section, condition, parts), groups, numbers::duration)
}

/// Bytes that clients sent and received per operation.
pub(in crate::report) fn bytes(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Option<Plot> {
    let parts = |outcome: &Outcome| {
        [outcome.bytes.0, outcome.bytes.1].map(|bytes| bytes_per_operation(outcome, bytes))
    };
    let title =
        format!("bytes per operation, to the server (strong) + from it (pale): {condition}");
    bars(title, &medians(section, condition, parts), groups, numbers::bytes)
}

/// Each variant with a valid repeat, and the medians of two parts of its outcomes.
fn medians(
    section: &Section<'_>,
    condition: Condition,
    parts: impl Fn(&Outcome) -> [f64; 2],
) -> Vec<(usize, [f64; 2])> {
    let medians = |(variant, cell): (usize, &Cell<'_>)| {
        let all = cell.valid().map(|(_, outcome)| parts(outcome)).map(|[a, b]| (a, b));
        let (first, second): (Vec<_>, Vec<_>) = all.unzip();
        Some((variant, [stats::median(&first)?, stats::median(&second)?]))
    };
    section.at(condition).filter_map(medians).collect()
}

fn bars(
    title: String,
    rows: &[(usize, [f64; 2])],
    groups: &Groups<'_>,
    format: fn(f64) -> String,
) -> Option<Plot> {
    let longest = rows.iter().map(|(_, [a, b])| a + b).fold(0.0, f64::max);
    if longest <= 0.0 {
        return None;
    }
    let layer = |&(variant, [a, b]): &(usize, [f64; 2])| {
        let text = format!("{} + {} = {}", format(a), format(b), format(a + b));
        let parts = [a, b].map(|part| part / longest).to_vec();
        Layer { variant, name: groups.name(variant), marks: vec![Mark::Bar { parts, text }] }
    };
    Some(Plot { title, kind: Kind::Bars, limit: None, layers: rows.iter().map(layer).collect() })
}
