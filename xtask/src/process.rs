//! Child processes that end when we are told to end.
//!
//! Each child gets its own process group, so that its children (rustc, test servers) can be
//! ended with it when a person presses Ctrl-C or a build machine sends SIGTERM.

mod lines;

use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Somebody told us to end; everything that ran has been ended.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// A chore cannot be done here, for this reason.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Exited(ExitStatus),
    /// It took longer than its limit and was killed.
    TimedOut,
}

/// Makes SIGINT and SIGTERM end the running child first, then this program.
pub(crate) fn catch_signals() -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // A second signal finds the flag set and ends this program at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&STOP))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&STOP)))
            .context("cannot handle signals")?;
    }
    Ok(())
}

/// Runs `command` to its end, at most for `limit`. What it prints is ours, and its last lines are
/// kept: see [`take_last_lines`].
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Ending> {
    run_until(command, limit, &STOP)
}

/// The last lines that commands have printed since the last call.
pub(crate) fn take_last_lines() -> Vec<String> {
    lines::take()
}

fn run_until(command: &mut Command, limit: Duration, stop: &AtomicBool) -> Result<Ending> {
    if io::stderr().is_terminal() {
        // A program of ours is between cargo and the terminal.
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let (passed_on, all_passed_on) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        lines::pass_on_beside(pipe, io::stdout, passed_on.clone());
    }
    if let Some(pipe) = child.stderr.take() {
        lines::pass_on_beside(pipe, io::stderr, passed_on);
    }
    let ending = wait(&mut child, limit, stop);
    // A process that the child left behind may keep the pipes open: nobody waits for that.
    while all_passed_on.recv_timeout(GRACE).is_ok() {}
    ending
}

fn wait(child: &mut Child, limit: Duration, stop: &AtomicBool) -> Result<Ending> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ending::Exited(status));
        }
        if stop.load(Ordering::Relaxed) {
            end(child)?;
            return Err(Interrupted.into());
        }
        if Instant::now() > deadline {
            end(child)?;
            return Ok(Ending::TimedOut);
        }
        thread::sleep(POLL);
    }
}

/// Ends a child's whole group: asks, waits a little, kills.
fn end(child: &mut Child) -> Result<()> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("odd process id")?;
    // The group may be gone already; then there is nothing to do.
    let _ = kill_process_group(group, Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        thread::sleep(POLL);
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()?;
    Ok(())
}

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a child may take to clean up after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_exit_status_is_handed_back() {
        let ending = run(&mut shell("exit 3"), Duration::from_secs(60)).expect("sh runs");
        let Ending::Exited(status) = ending else { panic!("timed out") };
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn the_last_lines_are_kept() {
        // Other tests print, too, but less. What comes by two pipes comes in any order.
        run(&mut shell("seq 100"), Duration::from_secs(60)).expect("sh runs");
        let lines = take_last_lines();
        assert!(lines.iter().any(|line| line == "100"), "{lines:?}");
        assert!(!lines.iter().any(|line| line == "1"), "{lines:?}");
        run(&mut shell("echo an error >&2"), Duration::from_secs(60)).expect("sh runs");
        let lines = take_last_lines();
        assert!(lines.iter().any(|line| line == "an error"), "{lines:?}");
    }

    #[test]
    fn a_child_past_its_limit_is_ended_with_its_children() {
        let started = Instant::now();
        let ending = run(&mut shell("sleep 1000 & wait"), Duration::from_millis(50));
        assert_eq!(ending.expect("sh runs"), Ending::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn an_interrupt_ends_the_child() {
        let stop = AtomicBool::new(true);
        let error = run_until(&mut shell("sleep 1000"), Duration::from_secs(900), &stop);
        assert!(error.expect_err("interrupted").is::<Interrupted>());
    }
}
