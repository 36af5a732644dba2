//! How two variants differ, and how sure that is.

use measure::{Comparison, Effect, stats};

use super::cell::Cell;
use super::group::{Condition, Section, VariantId};
use super::quantity::{COMPARED, Quantity};

/// One quantity of variant A compared with that of B, under one condition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) condition: Condition,
    pub(super) quantity: Quantity,
    /// Medians over the pairs.
    pub(super) medians: (f64, f64),
    pub(super) comparison: Comparison,
    /// Repeats that are valid in both.
    pub(super) pairs: usize,
}

impl Difference {
    pub(super) fn effect(&self) -> Effect {
        self.comparison.effect
    }

    /// Whether there are repeats enough to say anything.
    pub(super) fn is_known(&self) -> bool {
        self.pairs >= stats::FEWEST_PAIRS
    }

    /// Whether one of both is better, and it is known which.
    pub(super) fn is_clear(&self) -> bool {
        matches!(self.effect(), Effect::Larger | Effect::Smaller)
    }
}

/// What may be said of A and B in a section: where both have a repeat that counts.
pub(super) fn differences(section: &Section<'_>, a: VariantId, b: VariantId) -> Vec<Difference> {
    let conditions = section.conditions();
    let differences = conditions.into_iter().flat_map(|condition| {
        COMPARED
            .into_iter()
            .filter_map(move |quantity| difference(section, condition, quantity, (a, b)))
    });
    differences.collect()
}

/// A quantity of both, repeat by repeat; what only one of them has is left out.
pub(super) fn paired(a: &Cell<'_>, b: &Cell<'_>, quantity: Quantity) -> (Vec<f64>, Vec<f64>) {
    let pairs = a.valid().filter_map(|(repeat, of_a)| {
        let (_, of_b) = b.valid().find(|(other, _)| *other == repeat)?;
        Some((quantity.of(of_a)?, quantity.of(of_b)?))
    });
    pairs.unzip()
}

/// One quantity of A and B. Repeats of one number took turns, so they are compared with each other,
/// and one without a partner is left out. `None` if there is no pair, and for latencies of a search:
/// those of different rates say nothing.
pub(super) fn difference(
    section: &Section<'_>,
    condition: Condition,
    quantity: Quantity,
    (a, b): (VariantId, VariantId),
) -> Option<Difference> {
    if condition.is_search() && ![Quantity::Rate, Quantity::ServerCpu].contains(&quantity) {
        return None;
    }
    let (a, b) = (section.cells.get(&(condition, a))?, section.cells.get(&(condition, b))?);
    let (a, b) = paired(a, b, quantity);
    let comparison = stats::compare(&a, &b)?;
    let medians = (stats::median(&a)?, stats::median(&b)?);
    Some(Difference { condition, quantity, medians, comparison, pairs: a.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::group::Groups;
    use crate::report::tests::{loaded, searches};

    /// Latencies at different rates say nothing of who is faster.
    #[test]
    fn searches_are_compared_by_rate_and_cost_alone() {
        let loaded = loaded(searches());
        let groups = Groups::of(&loaded);
        let variant = |name| groups.variant(name).unwrap();
        let of = |a, b| {
            let found = differences(&groups.sections[0], variant(a), variant(b));
            found.iter().map(|difference| difference.quantity).collect::<Vec<_>>()
        };
        assert_eq!(of("tokio-msgpack", "threads-pickle"), [Quantity::Rate, Quantity::ServerCpu]);
        // Nothing is a multiple of no rate, and it costs nothing.
        assert_eq!(of("tokio-msgpack", "zeo-msgpack"), []);
        assert_eq!(of("zeo-msgpack", "tokio-msgpack"), [Quantity::Rate]);
    }
}
