//! Tests of a whole server binary, over real sockets. Each binary includes them, and names itself
//! in `crate::PROGRAM`.

// A helper of tests fails as a test does.
#![allow(clippy::unwrap_used, clippy::panic)]

mod clients;
mod config;
mod disk;
mod limits;
mod log;
mod metrics;
mod replication;
mod start;
mod stop;
mod timeout;
mod tls;
mod zeo;
mod zrs;

use std::path::Path;

use tempfile::TempDir;
use testkit::server::ServerProcess;

use crate::PROGRAM;

/// A MessagePack listener at a free port.
const ANYWHERE: &str = "--listen=zeo+msgpack://127.0.0.1:0";

/// Nothing is left of it.
const IN_MEMORY: &str = "--storage=1=memory:";

/// A server in a directory of its own.
fn serve(arguments: &[&str]) -> (ServerProcess, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (serve_in(directory.path(), arguments), directory)
}

fn serve_in(directory: &Path, arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(PROGRAM, &owned(arguments), directory)
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(ToString::to_string).collect()
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
