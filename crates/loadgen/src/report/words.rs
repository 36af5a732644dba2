//! What was found, as sentences.

use std::collections::BTreeMap;

use measure::{Effect, Outcome, Record, stats};

use super::cell::Cell;
use super::client;
use super::costs;
use super::difference::{Difference, difference};
use super::group::{Condition, Groups, Load, Section, VariantId};
use super::numbers::{self, count, percent, percent_digits};
use super::quantity::Quantity;

/// Said wherever async-std is shown.
pub(super) const ASYNC_STD: &str = "async-std is discontinued (RUSTSEC-2025-0052), and its authors \
                                    point to smol. It is measured for comparison only.";

/// How to read all comparisons.
pub(super) const METHOD: &str = "Ratios are of medians. Intervals are 95 % confidence intervals by \
                                 bootstrap over repeats that took turns, each for one comparison by \
                                 itself. Differences within 2 % count as none.";

/// How to read all plots.
pub(super) const MARKS: &str = "Large marks are medians of repeats, small dots the repeats, bands 95 % \
                                confidence intervals of the median, crosses invalid repeats (the \
                                generator was the bottleneck). Over time, each repeat is a line.";

/// How to read searches.
pub(super) const SEARCH: &str = "Each repeat is a search: a closed loop shows about where the server \
                                 ends, open loops bracket and halve the rates to within 5 % (one that is \
                                 missed twice is given up), and a run three times as long confirms the \
                                 highest one. A run passes if 99 % of its responses, counted from when \
                                 they were due, are within the objective, the server answers at least \
                                 98 % as fast as it is asked, and nothing fails. None: no rate passed.";

/// The difference between A and B as a sentence; `workload` is on what.
pub(super) fn sentence(difference: &Difference, a: &str, b: &str, workload: &str) -> String {
    format!("{} on {workload} with {}.", claim(difference, a, b), difference.condition)
}

/// The same, without where and when.
fn claim(difference: &Difference, a: &str, b: &str) -> String {
    let comparison = &difference.comparison;
    let Phrase { by_share, by_factor, what, more, less } = phrase(difference.quantity);
    let (low, high) = comparison.interval;
    match comparison.effect {
        Effect::Larger if comparison.ratio >= 2.0 => {
            let (ratio, low, high) = (count(comparison.ratio), count(low), count(high));
            format!("{a} {by_factor} {ratio} times (95 %: {low}..{high}) the {what} of {b}")
        }
        Effect::Larger => {
            let range = range(comparison.ratio - 1.0, low - 1.0, high - 1.0);
            format!("{a} {by_share} {range} {more} {what} than {b}")
        }
        Effect::Smaller => {
            let range = range(1.0 - comparison.ratio, 1.0 - high, 1.0 - low);
            format!("{a} {by_share} {range} {less} {what} than {b}")
        }
        Effect::Same => format!("{a} has the same {what} as {b} (within 2 %)"),
        Effect::Unsure => {
            let why = if difference.is_known() {
                range(comparison.ratio - 1.0, low - 1.0, high - 1.0)
            } else {
                "too few repeats".to_owned()
            };
            format!("{a} does not clearly differ from {b} in {what}: {why}")
        }
    }
}

/// `12 % (95 %: 8..15 %)`.
fn range(share: f64, low: f64, high: f64) -> String {
    format!("{} (95 %: {}..{})", percent(share), percent_digits(low), percent(high))
}

/// `A {by_share} 5 % {more} {what} than B`, `A {by_factor} 3 times the {what} of B`.
struct Phrase {
    by_share: &'static str,
    by_factor: &'static str,
    what: &'static str,
    more: &'static str,
    less: &'static str,
}

