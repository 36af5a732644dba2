//! Our servers as they are shipped: their names, and how they are built.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::process::{self, Ending};
use crate::workspace::{Workspace, cargo};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    Tokio,
    Threads,
    Smol,
    /// async-std is discontinued
    AsyncStd,
    Compio,
}

/// Builds the server for release; its binary.
pub(crate) fn build(workspace: &Workspace, server: Server) -> Result<PathBuf> {
    let name = server.to_possible_value().map(|value| value.get_name().to_owned());
    let name = name.unwrap_or_default();
    let package = format!("server-{name}");
    let mut build = cargo();
    build.args(["build", "--release", "--package", &package]).current_dir(&workspace.root);
    match process::run(&mut build, LIMIT)? {
        Ending::Exited(status) if status.success() => {}
        ending => bail!("cannot build {package}: {ending:?}"),
    }
    Ok(workspace.target.join("release").join(format!("zeoxide-{name}")))
}

/// Far more than a build takes.
const LIMIT: Duration = Duration::from_secs(20 * 60);
