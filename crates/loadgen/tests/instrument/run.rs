//! The command `run`, as a person types it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use rustix::process::Signal;

use super::fake::{Fake, Manner};
use super::{CLOCK, ms, signal, text};

fn command(fake: &Fake, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zeoxide-loadgen"));
    let workload = "{ kind = 'read', objects = 1000, record_bytes = 200 }";
    command.args(["run", "--protocol=echo", "--connections=2", "--warmup=0.1"]);
    command.args(["--address", &fake.address, "--workload", workload]).args(arguments);
    command
}

#[test]
fn each_second_has_a_line_and_the_end_a_table() {
    let _alone = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let fake = Fake::start(Manner::Fixed(ms(10)));
    let output = command(&fake, &["--seconds=1.2", "--rate=100"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    for line in ["    1 s ", "    2 s ", "response ", "service ", "lag "] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line:?}: {said}");
    }
    assert!(said.contains("operations in 1.2 s"), "{said}");
}

#[test]
fn a_fault_is_told_by_the_exit_status() {
    let _alone = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let fake = Fake::start(Manner::WrongByte { answer: 300 });
    // It does not go on for what is left of an hour.
    let output = command(&fake, &["--seconds=3600", "--workers=2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("200 wrong bytes"), "{}", text(&output));
    let output = command(&fake, &["--workload={ kind = 'connect' }"]).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn an_interruption_ends_it_with_what_is_known() {
    let _alone = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let fake = Fake::start(Manner::Fixed(ms(10)));
    let mut child = command(&fake, &["--seconds=3600"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.starts_with("    1 s ")));
    signal(&child, Signal::INT);
    let rest: Vec<String> = lines.collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("interrupted after ")), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("response ")), "{rest:?}");
}

#[test]
fn a_search_has_a_line_for_each_run_and_may_find_nothing() {
    let _alone = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let fake = Fake::start(Manner::Fixed(ms(5)));
    let found = |p99_ms: &str| {
        let output = command(&fake, &["--seconds=0.6", "--search-p99-ms", p99_ms]).output();
        text(&output.unwrap())
    };
    let said = found("4");
    assert!(said.contains("/s was the closed loop, p99") && !said.contains("passed"), "{said}");
    // A generator that a busy machine makes late says so, rather than what it cannot know.
    let ends = ["no rate has a p99 within 4 ms", "limited by the generator"];
    assert!(ends.iter().any(|end| said.contains(end)), "{said}");
    assert!(found("0").contains("above 0"));
}
