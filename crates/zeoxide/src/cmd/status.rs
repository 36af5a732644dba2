//! `zeoxide status`: the counters of a server's storages.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Result;
use codecs::Endpoint;
use protocol::Tid;
use serde_json::Value;

use crate::End;
use crate::pack_status::PackStatus;
use crate::server::Connect;
use crate::text::{parse_tid, time};

/// Print what a server counts, for each of its storages
///
/// Asks as monitoring does (`ruok`), which needs no client and no storage's name. ZEO itself
/// answers, too.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A listener, as the server prints it: zeo://HOST:PORT, proto://HOST:PORT, zeo+unix:///PATH
    url: Endpoint,
    /// Print the server's own JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let status = options.connect.ask_status(&options.url)?;
    let mut out = io::stdout().lock();
    if options.json {
        out.write_all(&status.text)?;
        writeln!(out)?;
    } else {
        out.write_all(table(&status.storages).as_bytes())?;
    }
    Ok(End::Good)
}

/// A column for each storage; what a server does not tell has no line.
fn table(storages: &BTreeMap<String, BTreeMap<String, Value>>) -> String {
    let mut rows = vec![("storage", storages.keys().cloned().collect::<Vec<_>>())];
    for (key, label) in COUNTERS {
        let cells: Vec<_> = storages
            .values()
            .map(|status| status.get(*key).map(|value| cell(key, value)))
            .collect();
        if cells.iter().any(Option::is_some) {
            let missing = || "-".to_owned();
            rows.push((
                label,
                cells.into_iter().map(|cell| cell.unwrap_or_else(missing)).collect(),
            ));
        }
    }
    let length = |text: &str| text.chars().count();
    let label_width = rows.iter().map(|(label, _)| length(label)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..storages.len())
        .map(|column| {
            rows.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| length(cell)).max()
        })
        .map(|width| width.unwrap_or(0))
        .collect();
    let mut table = String::new();
    for (label, cells) in rows {
        table += &format!("{label:label_width$}");
        for (cell, width) in cells.iter().zip(&widths) {
            table += &format!("  {cell:>width$}");
        }
        table.push('\n');
    }
    table
}

fn cell(key: &str, value: &Value) -> String {
    match (key, value) {
        ("last-transaction", Value::String(tid)) => match parse_tid(tid) {
            Ok(Tid::ZERO) => "none".to_owned(),
            Ok(at) => format!("{tid} ({})", time(at)),
            Err(_) => tid.clone(),
        },
        ("timeout-thread-is-alive", Value::String(_)) => "none".to_owned(),
        ("timeout-thread-is-alive", Value::Bool(true)) => "kept".to_owned(),
        ("timeout-thread-is-alive", Value::Bool(false)) => "NOT KEPT".to_owned(),
        ("lock_time", Value::Number(seconds)) => {
            seconds.as_f64().map_or_else(|| seconds.to_string(), since)
        }
        ("lock_time", Value::Null) => "nobody".to_owned(),
        ("pack", pack) => {
            PackStatus::parse(pack).map_or_else(|| pack.to_string(), |status| status.to_string())
        }
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}

/// Servers give the lock's time as seconds since 1970.
fn since(seconds: f64) -> String {
    let since_epoch = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    format!("since {}", time(Tid::from_unix(since_epoch)))
}

/// ZEO's names, and what people call them.
const COUNTERS: &[(&str, &str)] = &[
    ("start", "started"),
    ("last-transaction", "last transaction"),
    ("connections", "connections"),
    ("loads", "loads"),
    ("stores", "stores"),
    ("commits", "commits"),
    ("aborts", "aborts"),
    ("conflicts", "conflicts"),
    ("conflicts_resolved", "conflicts resolved here"),
    ("active_txns", "transactions under way"),
    ("waiting", "votes that wait"),
    ("lock_time", "locks held"),
    ("timeout-thread-is-alive", "transaction timeout"),
    // Of ours only, once there was a pack.
    ("pack", "pack"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storages_stand_side_by_side() {
        let json = r#"{
            "1": {"loads": 5, "lock_time": null, "timeout-thread-is-alive": "stub",
                  "last-transaction": "040cb6c104444444", "new": 1},
            "main": {"loads": 123456, "lock_time": 1795426215.5, "last-transaction": "0000000000000000",
                     "pack": {"running": true, "parts_done": 1, "parts": 3, "bytes_freed": 2048}}
        }"#;
        let wanted = "\
storage                                                         1                               main
last transaction     040cb6c104444444 (2026-11-01T00:01:01.000000Z)                               none
loads                                                           5                             123456
locks held                                                 nobody  since 2026-11-23T09:30:15.500000Z
transaction timeout                                          none                                  -
pack                                                           -         1 of 3 parts, 2.0 KiB freed
";
        let squeeze = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().collect())
                .collect::<Vec<Vec<_>>>()
                .iter()
                .map(|words: &Vec<&str>| words.join(" "))
                .collect::<Vec<_>>()
        };
        let table = table(&serde_json::from_str(json).unwrap());
        assert_eq!(squeeze(&table), squeeze(wanted));
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
}
