//! Figures that a scenario asks for: a quantity of one point, or its ratio to that of another one,
//! and what it must reach. Data in the scenario's file, computed from records.

mod place;
#[cfg(test)]
mod tests;

use measure::stats;
use serde::Deserialize;

use super::difference::paired;
use super::group::Groups;
use super::numbers::count;
use super::quantity::Quantity;
use crate::scenario::Task;
use place::{Against, Place};

/// A figure as a scenario writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    /// What it is, for people.
    name: String,
    quantity: Name,
    of: Place,
    /// The figure is a ratio to this, or else the quantity itself.
    against: Option<Against>,
    at_most: Option<f64>,
    at_least: Option<f64>,
    /// What stands in the way; it is said if the bound is missed.
    why: Option<String>,
}

/// A quantity with the unit in which a bound of it is written; bounds of ratios have none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Rate,
    P50Us,
    P99Us,
    P999Us,
    ServerCpuUs,
    GeneratorCpuUs,
}

/// A figure as a report shows it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// `1.3`, `4.9 µs`; or why there is none.
    pub(super) figure: Result<String, String>,
    /// `1.2..1.4`, or that there are too few repeats.
    pub(super) interval: String,
    /// Of which points it was made, with their values.
    pub(super) from: String,
    /// `at most 1.25`.
    pub(super) bound: Option<String>,
    /// Absent without a bound, or without a figure.
    pub(super) verdict: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) reached: bool,
    /// Whether the whole interval is on that side of the bound.
    sure: bool,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match (self.reached, self.sure) {
            (true, true) => "reached",
            (true, false) => "reached, not surely",
            (false, true) => "missed",
            (false, false) => "missed, not surely",
        }
    }
}

/// The figures of a scenario, those with a bound first.
pub(super) fn rows(figures: &[Figure], groups: &Groups<'_>, scenario: &str) -> Vec<Row> {
    let mut rows: Vec<_> = figures.iter().map(|figure| figure.row(groups, scenario)).collect();
    rows.sort_by_key(|row| row.bound.is_none());
    rows
}

/// The tables of a report, with titles and columns: what must be reached, and the rest.
pub(super) fn tables(
    rows: &[Row],
) -> impl Iterator<Item = (&'static str, &[&'static str], &[Row])> {
    let (targets, others) = rows.split_at(rows.partition_point(|row| row.bound.is_some()));
    let columns = &["what", "figure", "95 %", "must be", "verdict"];
    let tables =
        [("What it must reach", &columns[..], targets), ("Points compared", &columns[..3], others)];
    tables.into_iter().filter(|(.., rows)| !rows.is_empty())
}

impl Row {
    pub(super) fn shown(&self) -> &str {
        self.figure.as_deref().unwrap_or("–")
    }

    /// What it was made of, or why it was not made.
    pub(super) fn note(&self) -> &str {
        self.figure.as_ref().err().unwrap_or(&self.from)
    }

    pub(super) fn word(&self) -> &'static str {
        self.verdict.map_or("not known", Verdict::word)
    }
}

/// Refuses figures of points that the scenario does not measure.
pub(crate) fn check(figures: &[Figure], tasks: &[Task]) -> anyhow::Result<()> {
    for figure in figures {
        let of = &figure.of;
        let places = figure.against.iter().map(|against| against.place(of, of.servers.clone()));
        for place in places.chain([of.clone()]) {
            for server in &place.servers {
                let is_it = |Task { point, .. }: &Task| {
                    format!("{}:{}", point.server, point.protocol) == *server
                        && point.workload == place.workload
                        && (point.connections, point.depth) == (place.connections, place.depth)
                };
                if !tasks.iter().any(is_it) {
                    anyhow::bail!("figure {:?}: {} is not measured", figure.name, place.of(server));
                }
            }
        }
    }
    Ok(())
}

/// A number with its confidence interval, in the quantity's own unit.
struct Value {
    value: f64,
    interval: Option<(f64, f64)>,
    from: String,
}

impl Figure {
    fn row(&self, groups: &Groups<'_>, scenario: &str) -> Row {
        let format = |value| match self.against {
            Some(_) => count(value),
            None => self.quantity.quantity().format(value),
        };
        let unit = if self.against.is_some() { 1.0 } else { self.quantity.unit() };
        let said = |how, bound: Option<f64>| bound.map(|b| format!("{how} {}", format(b * unit)));
        let bounds = [said("at least", self.at_least), said("at most", self.at_most)];
        let bound = bounds.into_iter().flatten().reduce(|least, most| format!("{least}, {most}"));
        let name = self.name.clone();
        let found = match self.value(groups, scenario) {
            Ok(found) => found,
            Err(why) => {
                let (interval, from) = (String::new(), String::new());
                return Row { name, figure: Err(why), interval, from, bound, verdict: None };
            }
        };
        let interval = match found.interval {
            Some((low, high)) => format!("{}..{}", format(low), format(high)),
            None => "too few repeats".to_owned(),
        };
        let is_within = |value: f64| {
            self.at_most.is_none_or(|most| value <= most * unit)
                && self.at_least.is_none_or(|least| value >= least * unit)
        };
        let verdict = bound.as_ref().map(|_| {
            let reached = is_within(found.value);
            let ends = found.interval.map(|(low, high)| [low, high].map(is_within));
            Verdict { reached, sure: ends == Some([reached; 2]) }
        });
        let missed = verdict.is_some_and(|verdict| !verdict.reached);
        let why = self.why.iter().filter(|_| missed).map(|why| format!(". {why}"));
        let from = std::iter::once(found.from).chain(why).collect();
        Row { name, figure: Ok(format(found.value)), interval, from, bound, verdict }
    }

    fn value(&self, groups: &Groups<'_>, scenario: &str) -> Result<Value, String> {
        let quantity = self.quantity.quantity();
        let (server, of) = self.of.best(groups, scenario, quantity)?;
        let Some(against) = &self.against else {
            let value = of.median(quantity).unwrap_or_default();
            return Ok(Value { value, interval: of.interval(quantity), from: self.of.of(&server) });
        };
        let against = against.place(&self.of, vec![server.clone()]);
        let (other, cell) = against.best(groups, scenario, quantity)?;
        let (a, b) = paired(of, cell, quantity);
        let compared = stats::compare(&a, &b).ok_or("there are no repeats that both have")?;
        let shown = |values: &[f64]| stats::median(values).map(|value| quantity.format(value));
        let from = format!(
            "{}: {}; {}: {}",
            self.of.of(&server),
            shown(&a).unwrap_or_default(),
            against.of(&other),
            shown(&b).unwrap_or_default()
        );
        let interval = (a.len() >= stats::FEWEST_PAIRS).then_some(compared.interval);
        Ok(Value { value: compared.ratio, interval, from })
    }
}

impl Name {
    fn quantity(self) -> Quantity {
        match self {
            Self::Rate => Quantity::Rate,
            Self::P50Us => Quantity::P50,
            Self::P99Us => Quantity::P99,
            Self::P999Us => Quantity::P999,
            Self::ServerCpuUs => Quantity::ServerCpu,
            Self::GeneratorCpuUs => Quantity::GeneratorCpu,
        }
    }

    /// Its unit in that of the quantity.
    fn unit(self) -> f64 {
        match self {
            Self::P50Us | Self::P99Us | Self::P999Us => 1000.0,
            Self::Rate | Self::ServerCpuUs | Self::GeneratorCpuUs => 1.0,
        }
    }
}
