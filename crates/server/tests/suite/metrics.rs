//! What monitoring reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use protocol::{Oid, Reply, Request, Tid};
use testkit::server::{ServerProcess, read_frame, run};

use super::zeo::{Client, TRANSACTION};
use super::{ANYWHERE, IN_MEMORY, PROGRAM, owned, serve};

/// The last listener's answer: the status line, and the body.
fn get(server: &ServerProcess, path: &str) -> (String, String) {
    let url = server.urls().iter().find(|url| url.starts_with("http:")).unwrap();
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// A page of metrics, checked to be one.
pub(super) struct Metrics {
    kinds: BTreeMap<String, String>,
    /// By name and labels, as written.
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    pub(super) fn told_by(server: &ServerProcess) -> Self {
        let (status, page) = get(server, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        Self::parse(&page)
    }

    /// Panics unless every sample belongs to the family that was told last.
    fn parse(page: &str) -> Self {
        assert!(page.ends_with('\n'));
        let mut metrics = Self { kinds: BTreeMap::new(), samples: BTreeMap::new() };
        let mut family = String::new();
        let mut helped = String::new();
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap();
                assert!(!text.is_empty() && is_name(name), "{line}");
                name.clone_into(&mut helped);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, helped, "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                let old = metrics.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(old, None, "{name} comes twice");
                name.clone_into(&mut family);
            } else {
                metrics.add_sample(line, &family);
            }
        }
        metrics.check_histograms();
        metrics
    }

    fn add_sample(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} in {family}"));
        match self.kinds.get(family).map(String::as_str).unwrap_or_default() {
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
            _ => assert!(suffix.is_empty() && !name.ends_with("_total"), "{line}"),
        }
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let labels = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}')).unwrap();
            for label in labels.split(',') {
                let (label, text) = label.split_once('=').unwrap();
                assert!(is_name(label) && text.starts_with('"') && text.ends_with('"'), "{line}");
            }
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let old = self.samples.insert(series.to_owned(), value);
        assert_eq!(old, None, "{series} comes twice");
    }

    /// Buckets ascend, and the last one has all.
    fn check_histograms(&self) {
        for (name, _) in self.kinds.iter().filter(|(_, kind)| *kind == "histogram") {
            let start = format!("{name}_bucket{{storage=\"1\",le=\"");
            let of_name = self.samples.iter().filter_map(|(series, count)| {
                let bound = series.strip_prefix(&start)?.strip_suffix("\"}")?;
                Some((bound.parse::<f64>().unwrap(), *count))
            });
            let mut buckets: Vec<_> = of_name.collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
            let all = self.samples.get(&format!("{name}_count{{storage=\"1\"}}"));
            let last = all.map(|all| (f64::INFINITY, *all));
            assert_eq!(buckets.last().copied(), last, "{name}");
        }
    }

    /// Of storage 1, or of the server.
    pub(super) fn of(&self, name: &str) -> f64 {
        let of_storage = self.samples.get(&format!("{name}{{storage=\"1\"}}"));
        *of_storage.or_else(|| self.samples.get(name)).unwrap_or_else(|| panic!("no {name}"))
    }

    fn requests(&self, kind: &str) -> f64 {
        self.of(&format!("zeoxide_requests_total{{storage=\"1\",kind=\"{kind}\"}}"))
    }
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !name.is_empty()
}

