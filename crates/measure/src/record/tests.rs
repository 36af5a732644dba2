use std::fs;

use super::*;

fn point() -> Point {
    Point {
        scenario: "quick".to_owned(),
        server: "tokio".to_owned(),
        command: vec!["zeoxide-tokio".to_owned()],
        protocol: "msgpack".to_owned(),
        workload: "read".to_owned(),
        settings: BTreeMap::from([("objects".to_owned(), 10_000.into())]),
        connections: 64,
        depth: 1,
        load: Loop::Open { rate: 1000.5, arrivals: Arrivals::Poisson },
        workers: 1,
        pin: None,
        warmup_seconds: 0.5,
        seconds: 2.0,
        seed: 7,
        repeat: 0,
    }
}

fn record() -> Record {
    let mut response = Histogram::default();
    response.record(1_234_567);
    let outcome = Outcome {
        verdict: Verdict::Invalid("late".to_owned()),
        operations: 100,
        completed: None,
        seconds: 2.0,
        service: response.clone(),
        lag: Histogram::default(),
        response,
        intervals: vec![Interval { at: 1.0, operations: 50, p50_ns: 1, p99_ns: 2, max_ns: 3 }],
        server: Usage { user_seconds: 0.001, system_seconds: 0.002, ..Usage::default() },
        generator: Usage::default(),
        spun_seconds: 0.0,
        bytes: (10, 20),
        trials: Vec::new(),
        steal_seconds: Some(0.5),
        idle: Some(Idle { connections: 10, before_bytes: 1000, after_bytes: 6000 }),
        means_ns: vec![1.5, 2.0],
    };
    let versions = BTreeMap::from([("loadgen".to_owned(), "0.1.0".to_owned())]);
    let host = Host::default();
    Record { schema: SCHEMA, point: point(), began: 1_800_000_000, versions, host, outcome }
}

#[test]
fn a_record_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = record().keep(&folder.path().join("new")).unwrap();
    assert_eq!(path.file_name().unwrap().to_str().unwrap(), point().file_name());
    assert_eq!(Record::read(&path).unwrap(), record());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn the_name_is_that_of_the_settings() {
    assert_eq!(point().file_name(), point().file_name());
    assert!(point().file_name().starts_with("tokio-msgpack-read-c64-r0-"));
    let other = Point { seconds: 2.5, ..point() };
    assert_ne!(other.file_name(), point().file_name());
}

/// What came to records later is absent in older ones, and in the names of points that do not use it.
#[test]
fn older_records_can_be_read() {
    let text = serde_json::to_string(&record()).unwrap();
    let older = text.replace(r#""spun_seconds":0.0,"#, "");
    assert_ne!(older, text);
    for name in ["pin", "completed", "trials"] {
        assert!(!older.contains(name), "{older}");
    }
    assert_eq!(serde_json::from_str::<Record>(&older).unwrap(), record());
}

#[test]
fn what_was_answered_is_the_rate_and_spinning_is_no_cost() {
    let mut outcome = record().outcome;
    outcome.completed = Some(80);
    outcome.generator.user_seconds = 0.01;
    outcome.spun_seconds = 0.006;
    assert_eq!(outcome.rate(), 40.0);
    assert!((outcome.generator_cpu_us() - 50.0).abs() < 1e-9);
}

#[test]
fn other_files_are_refused_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    let error = |text: &str| {
        fs::write(&path, text).unwrap();
        Record::read(&path).unwrap_err().to_string()
    };
    assert!(error("{}").contains("x.json: not a record"));
    assert!(error(r#"{"schema": 9}"#).contains("schema 9"));
    assert!(error(r#"{"schema": 1}"#).contains("not a record"));
    assert!(Record::read(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
}

/// The first records know nothing of what is written down now.
#[test]
fn old_records_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = serde_json::to_value(record()).unwrap();
    let outcome = old["outcome"].as_object_mut().unwrap();
    outcome.remove("steal_seconds");
    outcome.remove("idle");
    let path = folder.path().join("old.json");
    fs::write(&path, old.to_string()).unwrap();
    let expected = record();
    let expected = Record {
        outcome: Outcome { steal_seconds: None, idle: None, ..expected.outcome.clone() },
        ..expected
    };
    assert_eq!(Record::read(&path).unwrap(), expected);
    // What is not known is not written as nothing.
    assert!(!serde_json::to_string(&expected).unwrap().contains("disk_read_bytes"));
}

#[test]
fn costs_are_per_operation() {
    let outcome = record().outcome;
    assert_eq!(outcome.rate(), 50.0);
    assert!((outcome.server_cpu_us() - 30.0).abs() < 1e-9);
    assert_eq!(outcome.generator_cpu_us(), 0.0);
    assert_eq!(outcome.idle.unwrap().bytes_per_connection(), 500.0);
    assert_eq!(outcome.disk_read_per_operation(), None);
}
