use std::path::PathBuf;
use std::sync::LazyLock;

use measure::{Idle, Record};

use super::load::{Loaded, Source};
use super::*;

/// Records as if read from files `0.json`, `1.json`...
pub(super) fn loaded(records: Vec<Record>) -> Loaded {
    let source = |(index, record)| Source { path: PathBuf::from(format!("{index}.json")), record };
    Loaded {
        records: records.into_iter().enumerate().map(source).collect(),
        profiles: sample::profiles(),
        unreadable: Vec::new(),
    }
}

/// The sample, which takes a while to make.
pub(super) fn all() -> Vec<Record> {
    static ALL: LazyLock<Vec<Record>> = LazyLock::new(sample::records);
    ALL.clone()
}

/// Some of the sample: four variants, three conditions, all repeats.
pub(super) fn some() -> Vec<Record> {
    let mut records = all();
    records.retain(|Record { point, .. }| {
        let is_open = point.load != measure::Loop::Closed;
        let kept = point.workload == "read" && [64, 256].contains(&point.connections);
        let variant = format!("{}-{}", point.server, point.protocol);
        let variants = ["tokio-msgpack", "threads-pickle", "zeo-msgpack", "async-std-msgpack"];
        let rate = matches!(point.load, measure::Loop::Open { rate, .. } if rate == 5_000.0);
        kept && variants.contains(&&*variant) && (!is_open || rate)
    });
    records
}

/// The searches of the sample for reads: one variant meets the objective at no rate, and one search is invalid.
pub(super) fn searches() -> Vec<Record> {
    let mut records = sample::records();
    records.retain(|Record { point, .. }| {
        point.workload == "read" && matches!(point.load, measure::Loop::Search { .. })
    });
    records
}

fn options() -> Options {
    Options {
        records: vec!["reports/records/a b".into()],
        page: "out".into(),
        title: Some("<i>T</i> --> x".to_owned()),
        baseline: None,
        scenario: None,
    }
}

/// As many as a page with everything needs, where it does not matter which.
fn few() -> Vec<Record> {
    let mut records = some();
    records.truncate(12);
    records
}

/// The page and the summary of records.
fn both(loaded: &Loaded) -> (String, String) {
    both_with(loaded, &[])
}

fn both_with(loaded: &Loaded, figures: &[Figure]) -> (String, String) {
    let groups = Groups::of(loaded);
    let report = Report {
        title: &options().title.unwrap(),
        baseline: groups.baseline(None).unwrap(),
        figures: figures::rows(figures, &groups, "sample"),
        provenance: Provenance::of(&options(), loaded),
        profiles: &loaded.profiles,
        groups: &groups,
    };
    (page::page(&report).unwrap(), markdown::summary(&report))
}

#[test]
fn a_report_says_what_it_is_and_names_what_has_no_result() {
    let (html, markdown) = both(&loaded(some()));
    for text in [&html, &markdown] {
        let head: String = text.lines().take(5).collect();
        assert!(head.contains("@generated"), "{head}");
        assert!(text.contains("zeoxide-loadgen report"), "the command");
        assert!(text.contains("generator CPU 97 % &gt; 70 %") || text.contains("97 % > 70 %"));
        assert!(text.contains("wrong bytes &amp; more"), "the failed one, too");
        assert!(text.contains("0123456789abcdef"), "the commit");
        assert!(text.contains("async-std is discontinued"));
        assert!(!text.contains("NaN") && !text.contains("inf "));
    }
    assert!(html.contains("async-std-msgpack") && html.contains("Some CPU @ 2.50GHz"));
    assert!(
        markdown.contains("| zeo-msgpack | 256 connections, closed loop | 4 of 5 |"),
        "{markdown}"
    );
    assert_eq!((html, markdown), both(&loaded(some())), "the same again");
}

#[test]
fn searches_are_told_by_their_rates() {
    let (html, markdown) = both(&loaded(searches()));
    assert!(html.contains("<h3>Highest rates</h3>") && html.contains(words::SEARCH));
    assert!(html.contains(">none</td>"), "ZEO's rate");
    let condition = "64 connections, highest rate with p99 within 250 µs, Poisson";
    for text in [&html, &markdown] {
        assert!(text.contains(condition));
        assert!(text.contains("a higher rate was limited by the generator: late"));
        assert!(!text.contains("NaN") && !text.contains("inf "));
    }
    assert!(markdown.contains(&format!("| zeo-msgpack | {condition} | 5 of 5 | 0 | – | – |")));
    assert!(markdown.contains(" has the highest median rate: "), "{markdown}");
    let mut records = searches();
    let invalid = |record: &&mut Record| record.outcome.verdict != measure::Verdict::Valid;
    for record in records.iter_mut().filter(invalid) {
        record.outcome.completed = Some(record.outcome.operations * 1000);
    }
    let (_, markdown) = both(&loaded(records));
    assert!(markdown.contains("; but where the load generator was the limit, "), "{markdown}");
    let mut records = searches();
    records.retain(|record| record.outcome.verdict != measure::Verdict::Valid);
    let (html, _) = both(&loaded(records));
    assert!(html.contains("<td>at least 4"), "what was confirmed before the generator ended it");
    let (without, _) = both(&loaded(few()));
    assert!(!without.contains("<h3>Highest rates</h3>"));
}

