//! `cargo xtask instructions`: how many instructions the hot operations take, against a baseline.
//!
//! Times on shared machines drift by more than what one wants to see; instructions do not. They
//! are counted by callgrind, one process for each operation, in a program that does nothing else
//! (`crates/testkit/examples/instructions.rs`), built as what is shipped. Crates that wrap callgrind
//! (gungraun) need a runner of their own, installed in the same version, and compare with the last
//! run on the same machine; here the baseline is a file under version control, and a clean clone on
//! another machine with the same tools can judge a commit.
//!
//! A count that differs by more than is allowed fails, in both directions: a baseline above the
//! truth would let the next regression pass unseen, and whoever made something cheaper shows it by
//! the new baseline in the same commit.

mod baseline;
mod compare;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::process::{self, Ending, Skipped};
use crate::workspace::{Workspace, cargo};
use crate::{apt, test};
use baseline::{Baseline, Tools};
use compare::Counted;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write what is counted as the new baseline
    #[arg(long, conflicts_with = "only")]
    write: bool,
    /// Count only operations whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    provide_valgrind()?;
    let program = build(workspace)?;
    let profiles = workspace.target.join("instructions");
    fs::create_dir_all(&profiles).with_context(|| format!("cannot make {}", profiles.display()))?;
    let mut counted = Vec::new();
    for operation in operations(&program)?.iter().filter(|one| one.name.contains(&options.only)) {
        counted.push(count(&program, operation, &profiles)?);
    }
    ensure!(!counted.is_empty(), "there is no operation whose name contains {:?}", options.only);
    let (tools, path) = (Tools::found()?, workspace.root.join(BASELINE));
    if options.write {
        Baseline::of(tools, &counted).write(&path)?;
        println!("wrote {BASELINE}: {} operations", counted.len());
        return Ok(true);
    }
    let mut baseline = Baseline::read(&path)?;
    baseline.operations.retain(|name, _| name.contains(&options.only));
    print!("{}", compare::table(&baseline.operations, &counted));
    println!("profiles, for callgrind_annotate: {}", profiles.display());
    if tools != baseline.tools {
        return Err(Skipped(format!(
            "instructions can only be compared between the same tools: {BASELINE} is of {}, and \
             here are {tools}; `{WRITE}` makes a baseline of these",
            baseline.tools,
        ))
        .into());
    }
    let complaints = compare::complaints(&baseline.operations, &counted);
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    if !complaints.is_empty() {
        println!("if this is what the change is meant to cost: {WRITE}");
    }
    Ok(complaints.is_empty())
}

/// What is counted: a line of what the program prints without an argument.
#[derive(Debug, PartialEq)]
struct Operation {
    name: String,
    repeats: u64,
    function: String,
    allowed_percent: f64,
}

fn provide_valgrind() -> Result<()> {
    const ADVICE: &str = "valgrind is needed (Debian, Ubuntu: `apt-get install valgrind`)";
    if test::is_installed("valgrind") {
        Ok(())
    } else if rustix::process::geteuid().is_root() {
        apt::install("valgrind", ADVICE)
    } else {
        Err(Skipped(ADVICE.to_owned()).into())
    }
}

/// Builds the program; where it is.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--release", "--package=testkit", "--features=fixed-hashes"]);
    build.args(["--example", PROGRAM]).current_dir(&workspace.root);
    match process::run(&mut build, BUILD_LIMIT)? {
        Ending::Exited(status) if status.success() => {}
        ending => bail!("cannot build the example {PROGRAM}: {ending:?}"),
    }
    Ok(workspace.target.join("release/examples").join(PROGRAM))
}

fn operations(program: &Path) -> Result<Vec<Operation>> {
    let output = Command::new(program).output().context("cannot run what was built")?;
    ensure!(output.status.success(), "{} failed: {}", program.display(), output.status);
    let text = String::from_utf8(output.stdout).context("operations have odd names")?;
    text.lines().map(|line| parse(line).with_context(|| format!("odd line: {line:?}"))).collect()
}

fn parse(line: &str) -> Option<Operation> {
    let mut parts = line.split('\t');
    let operation = Operation {
        name: parts.next()?.to_owned(),
        repeats: parts.next()?.parse().ok().filter(|repeats| *repeats > 0)?,
        function: parts.next()?.to_owned(),
        allowed_percent: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(operation)
}

fn count(program: &Path, operation: &Operation, profiles: &Path) -> Result<Counted> {
    let Operation { name, repeats, function, allowed_percent } = operation;
    let profile = profiles.join(format!("{}.callgrind", name.replace([' ', ':', ',', '/'], "-")));
    let folder = program.parent().context("a program is in a folder")?;
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={function}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .args([&format!("./{PROGRAM}"), name])
        // Neither the environment nor the program's path may move its stack.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .current_dir(folder);
    match process::run(&mut command, COUNT_LIMIT)? {
        Ending::Exited(status) if status.success() => {}
        ending => bail!("counting `{name}` failed: {ending:?}"),
    }
    let text = fs::read_to_string(&profile)
        .with_context(|| format!("cannot read {}", profile.display()))?;
    let total = total(&text).filter(|total| *total > 0).with_context(|| {
        format!("`{name}` never calls {function}, or callgrind cannot find it by this name")
    })?;
    let instructions = (total + repeats / 2) / repeats;
    Ok(Counted { name: name.clone(), instructions, allowed_percent: *allowed_percent })
}

/// What a profile's last line says.
fn total(profile: &str) -> Option<u64> {
    profile.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

const PROGRAM: &str = "instructions";
const BASELINE: &str = "xtask/instructions.toml";
const WRITE: &str = "cargo xtask instructions --write";
const BUILD_LIMIT: Duration = Duration::from_secs(20 * 60);
/// An operation takes a second or two.
const COUNT_LIMIT: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_is_counted() {
        let operation = Operation {
            name: "lock: 1".to_owned(),
            repeats: 10,
            function: "a::b".to_owned(),
            allowed_percent: 3.0,
        };
        assert_eq!(parse("lock: 1\t10\ta::b\t3"), Some(operation));
        for odd in ["", "lock\t10\ta::b", "lock\t0\ta::b\t3", "lock\t10\ta::b\t3\tmore"] {
            assert_eq!(parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn the_total_is_read_from_a_profile() {
        assert_eq!(total("events: Ir\nfn=(1) x\n1 70\n\ntotals: 1234\n"), Some(1234));
        assert_eq!(total("events: Ir\n"), None);
    }
}
