//! The Python environment that ZEO's suite runs in, made when it is first needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{self, Ending};
use crate::workspace::Workspace;

const REQUIREMENTS: &str = "tests/zeosuite/requirements.txt";

/// Makes the environment if it is missing or for other requirements; its `python`.
pub(crate) fn python(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("zeo-venv");
    let requirements = workspace.root.join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    // Written last, so that an interrupted installation is started over.
    let stamp = folder.join("installed-requirements.txt");
    let python = folder.join("bin/python");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }
    println!("installing {REQUIREMENTS} into {}", folder.display());
    make(&folder)?;
    must_succeed(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements),
    )
    .with_context(|| format!("cannot install {REQUIREMENTS}"))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

fn make(folder: &Path) -> Result<()> {
    if !can_make() {
        install_venv_module()?;
    }
    must_succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
        .context("cannot make a Python environment")
}

/// Debian splits `ensurepip` off, without which `venv` cannot install pip.
fn can_make() -> bool {
    let probe = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    probe.is_ok_and(|output| output.status.success())
}

fn install_venv_module() -> Result<()> {
    const ADVICE: &str = "Python 3 with its venv module is needed: install python3-venv \
                          (Debian, Ubuntu: `apt-get install python3-venv`)";
    if !rustix::process::geteuid().is_root() {
        bail!(ADVICE);
    }
    println!("python3 lacks its venv module; installing python3-venv");
    // The package lists of a fresh container are empty; a failure shows in the next command.
    let _ = must_succeed(Command::new("apt-get").args(["update", "-qq"]));
    must_succeed(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends", "python3-venv"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .context(ADVICE)
}

fn must_succeed(command: &mut Command) -> Result<()> {
    match process::run(command, Duration::from_secs(10 * 60))? {
        Ending::Exited(status) if status.success() => Ok(()),
        ending => bail!("{} failed: {ending:?}", command.get_program().display()),
    }
}
