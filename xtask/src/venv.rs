//! Python environments: that of ZEO's suite, and those of the load generator's drivers and peers.
//! Each is made when it is first needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::{self, must_succeed};
use crate::workspace::Workspace;

/// An environment, and what it holds.
#[derive(Debug)]
pub(crate) struct Environment {
    /// In cargo's target folder; `benchmarks/*.toml` name those of drivers and peers, too.
    folder: &'static str,
    /// Files of pinned versions.
    requirements: &'static [&'static str],
}

/// ZEO and its tests.
pub(crate) const ZEO_SUITE: Environment =
    Environment { folder: "zeo-venv", requirements: &[REQUIREMENTS] };

/// ZEO as a peer, and as the client of our driver.
pub(crate) const PEERS: Environment =
    Environment { folder: "peers", requirements: &[REQUIREMENTS, "benchmarks/drivers/peers.txt"] };

pub(crate) const ZODBSHOOTOUT: Environment = Environment {
    folder: "zodbshootout",
    requirements: &[REQUIREMENTS, "benchmarks/drivers/zodbshootout.txt"],
};

const REQUIREMENTS: &str = "tests/zeosuite/requirements.txt";

/// Makes an environment if it is missing or for other requirements; its `python`.
pub(crate) fn python(workspace: &Workspace, environment: &Environment) -> Result<PathBuf> {
    let folder = workspace.target.join(environment.folder);
    let files: Vec<PathBuf> =
        environment.requirements.iter().map(|file| workspace.root.join(file)).collect();
    let mut wanted = String::new();
    for file in &files {
        let text = fs::read_to_string(file);
        wanted += &text.with_context(|| format!("cannot read {}", file.display()))?;
    }
    // Written last, so that an interrupted installation is started over.
    let stamp = folder.join("installed-requirements.txt");
    let python = folder.join("bin/python");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }
    let names = environment.requirements.join(", ");
    println!("installing {names} into {}", folder.display());
    make(&folder)?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    files.iter().for_each(|file| _ = install.arg("-r").arg(file));
    must_succeed(&mut install).with_context(|| format!("cannot install {names}"))?;
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
    println!("python3 lacks its venv module");
    apt::install("python3-venv", ADVICE)
}