#[test]
fn what_clients_do_is_counted() {
    let storages = ["--storage=1=file:data", "--storage=2=memory:"];
    let (server, _directory) =
        serve(&[ANYWHERE, storages[0], storages[1], "--metrics=127.0.0.1:0"]);
    let empty = Metrics::told_by(&server);
    for name in ["zeoxide_objects", "zeoxide_commits_total", "zeoxide_last_tid"] {
        assert_eq!(empty.of(name), 0.0, "{name}");
    }
    let mut client = Client::register(server.connect(0), "1");
    let tid = client.commit(1, Tid::ZERO, &[7; 10_000]);
    for _ in 0..4 {
        let load = Request::LoadBefore { oid: Oid(1), before: Tid::MAX };
        assert!(matches!(client.ask(&load), Reply::Loaded(Some(_))));
    }
    assert!(matches!(client.vote(1, Tid::ZERO, b"old"), Reply::Conflicts(_)));
    assert_eq!(client.ask(&Request::Abort { transaction: TRANSACTION }), Reply::Done);
    assert_eq!(client.vote(2, Tid::ZERO, b"held"), Reply::Voted);

    // It is counted just after it is answered.
    let metrics = loop {
        let metrics = Metrics::told_by(&server);
        if metrics.of("zeoxide_finish_seconds_count") > 0.0 {
            break metrics;
        }
    };
    for (kind, count) in [("register", 1.0), ("store", 3.0), ("load_before", 4.0), ("vote", 3.0)] {
        assert_eq!(metrics.requests(kind), count, "{kind}");
    }
    for (name, value) in [
        ("zeoxide_sessions", 1.0),
        ("zeoxide_connections", 1.0),
        ("zeoxide_commits_total", 1.0),
        ("zeoxide_aborts_total", 1.0),
        ("zeoxide_conflicts_total", 1.0),
        ("zeoxide_transactions", 1.0),
        ("zeoxide_votes_waiting", 0.0),
        ("zeoxide_objects", 1.0),
        ("zeoxide_writable", 1.0),
        ("zeoxide_last_tid", tid.0 as f64),
        ("zeoxide_lock_wait_seconds_count", 3.0),
        ("zeoxide_finish_seconds_count", 1.0),
        ("zeoxide_append_seconds_count", 1.0),
        ("zeoxide_sync_seconds_count", 1.0),
        ("zeoxide_batch_transactions_sum", 1.0),
        // The first two reads make room for the others.
        ("zeoxide_cache_hits_total", 2.0),
        ("zeoxide_cache_misses_total", 2.0),
    ] {
        assert_eq!(metrics.of(name), value, "{name}");
    }
    assert!(metrics.of("zeoxide_locks_held_seconds") > 0.0);
    assert!(metrics.of("zeoxide_received_bytes_total") > 10_000.0);
    assert!(metrics.of("zeoxide_sent_bytes_total") > 40_000.0);
    for name in ["zeoxide_log_bytes", "zeoxide_cache_bytes"] {
        assert!((10_000.0..100_000.0).contains(&metrics.of(name)), "{name}");
    }
    assert!(metrics.of("zeoxide_index_bytes") > 24.0);
    let old = metrics.of("zeoxide_last_transaction_time_seconds")
        - metrics.of("process_start_time_seconds");
    assert!((0.0..600.0).contains(&old), "{old}");
    server.stop();
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--metrics=127.0.0.1:0"]);
    let told = Metrics::told_by(&server).kinds;
    let page = include_str!("../../../../docs/metrics.md");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    };
    let documented: BTreeMap<_, _> = page.lines().filter_map(row).collect();
    assert_eq!(documented, told);
    server.stop();
}

#[test]
fn health_is_ok_until_the_server_stops() {
    let (mut server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--metrics=127.0.0.1:0"]);
    assert_eq!(get(&server, "/healthz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    assert_eq!(get(&server, "/").0, "HTTP/1.1 404 Not Found");
    // Somebody who does not take his answer keeps the server for a while.
    let mut silent = Client::register(server.connect(0), "1");
    silent.commit(1, Tid::ZERO, &vec![7; 32 << 20]);
    silent.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    while Metrics::told_by(&server).requests("load_before") < 1.0 {}
    server.signal("TERM");
    server.wait_for_log("stopping");
    let stopping = "the server stops\n".to_owned();
    assert_eq!(get(&server, "/healthz"), ("HTTP/1.1 503 Service Unavailable".to_owned(), stopping));
    server.signal("TERM");
    server.wait();
}

#[test]
fn a_place_that_cannot_be_had_is_one_line() {
    let (server, directory) = serve(&[ANYWHERE, IN_MEMORY, "--metrics=127.0.0.1:0"]);
    let taken = server.urls().last().unwrap().replace("http://", "").replace("/metrics", "");
    for place in [taken.as_str(), "nowhere", "127.0.0.1:99999"] {
        let arguments = [ANYWHERE, "--storage=1=file:data", "--metrics", place];
        let output = run(PROGRAM, &owned(&arguments), directory.path());
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.lines().count() == 1 && line.contains(place), "{line}");
    }
    assert_eq!(super::names(directory.path()), [""; 0]);
    server.stop();
}

#[test]
fn refused_connections_are_counted() {
    let limit = ["--max-connections=1", "--metrics=127.0.0.1:0"];
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, limit[0], limit[1]]);
    let _first = Client::register(server.connect(0), "1");
    assert_eq!(read_frame(&mut *server.connect(0)), None);
    let metrics = Metrics::told_by(&server);
    assert_eq!(metrics.of("zeoxide_connections_refused_total"), 1.0);
    assert_eq!(metrics.of("zeoxide_connections_total"), 1.0);
    server.stop();
}

#[test]
fn the_check_of_pages_finds_what_is_wrong() {
    let family = "# HELP a_total x\n# TYPE a_total counter\n";
    Metrics::parse(&format!("{family}a_total 1\n"));
    let wrong: BTreeSet<_> = [
        "a_total 1\n".to_owned(),
        format!("{family}b_total 1\n"),
        format!("{family}a_total one\n"),
        format!("{family}a_total{{x=1}} 1\n"),
        format!("{family}a_total 1\na_total 2\n"),
        format!("{family}{family}"),
        "# HELP a x\n# TYPE b gauge\n".to_owned(),
    ]
    .into();
    for page in wrong {
        assert!(std::panic::catch_unwind(|| Metrics::parse(&page)).is_err(), "{page}");
    }
}
