use std::path::Path;

use measure::Record;

use super::*;
use crate::driver::Drivers;
use crate::report::tests::{all, loaded};
use crate::scenario::Scenario;
use crate::servers::Servers;

fn row(figure: &str, records: Vec<Record>) -> Row {
    let figure: Figure = toml::from_str(&format!("name = 'it'\n{figure}")).unwrap();
    let loaded = loaded(records);
    rows(&[figure], &Groups::of(&loaded), "sample").remove(0)
}

const OF_ALL: &str = "{ servers = ['threads:msgpack', 'tokio:msgpack', 'gone:msgpack'], workload = 'read', connections = 64 }";

fn ratio(bound: &str) -> Row {
    let against = "{ servers = ['zeo:msgpack'] }";
    let text = format!("quantity = 'server_cpu_us'\nof = {OF_ALL}\nagainst = {against}\n{bound}");
    row(&text, all())
}

#[test]
fn the_best_is_compared_pair_by_pair() {
    let row = ratio("at_most = 0.333");
    // 11 us against 44, with noise of some percent in either.
    let figure: f64 = row.figure.unwrap().parse().unwrap();
    assert!((0.2..0.3).contains(&figure), "{figure}");
    assert!(row.from.starts_with("tokio-msgpack, read, 64 connections, depth 1: "));
    assert!(row.from.contains("; zeo-msgpack, read, 64 connections, depth 1: "), "{}", row.from);
    assert_eq!(row.bound.as_deref(), Some("at most 0.333"));
    assert_eq!(row.verdict.map(Verdict::word), Some("reached"));
}

#[test]
fn a_bound_is_missed_or_not_sure() {
    let word = |bound: &str| ratio(bound).verdict.map(Verdict::word);
    assert_eq!(word("at_most = 0.1"), Some("missed"));
    assert_eq!(word("at_least = 0.1"), Some("reached"));
    assert_eq!(word("at_least = 0.333"), Some("missed"));
    assert_eq!(word(""), None);
    let row = ratio("");
    let (low, high) = row.interval.split_once("..").unwrap();
    let middle = row.figure.unwrap();
    assert_ne!((low, high), (&*middle, &*middle));
    // A bound between the figure and an end of its interval.
    let figure: f64 = middle.parse().unwrap();
    let between = |end: &str| (figure + end.parse::<f64>().unwrap()) / 2.0;
    let words = [low, high].map(|end| word(&format!("at_most = {}", between(end))));
    assert!(words.iter().any(|word| word.is_some_and(|word| word.ends_with("not surely"))));
}

#[test]
fn without_another_point_it_is_the_quantity_itself() {
    let of = "{ servers = ['tokio:msgpack'], workload = 'read', connections = 64 }";
    let text = format!("quantity = 'generator_cpu_us'\nof = {of}\nat_most = 4.5");
    let row = row(&text, all());
    assert_eq!(row.bound.as_deref(), Some("at most 4.5 µs"));
    assert!(row.figure.unwrap().ends_with(" µs"));
    assert_eq!(row.verdict.map(Verdict::word), Some("missed"));
}

#[test]
fn two_points_of_one_server_are_compared() {
    let of = "{ servers = ['tokio:msgpack'], workload = 'commit', connections = 64 }";
    let text = format!("quantity = 'p99_us'\nof = {of}\nagainst = {{ workload = 'read' }}");
    let row = row(&text, all());
    // Commits of the sample are eight times as slow.
    let figure: f64 = row.figure.unwrap().parse().unwrap();
    assert!((7.0..9.0).contains(&figure), "{figure}");
    assert!(row.from.contains("; tokio-msgpack, read, 64 connections"), "{}", row.from);
}

#[test]
fn what_stands_in_the_way_is_said_of_what_is_missed() {
    let of = "{ servers = ['tokio:msgpack'], workload = 'read', connections = 64 }";
    let text = |bound: &str| format!("quantity = 'rate'\nof = {of}\n{bound}\nwhy = 'It rains.'");
    assert!(row(&text("at_least = 1e12"), all()).from.ends_with(". It rains."));
    assert!(!row(&text("at_least = 1"), all()).from.contains("rains"));
}

#[test]
fn what_is_not_known_is_said() {
    let of = "{ servers = ['tokio:proto'], workload = 'read', connections = 64 }";
    let text = format!("quantity = 'rate'\nof = {of}\nat_least = 1");
    let why = row(&text, all()).figure.unwrap_err();
    assert!(why.contains("no valid record of tokio-proto, read, 64"), "{why}");
    let mut two_machines = all();
    two_machines[0].host.0.insert("cpu.model".to_owned(), "Another".to_owned());
    let first = &two_machines[0].point;
    let (server, connections) = (format!("{}:{}", first.server, first.protocol), first.connections);
    let of =
        format!("{{ servers = ['{server}'], workload = 'read', connections = {connections} }}");
    let text = format!("quantity = 'rate'\nof = {of}");
    let why = row(&text, two_machines).figure.unwrap_err();
    assert!(why.contains("several machines"), "{why}");
    let mut few = all();
    few.retain(|record| record.point.repeat < 2);
    let of = "{ servers = ['tokio:msgpack'], workload = 'read', connections = 64 }";
    let row = row(&format!("quantity = 'rate'\nof = {of}\nat_least = 1"), few);
    assert_eq!(row.interval, "too few repeats");
    assert_eq!(row.verdict.map(Verdict::word), Some("reached, not surely"));
}

#[test]
fn the_scenarios_that_are_here_ask_for_what_they_measure() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benchmarks");
    let servers = Servers::read(&folder.join("servers.toml")).unwrap();
    let drivers = Drivers::read(&folder).unwrap();
    let mut figures = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() || name == "servers.toml" || name == "drivers.toml" {
            continue;
        }
        let scenario = Scenario::read(&path).unwrap();
        let tasks = scenario.tasks("test", &servers, &drivers).unwrap();
        check(&scenario.figure, &tasks).unwrap();
        figures += scenario.figure.len();
        let mut wrong = scenario.figure.clone();
        wrong.truncate(1);
        if let Some(wrong) = wrong.first_mut() {
            wrong.of.connections += 1000;
            let error = check(std::slice::from_ref(wrong), &tasks).unwrap_err().to_string();
            assert!(error.contains("is not measured"), "{error}");
        }
    }
    assert!(figures > 10);
}
