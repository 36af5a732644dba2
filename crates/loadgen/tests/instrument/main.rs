//! The instrument against servers whose delays and faults are known.

mod fake;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use measure::{Histogram, Judgement, Outcome, Pin, Record, Trial, Verdict};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use fake::{Fake, LOOKS, Manner};

/// One at a time: all of these tests look at clocks.
static CLOCK: Mutex<()> = Mutex::new(());

/// A fake server, and a scenario that asks it.
struct Bench {
    fake: Fake,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    /// `settings` and `points`: what a scenario has beside its name and servers.
    fn new(manner: Manner, settings: &str, points: &str) -> Self {
        let alone = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let (fake, folder) = (Fake::start(manner), tempfile::tempdir().expect("a folder"));
        // What the shootout starts only says where the fake one is.
        let servers = format!(
            r#"
            [server.fake]
            about = "known delays"
            command = ["sh", "-c", "echo listening {}; echo ready; exec sleep 600"]
            protocols = ["echo"]
            "#,
            fake.address
        );
        let scenario = format!(
            "about = 'a test'\nservers = ['fake:echo']\nworkers = 2\nwarmup_seconds = 0.1\n\
             {settings}\n{points}"
        );
        fs::write(folder.path().join("servers.toml"), servers).expect("a file");
        fs::write(folder.path().join("test.toml"), scenario).expect("a file");
        Self { fake, folder, _alone: alone }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeoxide-loadgen"));
        command.args(["shootout", "test"]).arg("--benchmarks").arg(self.folder.path());
        command.arg("--reports").arg(self.folder.path());
        command
    }

    fn run(&self) -> Output {
        self.command().output().expect("it runs")
    }

    /// The only point's outcome.
    fn outcome(&self) -> Outcome {
        let mut outcomes = self.outcomes();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.files()
            .keys()
            .map(|path| Record::read(path).expect("a whole record").outcome)
            .collect()
    }

    /// Everything in the folder of records.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let folder = self.folder.path().join("records/test");
        let paths =
            fs::read_dir(folder).expect("records").map(|entry| entry.expect("a file").path());
        paths.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
    }
}

