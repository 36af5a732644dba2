//! What a driver's records say of its client: whether it or the server is what limits.

use measure::{Effect, Outcome, Record, stats};

use super::cell::Cell;
use super::difference::{Difference, difference};
use super::group::{Condition, Groups, Section, VariantId};
use super::numbers::percent;
use super::quantity::Quantity;
use super::words::Finding;

/// A client that is busy for this share of the time is what limits.
const BUSY: f64 = 0.7;

/// When client and server use this share of a machine, it is what limits.
const FULL: f64 = 0.9;

/// What an operation costs in client and server, and what limits each variant. Nothing for points
/// that our own workers measured: those are invalid where the generator is the limit.
pub(super) fn sentences(
    groups: &Groups<'_>,
    section: &Section<'_>,
    condition: Condition,
) -> Vec<String> {
    if section.driver().is_none() {
        return Vec::new();
    }
    let sentence = |(variant, cell)| costs(&groups.name(variant), cell);
    section.at(condition).filter_map(sentence).collect()
}

fn costs(name: &str, cell: &Cell<'_>) -> Option<String> {
    let said = |quantity: Quantity| cell.median(quantity).map(|value| quantity.format(value));
    let (client, server) = (said(Quantity::GeneratorCpu)?, said(Quantity::ServerCpu)?);
    if cell.median(Quantity::Mean).is_some() {
        return Some(format!(
            "With {name} the whole run, preparation included, costs {client} of CPU in the client and \
             {server} in the server for each counted operation."
        ));
    }
    let limit = match Shares::of(cell)? {
        Shares { client, .. } if client >= BUSY => format!(
            "each client is busy for {} of the time, so it is the client that limits: with a server \
             that takes no time it would do at most {} more",
            percent(client),
            percent(1.0 / client - 1.0)
        ),
        Shares { client, machine: Some(machine) } if machine >= FULL => format!(
            "each client is busy for {} of the time, and all of them and the server use {} of the \
             machine's CPUs, so it is the machine that limits",
            percent(client),
            percent(machine)
        ),
        Shares { client, .. } => format!(
            "each client is busy for {} of the time, and waits for the rest of it",
            percent(client)
        ),
    };
    Some(format!(
        "With {name} an operation costs {client} of CPU in the client and {server} in the server; {limit}."
    ))
}

/// Medians over repeats.
struct Shares {
    /// CPU time of a client, as a share of the counted time.
    client: f64,
    /// CPU time of all clients and the server, as a share of what the machine has, if that is known.
    machine: Option<f64>,
}

impl Shares {
    fn of(cell: &Cell<'_>) -> Option<Self> {
        let median = |share: &dyn Fn(&Record) -> Option<f64>| {
            let valid = cell.valid_records().filter_map(share);
            stats::median(&valid.collect::<Vec<_>>())
        };
        let clients = |Record { point, outcome, .. }: &Record| {
            let clients = f64::from(point.connections.max(1));
            Some(outcome.generator.cpu_seconds() / outcome.seconds / clients)
        };
        let machine = |Record { host, outcome, .. }: &Record| {
            let cpus: f64 = host.0.get("cpu.count")?.parse().ok()?;
            let Outcome { generator, server, seconds, .. } = outcome;
            Some((generator.cpu_seconds() + server.cpu_seconds()) / seconds / cpus)
        };
        Some(Self { client: median(&clients)?, machine: median(&machine) })
    }
}

