//! Puts records in order: what may be compared comes together.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use measure::{Arrivals, Loop, Pin, Point, Record};

use super::cell::{Cell, WithoutResult};
use super::load::Loaded;
use super::numbers;
use super::quantity::Quantity;

/// A server and how its clients speak.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variant {
    pub(super) server: String,
    pub(super) protocol: String,
}

/// The place of a variant in [`Groups::variants`].
pub(super) type VariantId = usize;

/// How hard a server was driven; all else being equal, this and the variant make a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    pub(super) load: Load,
    pub(super) connections: u32,
    /// Operations a second of an open loop, or the milliseconds of a search's objective, as the bits
    /// of a positive number: these have its order. 0 if closed.
    level_bits: u64,
    workers: u32,
}

/// When operations start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Load {
    Closed,
    Constant,
    Poisson,
    /// The highest rate that meets an objective.
    ConstantSearch,
    PoissonSearch,
}

/// What is equal for all points that may be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Setup {
    pub(super) scenario: String,
    pub(super) workload: String,
    /// All further settings, and the machine, by name.
    pub(super) settings: Vec<(String, String)>,
}

/// All points of one setup.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) setup: Setup,
    pub(super) cells: BTreeMap<(Condition, VariantId), Cell<'a>>,
}

/// All records, in order.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    pub(super) variants: Vec<Variant>,
    pub(super) sections: Vec<Section<'a>>,
    /// Points and files that say nothing of a server, and why.
    pub(super) without_result: Vec<WithoutResult<'a>>,
}

impl<'a> Groups<'a> {
    pub(super) fn of(loaded: &'a Loaded) -> Self {
        let mut variants: Vec<_> =
            loaded.records.iter().map(|source| Variant::of(&source.record.point)).collect();
        variants.sort();
        variants.dedup();
        let mut without_result: Vec<_> =
            loaded.unreadable.iter().map(WithoutResult::unreadable).collect();
        let mut sections: BTreeMap<Setup, Section<'a>> = BTreeMap::new();
        for source in &loaded.records {
            let point = &source.record.point;
            let Ok(variant) = variants.binary_search(&Variant::of(point)) else { continue };
            let setup = Setup::of(&source.record);
            let section = sections
                .entry(setup.clone())
                .or_insert_with(|| Section { setup, cells: BTreeMap::new() });
            let cell = section.cells.entry((Condition::of(point), variant)).or_default();
            without_result.extend(cell.add(source));
        }
        for cell in sections.values().flat_map(|section| section.cells.values()) {
            without_result
                .extend(cell.repeats.iter().filter_map(|source| WithoutResult::of(source)));
        }
        Self { variants, sections: sections.into_values().collect(), without_result }
    }

    pub(super) fn name(&self, variant: VariantId) -> String {
        self.variants.get(variant).map(ToString::to_string).unwrap_or_default()
    }

    /// The variant of a name; if there is none, the error names all.
    pub(super) fn variant(&self, name: &str) -> Result<VariantId> {
        let known = || self.variants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.variants
            .iter()
            .position(|variant| variant.to_string() == name)
            .with_context(|| format!("there is no variant `{name}`; the records have {}", known()))
    }

    /// The named variant; without a name ZEO itself, or else the first.
    pub(super) fn baseline(&self, name: Option<&str>) -> Result<VariantId> {
        let is_zeo =
            |variant: &Variant| variant.server == "zeo" || variant.server.starts_with("zeo-");
        match name {
            Some(name) => self.variant(name),
            None => Ok(self.variants.iter().position(is_zeo).unwrap_or_default()),
        }
    }

    /// Async-std is not maintained any more; whoever shows it says so.
    pub(super) fn has_async_std(&self) -> bool {
        self.variants.iter().any(|variant| variant.server.contains("async-std"))
    }
}

impl Variant {
    fn of(point: &Point) -> Self {
        Self { server: point.server.clone(), protocol: point.protocol.clone() }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.server, self.protocol)
    }
}

