//! Every workload against a real server, whose program `ZEOXIDE_TEST_SERVER` names; without that
//! variable there is nothing to test.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::{Command, Output};

use measure::{Loop, Outcome, Record, Verdict};
use testkit::server::ServerProcess;
use testkit::tls::Certificates;

const SCENARIO: &str = r#"
about = "every workload"
servers = ["server:msgpack"]
repeats = 1
workers = 2
warmup_seconds = 0.1
seconds = 0.3

[[point]]
name = "read"
workload = { kind = "read", objects = 300, record_bytes = 200 }
connections = [1, 5]
depth = [1, 4]
servers = ["server:msgpack", "server:pickle", "server:proto", "server-tls:msgpack"]
[[point]]
name = "read-other-length"
workload = { kind = "read", objects = 200, record_bytes = 300 }
connections = [4]
[[point]]
name = "read-zipf"
workload = { kind = "read", objects = 300, record_bytes = 200, choice = { zipf = 0.99 } }
connections = [4]
rates = [400.0]
[[point]]
name = "commit-own"
workload = { kind = "commit", objects = 3, record_bytes = 200 }
connections = [1, 5]
servers = ["server:msgpack", "server:pickle", "server:proto", "server-tls:msgpack"]
[[point]]
name = "commit-own-open"
workload = { kind = "commit", objects = 1, record_bytes = 200 }
connections = [4]
rates = [200.0]
[[point]]
name = "commit-hot"
workload = { kind = "commit", objects = 2, record_bytes = 200, hot = true }
connections = [4]
servers = ["server:msgpack", "server:pickle", "server:proto"]
[[point]]
name = "read-prod1"
workload = { kind = "read", objects = 300, record_bytes = "prod1" }
connections = [4]
servers = ["server:msgpack", "server:pickle", "server:proto"]
[[point]]
name = "commit-prod1"
workload = { kind = "commit", objects = 4, new_objects = 3, record_bytes = "prod1" }
connections = [4]
[[point]]
name = "commit-plone-edit"
workload = { kind = "commit", objects = 50, new_objects = 10, record_bytes = "plone-edit" }
connections = [2]
servers = ["server:msgpack", "server:pickle", "server:proto"]
[[point]]
name = "commit-hot-bucket"
workload = { kind = "commit", objects = 1, record_bytes = "hot-bucket", hot = true }
connections = [3]
[[point]]
name = "mixed"
workload = { kind = "mixed", objects = 300, record_bytes = 200, committers = 2 }
connections = [4]
[[point]]
name = "mixed-pausing"
workload = { kind = "mixed", objects = 300, record_bytes = 200, committers = 2, think_ms = 5 }
connections = [4]
[[point]]
name = "mixed-open"
workload = { kind = "mixed", objects = 300, record_bytes = 200, committers = 2 }
connections = [4]
rates = [400.0]
[[point]]
name = "stalled-voter"
workload = { kind = "stalled-voter", record_bytes = 200 }
connections = [2]
[[point]]
name = "stalled-voter-open"
workload = { kind = "stalled-voter", record_bytes = 200 }
connections = [2]
rates = [200.0]
[[point]]
name = "invalidations"
workload = { kind = "invalidations", record_bytes = 200 }
connections = [2, 4]
servers = ["server:msgpack", "server:pickle", "server:proto", "server-tls:msgpack"]
[[point]]
name = "invalidations-open"
workload = { kind = "invalidations", record_bytes = 200 }
connections = [4]
rates = [100.0]
arrivals = "constant"
[[point]]
name = "mixed-packs"
workload = { kind = "mixed", objects = 300, record_bytes = 200, committers = 2, packs = true }
connections = [5]
servers = ["server:msgpack", "server:pickle", "server:proto", "server-tls:msgpack"]
[[point]]
name = "commit-packs"
workload = { kind = "commit", objects = 3, record_bytes = 200, packs = true }
connections = [3]
[[point]]
name = "blobs-upload"
workload = { kind = "blobs", direction = "upload", blob_bytes = 200_000 }
connections = [1, 3]
servers = ["server:msgpack", "server:pickle", "server:proto", "server-tls:msgpack"]
[[point]]
name = "blobs-upload-empty"
workload = { kind = "blobs", direction = "upload", blob_bytes = 0 }
connections = [1]
servers = ["server:msgpack", "server:pickle", "server:proto"]
[[point]]
name = "blobs-download"
workload = { kind = "blobs", direction = "download", blob_bytes = 200_000 }
connections = [1, 3]
servers = ["server:msgpack", "server:pickle", "server:proto", "server-tls:msgpack"]
[[point]]
name = "read-cold"
workload = { kind = "read", objects = 20_000, record_bytes = 1000, page_cache = "dropped" }
connections = [4]
rates = [500.0]
servers = ["server-without-cache:msgpack"]
[[point]]
name = "idle"
workload = { kind = "idle", objects = 100, record_bytes = 200 }
connections = [50]
servers = ["server:msgpack", "server:pickle", "server:proto"]
[[point]]
name = "connect"
workload = { kind = "connect" }
connections = [1, 4]
servers = ["server:msgpack", "server:pickle", "server:proto", "server-tls:msgpack"]
[[point]]
name = "connect-open"
workload = { kind = "connect" }
connections = [4]
rates = [100.0]
"#;

