use std::thread;

use super::*;
use crate::servers::Server;

/// What the driver `zodb-client` printed, all but some of its responses left out.
const RESPONSES: &str = r#"{"says": "done", "operations": 4, "seconds": 1.5, "responses_ns": [[1604509, 914114], [2459654, 850348], [1357814, 893723], [1254254010, 891179]], "client": {"user_seconds": 0.8542849999999999, "system_seconds": 0.6094109999999999, "voluntary_switches": 27659, "involuntary_switches": 9084, "peak_resident_bytes": 60211200}, "versions": {"python": "3.11.7", "ZEO": "6.2", "ZODB": "6.4", "persistent": "6.9", "msgpack": "1.2.4", "uvloop": "0.23.0"}}"#;

/// What the driver `zodbshootout` printed.
const MEANS: &str = r#"{"says": "done", "operations": 30000, "seconds": 1.8458514619960624, "means_ns": [47882.14029977098, 66287.90959985054, 70415.09629998474], "client": {"user_seconds": 1.624527, "system_seconds": 0.540134, "voluntary_switches": 5189, "involuntary_switches": 4749, "peak_resident_bytes": 47673344}, "versions": {"python": "3.11.7", "zodbshootout": "0.8.0", "pyperf": "2.3.0"}}"#;

fn measured(line: &str) -> anyhow::Result<Measured> {
    looked_at(line, Duration::from_millis(1_510))
}

fn looked_at(line: &str, apart: Duration) -> anyhow::Result<Measured> {
    match serde_json::from_str(line)? {
        Said::Done(done) => done.measured(Usage::default(), apart),
        other => bail!("{other:?}"),
    }
}

#[test]
fn responses_become_histogram_and_intervals() {
    let Measured { outcome, versions } = measured(RESPONSES).unwrap();
    assert_eq!((outcome.operations, outcome.response.count()), (4, 4));
    assert!(outcome.response.max_ns().abs_diff(914_114) < 1_000);
    assert_eq!(outcome.service, outcome.response);
    let found: Vec<_> = outcome.intervals.iter().map(|i| (i.at, i.operations)).collect();
    assert_eq!(found, [(1.0, 3), (1.5, 1)]);
    assert!((outcome.generator.cpu_seconds() - 1.463_696).abs() < 1e-6);
    assert_eq!(outcome.mean_ns(), None);
    assert_eq!(versions["uvloop"], "0.23.0");
}

#[test]
fn means_stay_means() {
    let Measured { outcome, .. } = measured(MEANS).unwrap();
    assert_eq!((outcome.response.count(), outcome.intervals.len()), (0, 0), "nothing is made up");
    let mean_ns = outcome.mean_ns().unwrap();
    assert!((mean_ns - 61_528.382).abs() < 0.001, "{mean_ns}");
    // One client: its rate is the inverse.
    assert!((outcome.rate() * mean_ns / 1e9 - 1.0).abs() < 1e-9);
}

#[test]
fn one_that_is_not_installed_tells_how_it_is() {
    let missing = |needs: &str| {
        let driver = format!(
            "about = 'a'\ncommand = ['a']\nprotocols = []\nneeds = '{needs}'\ninstall = 'pip x'"
        );
        toml::from_str::<Driver>(&driver).unwrap().missing()
    };
    let why = missing("/no/such/program").unwrap();
    assert_eq!(why, "/no/such/program is not there; to install it: pip x");
    assert_eq!(missing("sh"), None);
}

/// As when the load generator is suspended, and the driver is not.
#[test]
fn late_looks_at_the_server_are_no_result() {
    let verdict = |line, apart| looked_at(line, apart).unwrap().outcome.verdict;
    assert_eq!(verdict(RESPONSES, Duration::from_millis(1_600)), Verdict::Valid);
    for millis in [100, 16_000] {
        let verdict = verdict(RESPONSES, Duration::from_millis(millis));
        assert!(matches!(verdict, Verdict::Invalid(_)), "{verdict:?}");
    }
    // Without a counted part it is all of the run.
    assert_eq!(verdict(MEANS, Duration::from_secs(16)), Verdict::Valid);
}

