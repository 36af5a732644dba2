//! `cargo xtask datafs`: our copies, dumps and checks of `Data.fs` files, beside ZODB's own, and their
//! way through our storages.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{self, Ending};
use crate::venv;
use crate::workspace::{Workspace, cargo};

/// Installing, building and comparing takes a fraction.
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let python = venv::python(workspace, &venv::ZEO_SUITE)?;
    let mut build = cargo();
    build.args(["build", "--quiet", "--package=zeoxide"]).current_dir(&workspace.root);
    let mut compare = Command::new(python);
    compare.arg("compare.py").arg(workspace.target.join("debug/zeoxide"));
    compare.current_dir(workspace.root.join("crates/datafs/tests/data"));
    compare.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(succeeds(&mut build)? && succeeds(&mut compare)?)
}

fn succeeds(command: &mut Command) -> Result<bool> {
    match process::run(command, LIMIT)? {
        Ending::Exited(status) => Ok(status.success()),
        Ending::TimedOut => bail!("the comparison hangs: not done after {} s", LIMIT.as_secs()),
    }
}
