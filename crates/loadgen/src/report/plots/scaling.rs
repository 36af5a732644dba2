//! How the rate grows with connections, and what an operation costs then.

use super::axis::Axis;
use super::curve::curve;
use super::{Layer, Plot};
use crate::report::group::{Condition, Groups, Load, Section};
use crate::report::numbers;
use crate::report::quantity::Quantity;

/// Rate and server CPU over connections in a closed loop; nothing for a single number of them.
pub(in crate::report) fn scaling(groups: &Groups<'_>, section: &Section<'_>) -> Vec<Plot> {
    let conditions = section.conditions();
    let closed = conditions.iter().filter(|condition| condition.load == Load::Closed);
    let connections: Vec<_> = closed.map(|condition| f64::from(condition.connections)).collect();
    if connections.len() < 2 {
        return Vec::new();
    }
    let plot = |quantity: Quantity, y: fn(f64) -> String| {
        Plot::curves(
            format!("{} over connections: closed loop", quantity.label()),
            layers(groups, section, quantity),
            |_| Axis::steps("connections", &connections, numbers::count),
            |values| Axis::linear(quantity.label(), values, y),
        )
    };
    let rate = plot(Quantity::Rate, numbers::short_count);
    let cpu = plot(Quantity::ServerCpu, |us| numbers::duration(us * 1000.0));
    rate.into_iter().chain(cpu).collect()
}

fn layers(groups: &Groups<'_>, section: &Section<'_>, quantity: Quantity) -> Vec<Layer> {
    let layer = |variant: usize| {
        let cells = section
            .cells
            .iter()
            .filter(|((condition, other), _)| condition.load == Load::Closed && *other == variant)
            .map(|((condition, _), cell)| (*condition, cell));
        let connections = |condition: Condition, _: &_| Some(f64::from(condition.connections));
        Layer { variant, name: groups.name(variant), marks: curve(cells, connections, quantity) }
    };
    (0..groups.variants.len()).map(layer).collect()
}