impl Condition {
    pub(super) fn of(point: &Point) -> Self {
        let (load, level) = match point.load {
            Loop::Closed => (Load::Closed, 0.0),
            Loop::Open { rate, arrivals: Arrivals::Constant } => (Load::Constant, rate),
            Loop::Open { rate, arrivals: Arrivals::Poisson } => (Load::Poisson, rate),
            Loop::Search { p99_ms, arrivals: Arrivals::Constant } => (Load::ConstantSearch, p99_ms),
            Loop::Search { p99_ms, arrivals: Arrivals::Poisson } => (Load::PoissonSearch, p99_ms),
        };
        Self {
            load,
            connections: point.connections,
            level_bits: level.abs().to_bits(),
            workers: point.workers,
        }
    }

    /// Operations a second that were asked for, or milliseconds within which 99 % of the responses
    /// had to be; 0 in a closed loop.
    pub(super) fn level(self) -> f64 {
        f64::from_bits(self.level_bits)
    }

    pub(super) fn is_search(self) -> bool {
        matches!(self.load, Load::ConstantSearch | Load::PoissonSearch)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.connections == 1 { "" } else { "s" };
        write!(f, "{} connection{plural}, ", self.connections)?;
        match self.load {
            Load::Closed => f.write_str("closed loop"),
            load if self.is_search() => write!(
                f,
                "highest rate with p99 within {}, {}",
                numbers::duration(self.level() * 1e6),
                load.arrivals()
            ),
            load => write!(f, "open loop, {}/s {}", numbers::count(self.level()), load.arrivals()),
        }
    }
}

impl Load {
    pub(super) fn arrivals(self) -> &'static str {
        match self {
            Self::Closed => "each after the answer",
            Self::Constant | Self::ConstantSearch => "at equal distances",
            Self::Poisson | Self::PoissonSearch => "Poisson",
        }
    }
}

impl Setup {
    fn of(record: &Record) -> Self {
        let point = &record.point;
        let mut settings: Vec<_> = point
            .settings
            .iter()
            .map(|(name, value)| match value.as_str() {
                Some(text) => (name.clone(), text.to_owned()),
                None => (name.clone(), value.to_string()),
            })
            .collect();
        settings.push(("depth".to_owned(), point.depth.to_string()));
        settings.push(("warm-up".to_owned(), format!("{} s", point.warmup_seconds)));
        settings.push(("counted".to_owned(), format!("{} s", point.seconds)));
        if let Some(Pin { server, workers }) = &point.pin {
            let cpus = |list: &[u32]| match list {
                [] => "all".to_owned(),
                list => list.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
            };
            let pinned = format!("server on {}, workers on {}", cpus(server), cpus(workers));
            settings.push(("CPUs".to_owned(), pinned));
        }
        // Ratios hold on one machine; another one's points are another section.
        for fact in ["cpu.model", "cpu.count", "kernel.release", "memory.total"] {
            let value = record.host.0.get(fact).cloned();
            settings.extend(value.map(|value| (fact.to_owned(), value)));
        }
        Self { scenario: point.scenario.clone(), workload: point.workload.clone(), settings }
    }
}