/// Runs the scenario; `None` if there is no server. What is said, and all outcomes by workload.
fn shootout(scenario: &str) -> Option<(Output, Outcomes)> {
    let Ok(server) = env::var("ZEOXIDE_TEST_SERVER") else {
        println!("skipped: ZEOXIDE_TEST_SERVER names no server");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!(
        r#"
        [server.server]
        about = "the one under test"
        command = ["{server}", "--listen={{scheme}}://127.0.0.1:0", "--storage=1=file:{{dir}}/data?blobs={{dir}}/blobs", "--log=warn"]
        protocols = ["msgpack", "pickle", "proto"]
        [server.server-tls]
        about = "the same, with TLS"
        command = ["{server}", "--listen={{scheme}}://127.0.0.1:0", "--storage=1=file:{{dir}}/data?blobs={{dir}}/blobs", "--log=warn", "--tls-cert={{dir}}/tls.pem"]
        protocols = ["msgpack"]
        tls = true
        [server.server-without-cache]
        about = "the same, which keeps nothing itself"
        command = ["{server}", "--listen={{scheme}}://127.0.0.1:0", "--storage=1=file:{{dir}}/data", "--log=warn", "--cache=0"]
        protocols = ["msgpack"]
        "#
    );
    fs::write(folder.path().join("servers.toml"), servers).expect("a file");
    fs::write(folder.path().join("all.toml"), scenario).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_zeoxide-loadgen"))
        .args(["shootout", "all"])
        .arg("--benchmarks")
        .arg(folder.path())
        .arg("--reports")
        .arg(folder.path())
        // The system's own folder may be in memory, where nothing is ever read from a disk.
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("it runs");
    let mut outcomes = Outcomes::new();
    for entry in fs::read_dir(folder.path().join("records/all")).expect("records") {
        let path = entry.expect("a file").path();
        let Record { point, outcome, .. } = Record::read(&path).expect("a whole record");
        outcomes.entry(point.workload).or_default().push((point.load, outcome));
    }
    Some((output, outcomes))
}

type Outcomes = BTreeMap<String, Vec<(Loop, Outcome)>>;

/// The server keeps so little data itself.
#[test]
fn reads_from_memory_are_not_taken_for_reads_from_the_disk() {
    let scenario = r#"
        about = "as if larger than memory"
        servers = ["server:msgpack"]
        repeats = 1
        warmup_seconds = 0.1
        seconds = 0.3
        [[point]]
        name = "read-cold"
        workload = { kind = "read", objects = 500, record_bytes = 1000, page_cache = "dropped" }
        connections = [2]
    "#;
    let Some((output, outcomes)) = shootout(scenario) else { return };
    assert!(!output.status.success());
    let [(_, outcome)] = &outcomes["read-cold"][..] else { panic!("one point") };
    let Verdict::Failed(why) = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(why.contains("did not come from the disk"), "{why}");
}

#[test]
fn every_workload_is_done_and_checked() {
    let Some((output, outcomes)) = shootout(SCENARIO) else { return };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(outcomes.len(), 26);
    for (workload, outcomes) in &outcomes {
        for (load, outcome) in outcomes {
            let failed = matches!(outcome.verdict, Verdict::Failed(_));
            assert!(!failed, "{workload}: {:?}", outcome.verdict);
            let idle = outcome.idle.map(|idle| (idle.connections, idle.bytes_per_connection()));
            assert_eq!(idle.is_some(), workload == "idle", "{workload}");
            assert!(idle.is_none_or(|(count, bytes)| count == 50 && bytes > 500.0), "{idle:?}");
            assert_eq!(outcome.operations, outcome.response.count(), "{workload}");
            if let Loop::Open { rate, .. } = load {
                // What is intended in 0.3 s; each invalidation is heard by three.
                let heard = if workload == "invalidations-open" { 3.0 } else { 1.0 };
                let expected = 0.3 * rate * heard;
                let off = (outcome.operations as f64 - expected).abs();
                assert!(off <= 5.0 * expected.sqrt(), "{workload}: {}", outcome.operations);
            }
        }
    }
}

#[test]
fn a_server_that_somebody_started_may_have_tls() {
    let Ok(program) = env::var("ZEOXIDE_TEST_SERVER") else {
        println!("skipped: ZEOXIDE_TEST_SERVER names no server");
        return;
    };
    let program = fs::canonicalize(program).expect("the server is built");
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments =
        ["--listen=zeo+msgpack://127.0.0.1:0", "--storage=1=memory:"].map(str::to_owned).to_vec();
    let certificates = Certificates::shared().write(folder.path());
    // Workers show no certificate.
    arguments
        .extend(certificates.into_iter().filter(|option| !option.starts_with("--tls-client-ca")));
    let server = ServerProcess::start(&program.to_string_lossy(), &arguments, folder.path());
    let address = server.urls()[0].rsplit_once('/').expect("a URL").1;
    let run = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeoxide-loadgen"));
        command.args([
            "run",
            "--address",
            address,
            "--seconds=0.3",
            "--warmup=0.1",
            "--connections=3",
        ]);
        command.args([
            "--workload",
            r#"{ kind = "read", objects = 100, record_bytes = 20_000 }"#,
            "--depth=4",
        ]);
        command.arg("--tls-ca").arg(folder.path().join("authority.pem"));
        command.args(options).output().expect("it runs")
    };
    let Output { status, stdout, stderr } = run(&[]);
    let said = String::from_utf8_lossy(&stdout);
    assert!(
        status.success() && said.contains("operations in"),
        "{said}{}",
        String::from_utf8_lossy(&stderr)
    );
    let Output { status, stderr, .. } = run(&["--tls-server-name=else.where"]);
    let why = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && why.contains("not valid for name"), "{why}");
    server.kill();
}