/// The rates of all points that drivers measured, in a sentence for each variant. `None` without such
/// points.
pub(super) fn overall(groups: &Groups<'_>, baseline: VariantId) -> Option<Finding> {
    let driven = groups.sections.iter().filter(|section| section.driver().is_some());
    let driven: Vec<_> = driven.collect();
    let other = groups.name(baseline);
    let variants = (0..groups.variants.len()).filter(|variant| *variant != baseline);
    let sentence = |variant: VariantId| {
        let points = driven.iter().flat_map(|section| {
            section.conditions().into_iter().filter_map(move |condition| {
                let pair = (variant, baseline);
                let rate = difference(section, condition, Quantity::Rate, pair)?;
                Some((format!("{}, {condition}", section.setup.workload), rate))
            })
        });
        let points: Vec<_> = points.filter(|(_, difference)| difference.is_known()).collect();
        if points.is_empty() {
            return None;
        }
        let count = |effect| points.iter().filter(|(_, d)| d.effect() == effect).count();
        let ratio = |(_, difference): &(String, Difference)| difference.comparison.ratio;
        let by_ratio = |a: &&_, b: &&_| ratio(a).total_cmp(&ratio(b));
        let said = |point: &(String, _)| format!("{:.2} times ({})", ratio(point), point.0);
        Some(format!(
            "{} answers more operations a second than {other} in {} of {} points, fewer in {}, as many \
             within 2 % in {}, and it is not clear in {}; from {} to {}.",
            groups.name(variant),
            count(Effect::Larger),
            points.len(),
            count(Effect::Smaller),
            count(Effect::Same),
            count(Effect::Unsure),
            said(points.iter().min_by(by_ratio)?),
            said(points.iter().max_by(by_ratio)?),
        ))
    };
    let sentences: Vec<_> = variants.filter_map(sentence).collect();
    let place = "With the real Python client, over all points".to_owned();
    (!sentences.is_empty()).then_some(Finding { place, sentences })
}

#[cfg(test)]
mod tests {
    use measure::Record;

    use super::*;
    use crate::report::tests::{loaded, some};
    use crate::report::words;

    /// 64 clients, 5 repeats: tokio and ZEO, as if a driver had measured them.
    fn driven(change: impl Fn(&mut Record)) -> String {
        let mut records = some();
        records.retain(|Record { point, .. }| {
            point.connections == 64
                && point.load == measure::Loop::Closed
                && ["tokio", "zeo"].contains(&&*point.server)
        });
        for record in &mut records {
            record.point.settings.insert("driver".to_owned(), "zodb-client".into());
            let outcome = &mut record.outcome;
            let share = outcome.generator.cpu_seconds() / outcome.seconds / 64.0;
            // Each client uses half of a CPU, and the server its own.
            outcome.generator.user_seconds *= 0.5 / share;
            outcome.generator.system_seconds *= 0.5 / share;
            change(record);
        }
        let loaded = loaded(records);
        let groups = Groups::of(&loaded);
        let findings = words::findings(&groups, groups.baseline(None).unwrap());
        let texts = findings.iter().map(|f| format!("{}:\n{}\n", f.place, f.sentences.join("\n")));
        texts.collect()
    }

    fn scale(record: &mut Record, share: f64) {
        record.outcome.generator.user_seconds *= share;
        record.outcome.generator.system_seconds *= share;
    }

    #[test]
    fn what_limits_is_said() {
        let waits = driven(|record| {
            record.host.0.insert("cpu.count".to_owned(), "100".to_owned());
        });
        assert!(
            waits.contains("With tokio-msgpack an operation costs 352 µs of CPU in the client"),
            "{waits}"
        );
        assert!(waits.contains("busy for 50 % of the time, and waits for the rest"), "{waits}");
        let busy = driven(|record| scale(record, 1.6));
        let limits = "busy for 80 % of the time, so it is the client that limits: with a server that \
                      takes no time it would do at most 25 % more";
        assert!(busy.contains(limits), "{busy}");
        let full = driven(|record| {
            record.host.0.insert("cpu.count".to_owned(), "33".to_owned());
        });
        assert!(full.contains("CPUs, so it is the machine that limits"), "{full}");
    }

    #[test]
    fn all_points_come_together() {
        let text = driven(|_| ());
        let all = "With the real Python client, over all points:\ntokio-msgpack answers more \
                   operations a second than zeo-msgpack in 1 of 1 points, fewer in 0, as many within \
                   2 % in 0, and it is not clear in 0; from 4.";
        assert!(text.starts_with(all), "{text}");
    }

    #[test]
    fn means_are_said_as_what_they_are() {
        let text = driven(|record| {
            record.outcome.means_ns = vec![900.0, 1_100.0];
            record.outcome.response.clear();
        });
        assert!(text.contains("operations/s, a mean time of 1 µs for each."), "{text}");
        assert!(text.contains("the whole run, preparation included, costs"), "{text}");
        assert!(!text.contains("limits"), "{text}");
    }
}