fn point(load: &str) -> String {
    let workload = "{ kind = 'read', objects = 1000, record_bytes = 200 }";
    format!("[[point]]\nname = 'read'\nworkload = {workload}\nconnections = [4]\n{load}\n")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What came of one point, which must not have failed. On a busy machine the generator itself may
/// be late, and say so; what it says of the server must be right all the same.
fn measured(manner: Manner, seconds: f64, load: &str) -> Outcome {
    let bench = Bench::new(manner, &format!("repeats = 1\nseconds = {seconds}"), &point(load));
    let output = bench.run();
    assert!(output.status.success(), "{}", text(&output));
    let outcome = bench.outcome();
    assert!(!matches!(outcome.verdict, Verdict::Failed(_)), "{:?}", outcome.verdict);
    assert!(outcome.operations <= bench.fake.asked());
    assert_eq!(outcome.operations, outcome.response.count());
    assert_eq!(outcome.operations, outcome.service.count());
    outcome
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A quantile is within a range; both ends in milliseconds. Histograms keep three digits.
#[track_caller]
fn assert_quantile(histogram: &Histogram, share: f64, from: u64, to: u64) {
    let found = histogram.quantile_ns(share) as f64 / 1e6;
    let (from, to) = (0.999 * from as f64, 1.001 * to as f64);
    assert!((from..to).contains(&found), "{share}: {found} ms, not {from} to {to}");
}

#[test]
fn a_fixed_delay_is_what_a_closed_loop_measures() {
    let outcome = measured(Manner::Fixed(ms(10)), 1.0, "");
    assert_quantile(&outcome.response, 0.0, 10, 12);
    assert_quantile(&outcome.response, 0.5, 10, 14);
    // Four connections can have 400 answers, and a busy machine may cost some.
    assert!((250..=401).contains(&outcome.operations), "{}", outcome.operations);
}

#[test]
fn two_delays_are_told_apart_at_the_right_percentile() {
    let outcome = measured(Manner::Bimodal { usual: ms(4), slow: ms(40) }, 1.0, "");
    assert_quantile(&outcome.response, 0.5, 4, 12);
    assert_quantile(&outcome.response, 0.85, 4, 20);
    assert_quantile(&outcome.response, 0.93, 40, 60);
    assert_quantile(&outcome.response, 0.99, 40, 60);
}

/// A tenth of all arrivals fall into the stall, and wait for its rest: evenly from all of it to
/// nothing. So the 99th percentile is nine tenths of its length, whenever it begins.
#[test]
fn an_open_loop_sees_a_stall_and_a_closed_loop_does_not() {
    let manner = Manner::Stalls { usual: ms(2), period: ms(1500) };
    let closed = measured(manner, 1.5, "");
    assert_quantile(&closed.response, 0.99, 2, 40);
    let open = measured(manner, 1.5, "rates = [500.0]\narrivals = 'constant'");
    assert_quantile(&open.response, 0.5, 2, 40);
    assert_quantile(&open.response, 0.93, 20, 90);
    assert_quantile(&open.response, 0.99, 125, 180);
    assert_quantile(&open.response, 1.0, 140, 230);
    // Each arrival of the counted time once; workers round their shares.
    assert!((748..=752).contains(&open.operations), "{}", open.operations);
}

#[test]
fn poisson_arrivals_keep_their_rate_and_see_the_fixed_delay() {
    let outcome = measured(Manner::Fixed(ms(5)), 1.0, "rates = [400.0]");
    assert_quantile(&outcome.service, 0.5, 5, 10);
    assert_quantile(&outcome.response, 0.5, 5, 10);
    // Five standard deviations of 20.
    assert!((300..=500).contains(&outcome.operations), "{}", outcome.operations);
}

#[test]
fn intervals_add_up() {
    let outcome = measured(Manner::Fixed(ms(2)), 1.2, "");
    let ends: Vec<f64> = outcome.intervals.iter().map(|interval| interval.at).collect();
    assert_eq!(ends, [1.0, 1.2]);
    let sum: u64 = outcome.intervals.iter().map(|interval| interval.operations).sum();
    assert_eq!(sum, outcome.operations);
}

/// What came of an open loop whose worker is stopped for 300 ms after so many requests.
fn stopped_after(asked: u64) -> Outcome {
    let bench = Bench::new(
        Manner::Fixed(ms(1)),
        "repeats = 1\nseconds = 1",
        &point("rates = [500.0]\narrivals = 'constant'"),
    );
    let mut agent = Command::new(env!("CARGO_BIN_EXE_zeoxide-loadgen"))
        .args(["agent", "--once"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    let output = agent.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says where it listens");
    let address = line.trim().strip_prefix("listening ").expect("it says where it listens");
    let mut command = bench.command();
    let mut shootout = command.args(["--agent", address]).spawn().expect("it runs");
    bench.fake.wait_until_asked(LOOKS + asked);
    signal(&agent, Signal::STOP);
    // tidy:allow(sleep): so long the generator stands still
    thread::sleep(ms(300));
    signal(&agent, Signal::CONT);
    assert!(shootout.wait().expect("it ends").success());
    assert!(agent.wait().expect("it ends").success());
    bench.outcome()
}

#[test]
fn a_generator_that_stands_still_says_that_it_was_late() {
    // 50 requests are the warm-up's.
    let outcome = stopped_after(200);
    let Verdict::Invalid(why) = &outcome.verdict else { panic!("{:?}", outcome.verdict) };
    assert!(why.contains("was late"), "{why}");
    assert_quantile(&outcome.lag, 0.99, 200, 600);
    // No user's wait is forgotten because the generator slept.
    assert_quantile(&outcome.response, 0.99, 200, 600);
    assert!((499..=501).contains(&outcome.operations), "{}", outcome.operations);
}

#[test]
fn what_was_due_when_the_end_was_slept_through_is_still_asked() {
    let outcome = stopped_after(500);
    assert!((499..=501).contains(&outcome.operations), "{}", outcome.operations);
}

/// A server of which it is known how many it can answer.
#[test]
fn a_search_ends_near_what_the_server_can_do() {
    let bench = Bench::new(
        Manner::Limited { per_second: 1_000 },
        "repeats = 1\nseconds = 0.6",
        &point("search = { p99_ms = 60.0 }\narrivals = 'constant'"),
    );
    let output = bench.run();
    assert!(output.status.success(), "{}", text(&output));
    let outcome = bench.outcome();
    let last = outcome.trials.last().expect("there are runs");
    assert_eq!(last.judgement, Judgement::Passed, "{:?}", outcome.trials);
    assert_eq!(outcome.trials.first().map(|trial| trial.rate), Some(None), "a closed loop");
    // Halves end within 5 %, and a server keeps up that answers 98 %. A busy machine may fail a run.
    let rate = last.rate.expect("an open loop");
    assert!((700.0..1_021.0).contains(&rate), "{:?}", outcome.trials);
    assert!((rate - outcome.rate()).abs() < 0.05 * rate, "{rate}, {}", outcome.rate());
    assert!(outcome.response.quantile_ns(0.99) <= 60_000_000);
    let faster = |trial: &&Trial| trial.judgement != Judgement::Passed && trial.rate > last.rate;
    assert!(outcome.trials.iter().any(|trial| faster(&trial)), "{:?}", outcome.trials);
    let page = fs::read_to_string(bench.folder.path().join("pages/test/summary.md")).unwrap();
    assert!(page.contains("highest rate with p99 within 60 ms"), "{page}");
}

#[test]
fn pinned_processes_are_measured_and_the_record_says_so() {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cpu: u32 = allowed.unwrap().trim().split([',', '-']).next().unwrap().parse().unwrap();
    let pinned = |cpu: u32| {
        let settings =
            format!("repeats = 1\nseconds = 0.2\npin = {{ server = [{cpu}], workers = [{cpu}] }}");
        Bench::new(Manner::Fixed(ms(2)), &settings, &point(""))
    };
    {
        let bench = pinned(cpu);
        let output = bench.run();
        assert!(output.status.success(), "{}", text(&output));
        let path = bench.files().into_keys().next().expect("a record");
        let pin = Record::read(&path).expect("a whole record").point.pin;
        assert_eq!(pin, Some(Pin { server: vec![cpu], workers: vec![cpu] }));
    }
    let output = pinned(1023).run();
    assert!(!output.status.success());
    assert!(text(&output).contains("CPU 1023 is not there"), "{}", text(&output));
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("it is ours, and runs");
}

#[test]
fn what_is_wrong_fails_and_says_why() {
    let answer = 400;
    let faults = [
        (Manner::WrongByte { answer }, "200 wrong bytes"),
        (Manner::NoRecord { answer }, "is lost"),
        (Manner::Silent { answer }, "1 operations are not answered"),
        (Manner::Closes { answer }, "the server closed a connection"),
    ];
    for (manner, reason) in faults {
        let settings = "repeats = 1\nseconds = 1.0\ndrain_seconds = 0.2";
        let bench = Bench::new(manner, settings, &point(""));
        let output = bench.run();
        assert_eq!(output.status.code(), Some(1), "{manner:?}: {}", text(&output));
        assert!(text(&output).contains("1 points failed"), "{}", text(&output));
        let verdict = bench.outcome().verdict;
        let Verdict::Failed(why) = &verdict else { panic!("{manner:?}: {verdict:?}") };
        assert!(why.contains(reason), "{manner:?}: {why}");
        // The fault was the one, so that the next time all is well.
        let again = bench.run();
        assert!(again.status.success(), "{manner:?}: {}", text(&again));
        assert!(!matches!(bench.outcome().verdict, Verdict::Failed(_)), "{manner:?}");
    }
}

/// An answer that is missing among others is found at the next one.
#[test]
fn a_missing_answer_is_no_other_answer() {
    let settings = "repeats = 1\nseconds = 1.0\ndrain_seconds = 0.2";
    let bench = Bench::new(Manner::Silent { answer: 400 }, settings, &point("depth = [4]"));
    assert_eq!(bench.run().status.code(), Some(1));
    let verdict = bench.outcome().verdict;
    assert!(matches!(&verdict, Verdict::Failed(why) if why.contains("instead of")), "{verdict:?}");
}

#[test]
fn a_rerun_measures_nothing_again() {
    let bench = Bench::new(Manner::Fixed(ms(1)), "repeats = 2\nseconds = 0.1", &point(""));
    assert!(bench.run().status.success());
    let (files, asked) = (bench.files(), bench.fake.asked());
    assert_eq!(files.len(), 2);
    let again = bench.run();
    assert!(again.status.success());
    assert!(text(&again).contains("2 of 2 points are there"), "{}", text(&again));
    assert_eq!(bench.fake.asked(), asked);
    assert_eq!(bench.files(), files);
    let forced = bench.command().arg("--force").output().unwrap();
    assert!(forced.status.success(), "{}", text(&forced));
    assert!(bench.fake.asked() > asked);
}

#[test]
fn an_interrupted_shootout_keeps_whole_points_and_goes_on() {
    interrupt_and_go_on(|shootout| signal(shootout, Signal::INT));
}

/// A terminal interrupts workers and servers, too: that is no failure of theirs.
#[test]
fn so_does_one_that_a_terminal_interrupts() {
    interrupt_and_go_on(|shootout| {
        kill_process_group(Pid::from_child(shootout), Signal::INT).expect("it is ours, and runs");
    });
}

fn interrupt_and_go_on(interrupt: impl Fn(&Child)) {
    let bench = Bench::new(Manner::Fixed(ms(1)), "repeats = 4\nseconds = 0.2", &point(""));
    let mut command = bench.command();
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut shootout = command.spawn().expect("it runs");
    let mut lines = BufReader::new(shootout.stdout.take().expect("it is piped")).lines();
    // A line is printed at the end of each point.
    assert!(lines.by_ref().any(|line| line.is_ok_and(|line| line.contains("[  2/4"))));
    interrupt(&shootout);
    lines.for_each(drop);
    assert_eq!(shootout.wait().expect("it ends").code(), Some(1));
    let mut said = String::new();
    let mut errors = shootout.stderr.take().expect("it is piped");
    errors.read_to_string(&mut said).expect("it is text");
    assert!(said.contains("interrupted"), "{said}");
    let before = bench.files();
    assert!((1..4).contains(&before.len()), "{}", before.len());
    let failed = |outcome: &Outcome| matches!(outcome.verdict, Verdict::Failed(_));
    assert!(!bench.outcomes().iter().any(failed), "every file is a whole record of a success");
    assert!(bench.run().status.success());
    let after = bench.files();
    assert_eq!(after.len(), 4);
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)));
}
