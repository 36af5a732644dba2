//! What servers spent their time on, where somebody looked.

use std::collections::BTreeMap;

use measure::Profile;
use measure::profile::{KERNEL, USER};

use super::numbers;

/// How to read the tables.
pub(super) const HOW: &str = "Each server was looked at once under the same load, after all \
                              measurements: a server that is looked at is slower. Time is CPU time \
                              of the server for an operation, by system call; a number with × says how \
                              often that was made for each operation, to about a tenth. (user) is the \
                              server's own code and libraries, (kernel) what the kernel did for it \
                              outside of system calls.";

/// An area with less than this share of every server's time is not shown by itself.
const SHOWN_SHARE: f64 = 0.01;

/// All servers at one point.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: String,
    /// The first is that of the variants' names.
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Row {
    /// As [`super::group::Variant`] is written.
    pub(super) variant: String,
    /// With the numbers by which they are sorted.
    pub(super) cells: Vec<Option<(f64, String)>>,
}

/// A table for each workload and its numbers of connections and depths.
pub(super) fn tables(profiles: &[Profile]) -> Vec<Table> {
    let mut points: BTreeMap<_, Vec<&Profile>> = BTreeMap::new();
    for profile in profiles {
        let point = &profile.point;
        let key = (&point.scenario, &point.workload, point.depth, point.connections);
        points.entry(key).or_default().push(profile);
    }
    let table =
        |((_, workload, depth, connections), of_point): ((_, &String, u32, u32), Vec<_>)| {
            let plural = if connections == 1 { "" } else { "s" };
            let mut title = format!("{workload}, {connections} connection{plural}");
            if depth > 1 {
                title += &format!(", depth {depth}");
            }
            table(title, of_point)
        };
    points.into_iter().map(table).collect()
}

fn table(title: String, mut profiles: Vec<&Profile>) -> Table {
    profiles.sort_by(|a, b| a.server_cpu_us.total_cmp(&b.server_cpu_us));
    let areas = areas(&profiles);
    let mut columns = vec!["variant".to_owned(), "CPU/op".to_owned(), "system calls/op".to_owned()];
    columns.extend(areas.iter().map(|area| (*area).to_owned()));
    let row = |profile: &&Profile| {
        let calls: f64 = profile.system_calls.values().sum();
        let mut cells = vec![
            Some((profile.server_cpu_us, numbers::duration(profile.server_cpu_us * 1000.0))),
            Some((calls, format!("{calls:.2}"))),
        ];
        cells.extend(areas.iter().map(|area| cell(profile, area)));
        let point = &profile.point;
        Row { variant: format!("{}-{}", point.server, point.protocol), cells }
    };
    Table { title, columns, rows: profiles.iter().map(row).collect() }
}

/// What matters to some server, dearest first.
fn areas<'a>(profiles: &[&'a Profile]) -> Vec<&'a str> {
    let mut areas: BTreeMap<&str, f64> = BTreeMap::new();
    for profile in profiles {
        for (area, share) in &profile.cpu {
            let most = areas.entry(area).or_default();
            *most = most.max(*share);
        }
    }
    let mut areas: Vec<_> = areas.into_iter().filter(|(_, share)| *share >= SHOWN_SHARE).collect();
    areas.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    areas.into_iter().map(|(area, _)| area).collect()
}

fn cell(profile: &Profile, area: &str) -> Option<(f64, String)> {
    let us = profile.cpu.get(area)? * profile.server_cpu_us;
    let time = numbers::duration(us * 1000.0);
    let text = match profile.system_calls.get(area) {
        Some(calls) if area != USER && area != KERNEL => format!("{time}, {calls:.2}×"),
        _ => time,
    };
    Some((us, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_cheapest_server_and_the_dearest_area_come_first() {
        let mut profiles = sample::profiles();
        profiles.retain(|profile| profile.point.connections == 64);
        let tables = tables(&profiles);
        let table = &tables[0];
        assert_eq!(table.title, "read, 64 connections");
        assert_eq!(table.columns[..4], ["variant", "CPU/op", "system calls/op", "sendto"]);
        assert!(!table.columns.iter().any(|column| column == "futex"), "nobody cares");
        let costs: Vec<f64> =
            table.rows.iter().map(|row| row.cells[0].as_ref().unwrap().0).collect();
        assert!(costs.is_sorted() && costs.len() == profiles.len(), "{costs:?}");
        let (us, text) = table.rows[0].cells[2].as_ref().unwrap();
        assert!(text.ends_with("µs, 1.00×") && *us > 0.0, "{text}");
    }
}