fn phrase(quantity: Quantity) -> Phrase {
    let latency =
        |what| Phrase { by_share: "has a", by_factor: "has", what, more: "higher", less: "lower" };
    let need =
        |what| Phrase { by_share: "needs", by_factor: "needs", what, more: "more", less: "less" };
    match quantity {
        Quantity::Rate => Phrase {
            by_share: "answers",
            by_factor: "answers",
            what: "operations a second",
            more: "more",
            less: "fewer",
        },
        Quantity::P50 => latency("median latency (p50)"),
        Quantity::P99 => latency("p99 latency"),
        Quantity::P999 => latency("p99.9 latency"),
        Quantity::Mean => latency("mean time of an operation"),
        Quantity::ServerCpu => need("server CPU per operation"),
        Quantity::GeneratorCpu => need("client CPU per operation"),
        Quantity::Bytes => need("traffic per operation"),
    }
}

/// What was found in a section where a summary looks first.
pub(super) struct Finding {
    /// The workload and the condition.
    pub(super) place: String,
    /// The fastest, then each variant against the baseline.
    pub(super) sentences: Vec<String>,
}

/// What was found in each section, and by each of its searches.
pub(super) fn findings(groups: &Groups<'_>, baseline: VariantId) -> Vec<Finding> {
    let finding = |(section, condition)| {
        let sentences = [idle(groups, section, condition), fastest(groups, section, condition)];
        let mut sentences: Vec<_> = sentences.into_iter().flatten().collect();
        let mut unknown = Vec::new();
        let other = groups.name(baseline);
        for variant in (0..groups.variants.len()).filter(|variant| *variant != baseline) {
            let differences = [Quantity::Rate, Quantity::ServerCpu]
                .map(|quantity| difference(section, condition, quantity, (variant, baseline)));
            let name = groups.name(variant);
            match differences {
                [Some(rate), Some(cpu)] if rate.is_known() => sentences.push(format!(
                    "{}; {}{}.",
                    claim(&rate, &name, &other),
                    claim(&cpu, "it", &other),
                    elsewhere(section, &rate, (variant, baseline), &other)
                )),
                _ => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            sentences.push(format!(
                "Nothing can be said of {other} and {}: there are fewer than {} repeats that are valid in both.",
                unknown.join(", "),
                stats::FEWEST_PAIRS
            ));
        }
        sentences.extend(client::sentences(groups, section, condition));
        let place = format!("{}, {condition}", heading(groups, section));
        Finding { place, sentences }
    };
    // Where a driver's client becomes the limit, is seen over all conditions.
    let places = groups.sections.iter().flat_map(|section| {
        let (all, headline) = (section.driver().is_some(), section.headline());
        let conditions = section.conditions().into_iter();
        let chosen = conditions.filter(move |c| all || headline == Some(*c) || c.is_search());
        chosen.map(move |condition| (section, condition))
    });
    client::overall(groups, baseline).into_iter().chain(places.map(finding)).collect()
}

/// Where the rates of closed loops say something else than `rate`.
fn elsewhere(
    section: &Section<'_>,
    rate: &Difference,
    variants: (VariantId, VariantId),
    other: &str,
) -> String {
    let closed = section.conditions().into_iter().filter(|at| at.load == Load::Closed);
    let rates = closed.filter_map(|at| difference(section, at, Quantity::Rate, variants));
    let unlike = rates.filter(|one| one.is_known() && one.effect() != rate.effect());
    let clauses =
        unlike.map(|one| format!("; but with {}, {}", one.condition, claim(&one, "it", other)));
    clauses.collect()
}

/// `An idle connection costs tokio-msgpack 5 KiB and zeo-msgpack 12.3 KiB of heap and stacks.`
fn idle(groups: &Groups<'_>, section: &Section<'_>, condition: Condition) -> Option<String> {
    let each: Vec<_> = section
        .at(condition)
        .filter_map(|(variant, cell)| Some((costs::IDLE_CONNECTION.median(cell)?, variant)))
        .map(|(bytes, variant)| format!("{} {}", groups.name(variant), numbers::bytes(bytes)))
        .collect();
    let (last, others) = each.split_last()?;
    let all =
        if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
    Some(format!("An idle connection costs {all} of heap and stacks."))
}

fn fastest(groups: &Groups<'_>, section: &Section<'_>, condition: Condition) -> Option<String> {
    let rate = |cell: &Cell<'_>| cell.median(Quantity::Rate);
    let cells =
        section.at(condition).filter_map(|(variant, cell)| Some((variant, cell, rate(cell)?)));
    let (variant, cell, rate) = cells.max_by(|(.., a), (.., b)| a.total_cmp(b))?;
    if rate == 0.0 {
        return Some("No variant meets the objective at any rate.".to_owned());
    }
    let said = |quantity: Quantity| cell.median(quantity).map(|value| quantity.format(value));
    let latency = match (said(Quantity::P99), said(Quantity::Mean)) {
        (Some(p99), _) => format!(", with a p99 latency of {p99}"),
        (None, Some(mean)) => format!(", a mean time of {mean} for each"),
        (None, None) => String::new(),
    };
    let name = groups.name(variant);
    let but = unknown_above(groups, section, condition, rate);
    let rate = count(rate);
    Some(format!("{name} has the highest median rate: {rate} operations/s{latency}{but}."))
}

/// Who may do more than `rate`, if a search for it ended where the load generator did.
fn unknown_above(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
    rate: f64,
) -> String {
    if !condition.is_search() {
        return String::new();
    }
    let most = |cell: &Cell<'_>| cell.invalid().map(Outcome::rate).reduce(f64::max);
    let unknown: Vec<_> = section
        .at(condition)
        .filter_map(|(variant, cell)| Some((variant, most(cell).filter(|most| *most > rate)?)))
        .map(|(variant, most)| format!("{} at least {}", groups.name(variant), count(most)))
        .collect();
    if unknown.is_empty() {
        return String::new();
    }
    format!("; but where the load generator was the limit, {}", unknown.join(", "))
}

/// A section's name: the workload, and what tells it from others of that workload.
pub(super) fn heading(groups: &Groups<'_>, section: &Section<'_>) -> String {
    let setup = &section.setup;
    let others: Vec<_> = groups
        .sections
        .iter()
        .map(|other| &other.setup)
        .filter(|other| *other != setup && other.workload == setup.workload)
        .collect();
    let mut marks = Vec::new();
    if others.iter().any(|other| other.scenario != setup.scenario) {
        marks.push(setup.scenario.clone());
    }
    if others.iter().any(|other| other.scenario == setup.scenario) {
        let own = setup
            .settings
            .iter()
            .filter(|setting| others.iter().any(|other| !other.settings.contains(setting)));
        marks.extend(own.map(|(name, value)| format!("{name}: {value}")));
    }
    match &marks[..] {
        [] => setup.workload.clone(),
        marks => format!("{} ({})", setup.workload, marks.join(", ")),
    }
}

/// All that defines a section, in a line.
pub(super) fn settings(section: &Section<'_>) -> String {
    let mut line = format!("scenario: {}", section.setup.scenario);
    for (name, value) in &section.setup.settings {
        line += &format!(" · {name}: {value}");
    }
    line
}

/// A point's name in a list of those without a result.
pub(super) fn point(record: Option<&Record>) -> String {
    let Some(Record { point, .. }) = record else { return "?".to_owned() };
    format!(
        "{}-{}, {} of {}, {}, repeat {}",
        point.server,
        point.protocol,
        point.workload,
        point.scenario,
        Condition::of(point),
        point.repeat
    )
}

/// `3 points have no result (1 failed, 2 invalid); they are named below.`
pub(super) fn without_result(groups: &Groups<'_>) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    groups.without_result.iter().for_each(|without| *kinds.entry(without.kind).or_default() += 1);
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let count = groups.without_result.len();
    let subject =
        if count == 1 { "1 record has".to_owned() } else { format!("{count} records have") };
    format!("{subject} no part in the numbers ({}); each is named below.", kinds.join(", "))
}

pub(super) fn ratio(ratio: f64) -> String {
    format!("{ratio:.3}")
}

/// `0.85..0.92`.
pub(super) fn interval(difference: &Difference) -> String {
    if !difference.is_known() {
        return "too few repeats".to_owned();
    }
    let (low, high) = difference.comparison.interval;
    format!("{}..{}", ratio(low), ratio(high))
}

/// `Of 12 comparisons 3 differ, 8 are the same within 2 %, and 1 is not clear.`
pub(super) fn tally(differences: &[Difference]) -> String {
    let count =
        |effects: &[Effect]| differences.iter().filter(|d| effects.contains(&d.effect())).count();
    format!(
        "Of {} comparisons {} differ, {} are the same within 2 %, and {} are not clear.",
        differences.len(),
        count(&[Effect::Larger, Effect::Smaller]),
        count(&[Effect::Same]),
        count(&[Effect::Unsure])
    )
}

#[cfg(test)]
mod tests {
    use measure::Comparison;

    use super::*;
    use crate::report::tests::{loaded, some};

    fn said(quantity: Quantity, ratio: f64, interval: (f64, f64), effect: Effect) -> String {
        let loaded = loaded(some());
        let groups = Groups::of(&loaded);
        let condition = groups.sections[0].conditions()[0];
        let comparison = Comparison { ratio, interval, effect };
        let difference =
            Difference { condition, quantity, medians: (1.0, 1.0), comparison, pairs: 5 };
        let sentence = sentence(&difference, "tokio", "threads", "read");
        sentence.strip_suffix(" on read with 64 connections, closed loop.").unwrap().to_owned()
    }

    #[test]
    fn differences_are_said_from_the_side_of_a() {
        assert_eq!(
            said(Quantity::ServerCpu, 0.88, (0.85, 0.92), Effect::Smaller),
            "tokio needs 12 % (95 %: 8..15 %) less server CPU per operation than threads"
        );
        assert_eq!(
            said(Quantity::Rate, 1.5, (1.4, 1.6), Effect::Larger),
            "tokio answers 50 % (95 %: 40..60 %) more operations a second than threads"
        );
        assert_eq!(
            said(Quantity::P99, 2.5, (2.25, 3.0), Effect::Larger),
            "tokio has 2.5 times (95 %: 2.25..3) the p99 latency of threads"
        );
        assert_eq!(
            said(Quantity::P50, 0.951, (0.93, 0.97), Effect::Smaller),
            "tokio has a 4.9 % (95 %: 3..7 %) lower median latency (p50) than threads"
        );
    }

    #[test]
    fn what_is_not_known_is_not_claimed() {
        assert_eq!(
            said(Quantity::Rate, 1.01, (0.99, 1.015), Effect::Same),
            "tokio has the same operations a second as threads (within 2 %)"
        );
        assert_eq!(
            said(Quantity::P50, 1.03, (0.96, 1.09), Effect::Unsure),
            "tokio does not clearly differ from threads in median latency (p50): 3 % (95 %: -4..9 %)"
        );
    }

    #[test]
    fn a_finding_says_where_it_does_not_hold() {
        let mut records = some();
        for record in &mut records {
            if record.point.server == "tokio" && record.point.connections == 64 {
                record.outcome.operations /= 9;
                record.outcome.completed = Some(record.outcome.operations);
            }
        }
        let loaded = loaded(records);
        let groups = Groups::of(&loaded);
        let zeo = groups.variant("zeo-msgpack").unwrap();
        let [finding] = &findings(&groups, zeo)[..] else { panic!("one section") };
        let of = |name: &str| finding.sentences.iter().find(|one| one.starts_with(name)).unwrap();
        let tokio = of("tokio-msgpack answers");
        let but = "; but with 64 connections, closed loop, it answers 5";
        assert!(tokio.contains(but) && tokio.contains("fewer operations a second"), "{tokio}");
        assert!(!of("threads-pickle answers").contains("but with"));
    }

    #[test]
    fn sections_of_one_workload_are_told_apart_by_what_differs() {
        let mut records = some();
        records[0].point.settings.insert("object_bytes".to_owned(), 4096.into());
        let loaded = loaded(records);
        let groups = Groups::of(&loaded);
        let headings: Vec<_> =
            groups.sections.iter().map(|section| heading(&groups, section)).collect();
        assert_eq!(headings, ["read (object_bytes: 1024)", "read (object_bytes: 4096)"]);
    }
}