#[test]
fn what_comes_from_records_is_no_markup() {
    let mut records = few();
    for record in &mut records {
        record.point.scenario = "<script>alert(1)</script>".to_owned();
        record.point.server = format!("\"><b>{}", record.point.server);
        record.host.0.insert("x<y".to_owned(), "</style>".to_owned());
    }
    let (html, markdown) = both(&loaded(records));
    // The command stands in a block of code, where nothing is markup.
    let markdown: String = markdown.lines().filter(|line| !line.starts_with("    ")).collect();
    for text in ["<script>alert", "<b>", "<i>", "x<y", "\"\"><b"] {
        assert!(!html.contains(text), "{text}");
        assert!(!markdown.contains(text), "{text}");
    }
    assert_eq!(html.matches("</style>").count(), 1);
    // The title must not end the comment either.
    assert_eq!(html.matches("-->").count(), 1);
}

#[test]
fn what_a_scenario_wants_to_know_comes_first() {
    let figure = |more: &str| {
        let of = "{ servers = ['tokio:msgpack'], workload = 'read', connections = 256 }";
        toml::from_str(&format!("name = '<u>|'\nquantity = 'rate'\nof = {of}\n{more}")).unwrap()
    };
    let loaded = loaded(some());
    let figures = ["", "at_least = 1e9", "at_least = 1.0", "against.connections = 7\nat_most = 1"];
    let (html, markdown) = both_with(&loaded, &figures.map(figure));
    for text in [&html, &markdown] {
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}"));
        assert!(at("What it must reach") < at("Points compared"));
        assert!(at("Points compared") < at("In words"));
        assert!(text.contains("at least 1,000,000,000") && text.contains("not known"));
        assert!(text.contains("no valid record of tokio-msgpack, read, 7 connections, depth 1"));
        assert!(!text.contains("<u>"));
    }
    assert!(html.contains("<span class=\"bad\">missed</span>"));
    assert!(html.contains("<span class=\"good\">reached</span>"));
    assert!(markdown.contains("| missed | tokio-msgpack, read, 256 connections, depth 1 |"));
    let (html, markdown) = both(&loaded);
    assert!(!html.contains("must reach") && !markdown.contains("Points compared"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let (html, _) = both(&loaded(few()));
    for text in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(text), "{text}");
    }
}

#[test]
fn async_std_is_named_as_discontinued_only_where_it_is_shown() {
    let mut records = some();
    records.retain(|record| record.point.server == "tokio");
    let (html, markdown) = both(&loaded(records));
    assert!(!html.contains("discontinued") && !markdown.contains("discontinued"));
}

#[test]
fn mixed_versions_and_commits_are_said() {
    let mut records = few();
    records[0].host.0.insert("git.commit".to_owned(), "other".to_owned());
    records[1].versions.insert("loadgen".to_owned(), "0.2.0".to_owned());
    records[2].host.0.insert("git.changed_files".to_owned(), "3".to_owned());
    let (html, markdown) = both(&loaded(records));
    for text in [html, markdown] {
        assert!(text.contains("several commits"));
        assert!(text.contains("several versions of loadgen: 0.1.0, 0.2.0"));
        assert!(text.contains("Files were changed since the commit"));
    }
}

#[test]
fn costs_are_shown_where_they_are_known() {
    let columns = ["memory/idle connection", "read from disk/op"];
    let (html, markdown) = both(&loaded(few()));
    for column in columns {
        assert!(!html.contains(column) && !markdown.contains(column), "{column}");
    }
    assert!(html.contains("server&#39;s peak memory"));
    let mut records = few();
    records.iter_mut().for_each(|Record { outcome, .. }| {
        outcome.idle = Some(Idle { connections: 1000, before_bytes: 0, after_bytes: 5_120_000 });
        outcome.server.disk_read_bytes = Some(4096 * outcome.operations);
    });
    let (html, markdown) = both(&loaded(records));
    for text in [&html, &markdown] {
        assert!(columns.iter().all(|column| text.contains(column)));
        assert!(text.contains("5 KiB") && text.contains("4 KiB"), "{markdown}");
        assert!(text.contains("An idle connection costs"));
    }
}

#[test]
fn a_single_record_makes_a_page() {
    let mut records = some();
    records.truncate(1);
    let (html, _) = both(&loaded(records));
    assert!(html.contains("1 of 1"));
}
