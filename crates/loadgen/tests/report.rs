//! The commands `report` and `compare`, as a person types them.

#[path = "../src/report/sample.rs"]
mod sample;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn loadgen(arguments: &[&str], records: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeoxide-loadgen"));
    command.args(arguments).arg(records).output().expect("it runs")
}

fn commits(folder: &Path) {
    for record in sample::records() {
        if record.point.workload == "commit" {
            record.keep(folder).expect("it can be written");
        }
    }
}

#[test]
fn a_report_is_a_page_and_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let (records, page) = (folder.path().join("records"), folder.path().join("pages/x"));
    commits(&records);
    sample::profiles().remove(0).keep(&records).expect("it can be written");
    let page_folder = page.to_str().unwrap();
    let output = loadgen(&["report", "--title", "Commits", "--page", page_folder], &records);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let html = fs::read_to_string(page.join("index.html")).unwrap();
    assert!(html.contains("<h1>Commits</h1>"));
    let summary = fs::read_to_string(page.join("summary.md")).unwrap();
    assert!(summary.contains("| tokio-msgpack | 64 connections, closed loop | 5 of 5 |"));
    for text in [&html, &summary] {
        assert!(text.contains("Where the time goes") && text.contains("µs, 1.00×"));
    }
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("index.html") && printed.contains("summary.md"), "{printed}");
}

#[test]
fn a_scenario_says_what_its_report_is_compared_with_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (records, page) = (folder.path().join("records"), folder.path().join("page"));
    commits(&records);
    let scenario = folder.path().join("sample.toml");
    let text = r#"
        about = "test"
        servers = []
        warmup_seconds = 0.1
        seconds = 1.0
        baseline = "threads-pickle"
        point = []
        [[figure]]
        name = "commits against ZEO's"
        quantity = "rate"
        at_least = 2.0
        of = { servers = ["tokio:msgpack"], workload = "commit", connections = 64 }
        against = { servers = ["zeo:msgpack"] }
    "#;
    fs::write(&scenario, text).unwrap();
    let (page_folder, scenario) = (page.to_str().unwrap(), scenario.to_str().unwrap());
    let arguments = ["report", "--page", page_folder, "--scenario", scenario];
    let output = loadgen(&arguments, &records);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = fs::read_to_string(page.join("summary.md")).unwrap();
    assert!(summary.contains("| at least 2 | reached | tokio-msgpack, commit"), "{summary}");
    assert!(summary.contains("than threads-pickle"), "{summary}");
    let other = loadgen(&[&arguments[..], &["--baseline", "tokio-proto"]].concat(), &records);
    assert!(!other.status.success(), "a baseline that somebody named must be there");
}

#[test]
fn a_comparison_is_printed_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    commits(folder.path());
    let output = loadgen(&["compare", "tokio-msgpack", "threads-msgpack"], folder.path());
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = "less server CPU per operation than threads-msgpack on commit with 64 connections";
    assert!(printed.contains(said), "{printed}");
}

#[test]
fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    commits(folder.path());
    for (arguments, records, named) in [
        (&["compare", "tokyo-msgpack", "zeo-msgpack"], folder.path(), "`tokyo-msgpack`"),
        (&["compare", "zeo-msgpack", "tokio-proto"], folder.path(), "tokio-msgpack, tokio-pickle"),
        (&["report", "--baseline", "nobody"], folder.path(), "`nobody`"),
        (&["report", "--title", "x"], Path::new("no-such-folder"), "no-such-folder"),
    ] {
        let output = loadgen(arguments, records);
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(named) && error.lines().count() == 1, "{error}");
    }
}