#[test]
fn what_does_not_add_up_is_no_result() {
    let why = |line: &str| format!("{:#}", measured(line).err().unwrap());
    let other = |from: &str, to: &str| why(&RESPONSES.replace(from, to));
    assert!(
        other("\"operations\": 4", "\"operations\": 5").contains("4 responses to 5 operations")
    );
    assert!(other("\"operations\": 4", "\"operations\": 0").contains("no operation"));
    assert!(other("1.5", "0").contains("no operation"));
    assert!(other("responses_ns", "replies_ns").contains("0 responses to 4 operations"));
    assert!(other("client", "clients").contains("client"));
}

/// Runs a driver that is a shell script against a server that does nothing.
fn driven(script: &str, interrupted: &AtomicBool) -> Outcome {
    let server = "about = 'a'\nprotocols = ['msgpack']\ncommand = ['sh', '-c', \
                  'echo listening a://host:1; echo ready; exec sleep 600']";
    let server = toml::from_str::<Server>(server).unwrap().start("server", "msgpack", &[]).unwrap();
    let driver = format!(
        "about = 'a'\nprotocols = ['msgpack']\ncommand = ['sh', '-c', '''{script}''', '{{benchmarks}}']"
    );
    let driver: Driver = toml::from_str(&driver).unwrap();
    let point = Point {
        scenario: "test".to_owned(),
        server: "a".to_owned(),
        command: Vec::new(),
        protocol: "msgpack".to_owned(),
        workload: "w".to_owned(),
        settings: Settings::from([("operation".to_owned(), "load".into())]),
        connections: 3,
        depth: 1,
        load: measure::Loop::Closed,
        workers: 3,
        pin: None,
        warmup_seconds: 0.0,
        seconds: 0.5,
        seed: 5,
        repeat: 2,
    };
    driver.measure(&point, &server, Path::new("/here"), interrupted).outcome
}

fn failure(script: &str) -> String {
    match driven(script, &AtomicBool::new(false)).verdict {
        Verdict::Failed(why) => why,
        verdict => panic!("{verdict:?}"),
    }
}

const BEGAN: &str = r#"echo "{\"says\": \"began\"}""#;
const ENDED: &str = r#"echo "{\"says\": \"ended\"}""#;

#[test]
fn a_driver_is_told_what_to_do_and_heard() {
    let order = r#"{"address":"host:1","connections":3,"warmup_seconds":0.0,"seconds":0.5,"seed":7,"settings":{"operation":"load"}}"#;
    let done = format!("cat <<E\n{MEANS}\nE");
    // It fails with what it was told.
    let echo = r#"read -r line; printf "%s\n" "$line $0" >&2"#;
    assert_eq!(failure(echo), format!("the driver ended (it says: {order} /here)"));
    let outcome = driven(&format!("{BEGAN}; {ENDED}; {done}"), &AtomicBool::new(false));
    assert_eq!((outcome.verdict, outcome.operations), (Verdict::Valid, 30_000));
    assert!(outcome.server.peak_resident_bytes > 0);
}

#[test]
fn a_driver_that_fails_says_why() {
    let lost = r#"echo "{\"says\": \"failed\", \"why\": \"lost commits\"}"; exec sleep 600"#;
    assert_eq!(failure(&format!("{BEGAN}; {lost}")), "lost commits");
    assert!(failure("echo no such module >&2; exit 3").contains("(it says: no such module)"));
    assert!(failure("echo hello").contains("says \"hello\""));
    assert!(failure("echo \"{}\"").contains("says \"{}\""));
    let early = format!("{BEGAN}; cat <<E\n{MEANS}\nE");
    assert!(failure(&early).contains("when the counted time began and ended"));
}

#[test]
fn an_interruption_ends_a_driver_and_what_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", told.display());
    let interrupted = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let driven = scope.spawn(|| driven(&script, &interrupted));
        while !told.exists() {
            assert!(!driven.is_finished(), "it started nothing");
            thread::yield_now();
        }
        interrupted.store(true, Ordering::Relaxed);
        driven.join().unwrap()
    });
    assert_eq!(outcome.verdict, Verdict::Failed("interrupted".to_owned()));
    let stat = format!("/proc/{}/stat", fs::read_to_string(&told).unwrap().trim());
    // Nobody may have asked yet how it ended.
    let is_gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    while !is_gone() {
        thread::yield_now();
    }
}
