//! The log, the pid file, and the signals that are not about the end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::start::refusal;
use super::zeo::Client;
use super::{ANYWHERE, IN_MEMORY, PROGRAM, names, serve, serve_in};

#[test]
fn a_log_file_that_was_moved_is_opened_again() {
    let (server, root) = serve(&[ANYWHERE, IN_MEMORY, "--log-file=zeo.log"]);
    let (log, old) = (root.path().join("zeo.log"), root.path().join("zeo.log.1"));
    drop(Client::register(server.connect(0), "1"));
    wait_for_line(&log, "disconnected");
    fs::rename(&log, &old).unwrap();
    server.signal("USR2");
    wait_for_line(&log, "log file opened again");
    let before = fs::read(&old).unwrap();
    drop(Client::register(server.connect(0), "1"));
    wait_for_line(&log, "disconnected");
    assert_eq!(fs::read(&old).unwrap(), before);

    // Where none can be opened, the log goes on in the one that is open.
    let open = root.path().join("zeo.log.2");
    fs::rename(&log, &open).unwrap();
    fs::create_dir(&log).unwrap();
    server.signal("USR2");
    wait_for_line(&open, "the old one stays");
    assert_eq!(server.stop(), [""; 0]);
    assert!(has_line(&open, "stopped"));
}

#[test]
fn the_log_goes_to_standard_output_on_request() {
    let root = tempfile::tempdir().unwrap();
    let mut child = Command::new(PROGRAM)
        .args([ANYWHERE, IN_MEMORY, "--log-file=STDOUT"])
        .current_dir(root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lines: Vec<_> = lines.take_while(|line| line != "ready").collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lines.iter().any(|line| line.contains("INFO") && line.contains("opened")), "{lines:?}");
    assert_eq!(names(root.path()), [""; 0]);
}

#[test]
fn the_pid_file_names_the_server_while_it_is_there() {
    let root = tempfile::tempdir().unwrap();
    let pid = root.path().join("pid");
    fs::write(&pid, "stale").unwrap();
    let arguments = [ANYWHERE, IN_MEMORY, "--pid-file=pid"];
    let server = serve_in(root.path(), &arguments);
    let number: u32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let command = fs::read_to_string(format!("/proc/{number}/cmdline")).unwrap();
    assert!(command.contains("--pid-file=pid"), "{command}");
    server.stop();
    assert_eq!(names(root.path()), [""; 0]);

    let server = serve_in(root.path(), &arguments);
    fs::write(&pid, "another server's").unwrap();
    server.stop();
    assert_eq!(names(root.path()), ["pid"]);
}

#[test]
fn files_that_cannot_be_written_are_refused() {
    let root = tempfile::tempdir().unwrap();
    for (argument, why) in [
        ("--log-file=no/where.log", "cannot log to no/where.log: its directory: No such file"),
        ("--log-file=.", "cannot log to .: it is a directory"),
        ("--pid-file=no/pid", "cannot write the pid file no/pid: the directory has to be there"),
    ] {
        let line = refusal(root.path(), &[ANYWHERE, IN_MEMORY, argument]);
        assert!(line.contains(why), "{line}");
    }
    let line = refusal(root.path(), &["--listen=zeo://no.invalid:1", "--log-file=new.log"]);
    assert!(line.contains("unknown host"), "{line}");
}

#[test]
fn a_hang_up_is_an_order_to_start_again() {
    let (mut server, _directory) = serve(&[ANYWHERE, IN_MEMORY]);
    server.signal("USR2");
    server.wait_for_log("there is no log file");
    server.signal("HUP");
    assert_eq!(server.wait().code(), Some(1));
    assert!(server.log().iter().any(|line| line.contains("stopped")));
}

/// Waits until a file has a line that contains `text`.
pub(super) fn wait_for_line(path: &Path, text: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let content = fs::read_to_string(path).unwrap_or_default();
        if let Some(line) = content.lines().find(|line| line.contains(text)) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "no {text:?} in {}: {content}", path.display());
        std::thread::yield_now();
    }
}

/// Whether a line of the file contains `text`.
pub(super) fn has_line(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).unwrap().lines().any(|line| line.contains(text))
}