impl Section<'_> {
    /// Each condition once, in order.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        let mut conditions: Vec<_> = self.cells.keys().map(|(condition, _)| *condition).collect();
        conditions.dedup();
        conditions
    }

    /// Those that are searches.
    pub(super) fn searches(&self) -> Vec<Condition> {
        self.conditions().into_iter().filter(|condition| condition.is_search()).collect()
    }

    /// The cells of a condition.
    pub(super) fn at(&self, condition: Condition) -> impl Iterator<Item = (VariantId, &Cell<'_>)> {
        let all = (condition, 0)..=(condition, VariantId::MAX);
        self.cells.range(all).map(|((_, variant), cell)| (*variant, cell))
    }

    /// Those quantities of which some repeat, valid or not, tells something.
    pub(super) fn told(&self, quantities: &[Quantity]) -> Vec<Quantity> {
        let outcomes = || self.cells.values().flat_map(Cell::outcomes);
        let is_told = |quantity: &Quantity| outcomes().any(|o| quantity.of(o).is_some());
        quantities.iter().copied().filter(is_told).collect()
    }

    /// The driver that loaded the servers, if it was not our workers.
    pub(super) fn driver(&self) -> Option<&str> {
        let mut settings = self.setup.settings.iter();
        settings.find(|(name, _)| name == "driver").map(|(_, driver)| driver.as_str())
    }

    /// Where a summary looks first: the closed loop with the most connections, or else the fastest
    /// schedule.
    pub(super) fn headline(&self) -> Option<Condition> {
        let conditions = self.conditions();
        let closed = conditions.iter().rfind(|condition| condition.load == Load::Closed);
        closed.or_else(|| conditions.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::tests::{loaded, some};

    fn kinds(groups: &Groups<'_>) -> Vec<&'static str> {
        groups.without_result.iter().map(|without| without.kind).collect()
    }

    #[test]
    fn what_may_be_compared_comes_together() {
        let loaded = loaded(some());
        let groups = Groups::of(&loaded);
        assert_eq!(groups.sections.len(), 1);
        let conditions = groups.sections[0].conditions();
        let names: Vec<_> = conditions.iter().map(ToString::to_string).collect();
        let open = "64 connections, open loop, 5,000/s Poisson";
        assert_eq!(names, ["64 connections, closed loop", "256 connections, closed loop", open]);
        assert_eq!(groups.sections[0].headline(), Some(conditions[1]));
        assert_eq!(groups.name(groups.baseline(None).unwrap()), "zeo-msgpack");
        let (_, cell) = groups.sections[0].at(conditions[1]).next().unwrap();
        assert_eq!(cell.valid().map(|(repeat, _)| repeat).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn other_settings_and_other_machines_are_other_sections() {
        let mut records = some();
        records[0].point.settings.insert("object_bytes".to_owned(), 4096.into());
        records[1].host.0.insert("cpu.model".to_owned(), "Another".to_owned());
        records[2].point.pin = Some(Pin { server: vec![0, 1], workers: vec![] });
        let loaded = loaded(records);
        let groups = Groups::of(&loaded);
        assert_eq!(groups.sections.len(), 4);
        let pinned = ("CPUs".to_owned(), "server on 0 1, workers on all".to_owned());
        assert!(groups.sections.iter().any(|section| section.setup.settings.contains(&pinned)));
    }

    #[test]
    fn failed_and_invalid_repeats_have_no_part_and_are_named() {
        let loaded = loaded(some());
        let groups = Groups::of(&loaded);
        assert_eq!(kinds(&groups), ["invalid", "failed"]);
        assert!(groups.without_result.iter().all(|without| !without.reason.is_empty()));
        let valid: usize = groups.sections[0].cells.values().map(|cell| cell.valid().count()).sum();
        assert_eq!(valid + 2, loaded.records.len());
    }

    #[test]
    fn of_two_measurements_of_a_point_the_later_counts_and_the_other_is_named() {
        let mut records = some();
        records.truncate(1);
        let mut again = records[0].clone();
        again.point.seed += 1;
        again.began += 1;
        again.outcome.operations = 1;
        records.insert(0, again);
        let loaded = loaded(records);
        let groups = Groups::of(&loaded);
        assert_eq!(kinds(&groups), ["measured again"]);
        assert_eq!(groups.without_result[0].path, Path::new("1.json"));
        let cell = groups.sections[0].cells.values().next().unwrap();
        assert_eq!(cell.valid().next().unwrap().1.operations, 1);
    }

    #[test]
    fn a_variant_that_is_not_there_is_told_from_those_that_are() {
        let loaded = loaded(some());
        let error = Groups::of(&loaded).variant("tokyo-msgpack").unwrap_err().to_string();
        assert!(
            error.contains("`tokyo-msgpack`") && error.contains("tokio-msgpack, zeo"),
            "{error}"
        );
    }

    #[test]
    fn intervals_hold_the_median() {
        let loaded = loaded(some());
        let groups = Groups::of(&loaded);
        for cell in groups.sections[0].cells.values() {
            let median = cell.median(Quantity::Rate).unwrap();
            let (low, high) = cell.interval(Quantity::Rate).unwrap();
            assert!(low <= median && median <= high);
        }
    }
}
