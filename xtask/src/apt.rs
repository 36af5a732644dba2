//! Programs that come from Debian's packages, installed where we may.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Ending};

/// Installs `package` if we are root; else, and if that fails, the error is `advice`.
pub(crate) fn install(package: &str, advice: &'static str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(advice);
    }
    println!("installing {package}");
    // The package lists of a fresh container are empty; a failure shows in the next command.
    let _ = must_succeed(Command::new("apt-get").args(["update", "-qq"]));
    must_succeed(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .context(advice)
}

/// Runs `command`, which may have to fetch something.
pub(crate) fn must_succeed(command: &mut Command) -> Result<()> {
    match process::run(command, Duration::from_secs(10 * 60))? {
        Ending::Exited(status) if status.success() => Ok(()),
        ending => bail!("{} failed: {ending:?}", command.get_program().display()),
    }
}
