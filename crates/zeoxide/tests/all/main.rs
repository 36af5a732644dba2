//! The binary, as it is used.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod against;
mod fake;
mod files;
mod pack;
mod status;
mod storages;
mod stores;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testkit::server::ServerProcess;

fn zeoxide() -> Command {
    Command::new(env!("CARGO_BIN_EXE_zeoxide"))
}

/// Runs it to its end: its exit status, and what it printed on both outputs.
fn run<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> (i32, String, String) {
    let Output { status, stdout, stderr } = zeoxide().args(arguments).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

/// A real server, which `ZEOXIDE_TEST_SERVER` names; without that, the test is skipped.
fn start_server(arguments: &[&str], folder: &Path) -> Option<ServerProcess> {
    let Ok(program) = std::env::var("ZEOXIDE_TEST_SERVER") else {
        println!("skipped: ZEOXIDE_TEST_SERVER names no server");
        return None;
    };
    let program = std::fs::canonicalize(program).unwrap();
    let arguments: Vec<String> = arguments.iter().copied().map(str::to_owned).collect();
    Some(ServerProcess::start(program.to_str().unwrap(), &arguments, folder))
}

/// Made by ZODB: `crates/datafs/tests/data/make.py`.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../datafs/tests/data").join(name)
}

#[test]
fn help_tells_each_command_and_each_exit_status() {
    let (status, help, _) = run(["--help"]);
    assert_eq!(status, 0);
    let commands = [
        "status", "pack", "dump", "tail", "verify", "copy", "import", "export", "backup", "restore",
    ];
    for word in commands.iter().chain(&["bench", "130"]) {
        assert!(help.contains(&format!("  {word} ")), "{word} is not in {help}");
    }
    for command in commands {
        assert_eq!(run([command, "--help"]).0, 0);
        assert_eq!(run([command]).0, 2, "{command} needs an argument");
    }
}
