//! `cargo xtask report-page`: a report's page, looked at in headless Chromium.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{self, Ending};
use crate::workspace::Workspace;

/// Chromium may have to be installed first.
const LIMIT: Duration = Duration::from_secs(10 * 60);

pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let mut command = Command::new("python3");
    command.arg("tests/report-page/run.py").current_dir(&workspace.root);
    match process::run(&mut command, LIMIT)? {
        Ending::Exited(status) => Ok(status.success()),
        Ending::TimedOut => bail!("the browser hangs: not done after {} s", LIMIT.as_secs()),
    }
}
