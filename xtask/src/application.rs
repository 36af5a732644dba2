//! `cargo xtask application`: a small bank on ZODB, whose server is killed and restarted.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process::{self, Ending};
use crate::servers::{self, Server};
use crate::venv;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server that is killed
    #[arg(long, default_value = "tokio")]
    server: Server,
    /// How often it is killed
    #[arg(long, default_value_t = 5)]
    kills: u32,
    /// Of the moments at which it is killed
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let python = venv::python(workspace, &venv::ZEO_SUITE)?;
    let binary = servers::build(workspace, options.server)?;
    let binary = binary.to_str().context("the target folder's name is not UTF-8")?;
    let mut bank = Command::new(python);
    bank.arg("run.py").arg("--server").arg(format!("'{binary}' {SERVER}"));
    bank.args([format!("--kills={}", options.kills), format!("--seed={}", options.seed)]);
    bank.current_dir(workspace.root.join("tests/application"));
    bank.env("PYTHONDONTWRITEBYTECODE", "1");
    let limit = ALLOWANCE + PER_KILL * options.kills;
    match process::run(&mut bank, limit)? {
        Ending::Exited(status) => Ok(status.success()),
        Ending::TimedOut => bail!("the bank hangs: not done after {} s", limit.as_secs()),
    }
}

/// The rest of the server's command line, as the bank fills it in.
const SERVER: &str = "--listen zeo://127.0.0.1:{port} --storage '1=file:{data}?blobs={blobs}'";

/// Far more than opening and auditing the bank takes.
const ALLOWANCE: Duration = Duration::from_secs(300);
const PER_KILL: Duration = Duration::from_secs(30);
