//! `cargo xtask python-client`: the load generator's drivers with the real Python client, for a
//! moment each, against one of our servers.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{self, Ending};
use crate::venv;
use crate::workspace::{Workspace, cargo};

/// Installing, building and trying all of it takes a fraction.
const LIMIT: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let python = venv::python(workspace, &venv::PEERS)?;
    venv::python(workspace, &venv::ZODBSHOOTOUT)?;
    let mut tests = Command::new(python);
    tests.args(["-m", "unittest", "--quiet", "drivers_tests"]);
    tests.current_dir(workspace.root.join("benchmarks/drivers"));
    tests.env("PYTHONDONTWRITEBYTECODE", "1");
    let mut shootout = cargo();
    shootout.args(["run", "--quiet", "--release", "--package=loadgen", "--", "shootout", "python"]);
    // Another server would say nothing more of the drivers.
    shootout.args(["--verify", "--server=tokio"]).current_dir(&workspace.root);
    Ok(succeeds(&mut tests)? && succeeds(&mut shootout)?)
}

fn succeeds(command: &mut Command) -> Result<bool> {
    match process::run(command, LIMIT)? {
        Ending::Exited(status) => Ok(status.success()),
        Ending::TimedOut => bail!("the drivers hang: not done after {} s", LIMIT.as_secs()),
    }
}
