//! `cargo xtask test`: every step of the table, a heading and a duration each, a summary last.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::process::{self, Ending, Interrupted, Skipped};
use crate::steps::{Action, STEPS, Step};
use crate::workspace::{Workspace, cargo};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only this step (repeatable)
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Leave this step out (repeatable)
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Name the steps and end
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let steps = chosen(options)?;
    if options.list {
        for step in steps {
            println!("{:20} {}", step.name, step.about);
        }
        return Ok(true);
    }
    let mut rows = Vec::new();
    for step in steps {
        rows.push(run_step(workspace, step)?);
    }
    print!("{}", summary(&rows));
    Ok(rows.iter().all(|row| row.verdict != Verdict::Failed))
}

fn chosen(options: &Options) -> Result<Vec<&'static Step>> {
    for name in options.only.iter().chain(&options.skip) {
        if !STEPS.iter().any(|step| step.name == name) {
            bail!("there is no step `{name}`; `cargo xtask test --list` names them");
        }
    }
    let named = |list: &[String], step: &Step| list.iter().any(|name| name == step.name);
    let is_chosen = |step: &&Step| {
        (options.only.is_empty() || named(&options.only, step)) && !named(&options.skip, step)
    };
    Ok(STEPS.iter().filter(is_chosen).collect())
}

fn run_step(workspace: &Workspace, step: &Step) -> Result<Row> {
    let command_line = step.action.command_line();
    println!("\n==> {}: {command_line}", step.name);
    let started = Instant::now();
    process::take_last_lines();
    let verdict = match step.needs {
        Some(program) if !is_installed(program) => {
            Verdict::Skipped(format!("{program} is not installed"))
        }
        _ => verdict(perform(workspace, step))?,
    };
    let seconds = started.elapsed().as_secs_f64();
    match &verdict {
        Verdict::Passed => println!("<== {} passed in {seconds:.1} s", step.name),
        Verdict::Skipped(why) => println!("<== {} skipped: {why}", step.name),
        Verdict::Failed => {
            println!("<== {} FAILED after {seconds:.1} s; to repeat it:", step.name);
            println!("    {command_line}");
        }
    }
    let said = if verdict == Verdict::Failed { process::take_last_lines() } else { Vec::new() };
    Ok(Row { name: step.name, verdict, seconds, command_line, said })
}

/// Only an interrupt stops the whole run: the other steps still have something to say.
fn verdict(result: Result<bool>) -> Result<Verdict> {
    match result {
        Ok(true) => Ok(Verdict::Passed),
        Ok(false) => Ok(Verdict::Failed),
        Err(error) if error.is::<Interrupted>() => Err(error),
        Err(error) => match error.downcast::<Skipped>() {
            Ok(Skipped(why)) => Ok(Verdict::Skipped(why)),
            Err(error) => {
                println!("error: {error:#}");
                Ok(Verdict::Failed)
            }
        },
    }
}

fn perform(workspace: &Workspace, step: &Step) -> Result<bool> {
    let (environment, arguments) = match step.action {
        Action::Xtask(arguments) => return crate::run_arguments(arguments),
        Action::Cargo(environment, arguments) => (environment, arguments),
    };
    let mut command = cargo();
    command.args(arguments).envs(environment.iter().copied()).current_dir(&workspace.root);
    match process::run(&mut command, Duration::from_secs(step.limit_minutes * 60))? {
        Ending::Exited(status) => Ok(status.success()),
        Ending::TimedOut => bail!("hangs: not done after {} minutes", step.limit_minutes),
    }
}

pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder: std::path::PathBuf| {
        let file: &Path = &folder.join(program);
        file.is_file()
    })
}

/// What failed steps said last, and the table; its last line is what build machines read.
fn summary(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.verdict == Verdict::Failed) {
        text += &format!("\n==> {} FAILED; what it said last:\n", row.name);
        row.said.iter().for_each(|line| text += &format!("    {line}\n"));
    }
    text.push('\n');
    for row in rows {
        let verdict = match row.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "FAILED",
            Verdict::Skipped(_) => "skipped",
        };
        text += &format!("{:20} {verdict:8} {:>8.1} s", row.name, row.seconds);
        if row.verdict == Verdict::Failed {
            text += &format!("   {}", row.command_line);
        }
        text.push('\n');
    }
    let count = |is: fn(&Verdict) -> bool| rows.iter().filter(|row| is(&row.verdict)).count();
    let total: f64 = rows.iter().map(|row| row.seconds).sum();
    text += &format!("{:20} {:8} {total:>8.1} s\n", "all", "");
    text += &format!(
        "{} passed, {} failed, {} skipped\n",
        count(|v| *v == Verdict::Passed),
        count(|v| *v == Verdict::Failed),
        count(|v| matches!(v, Verdict::Skipped(_))),
    );
    text
}

/// One line of the summary.
#[derive(Debug)]
struct Row {
    name: &'static str,
    verdict: Verdict,
    seconds: f64,
    command_line: String,
    /// Only of a failed step: its last lines.
    said: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// For this reason.
    Skipped(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(only: &[&str], skip: &[&str]) -> Options {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Options { only: owned(only), skip: owned(skip), list: false }
    }

    fn row(name: &'static str, verdict: Verdict) -> Row {
        let said = if verdict == Verdict::Failed { vec![format!("{name} is ill")] } else { vec![] };
        Row { name, verdict, seconds: 1.0, command_line: format!("cargo {name}"), said }
    }

    #[test]
    fn only_and_skip_choose_steps() {
        let names = |o: &Options| -> Vec<_> {
            chosen(o).expect("known steps").iter().map(|step| step.name).collect()
        };
        assert_eq!(names(&options(&["tidy", "fmt"], &[])), ["fmt", "tidy"]);
        assert!(!names(&options(&[], &["fmt"])).contains(&"fmt"));
        assert!(chosen(&options(&["nonsense"], &[])).is_err());
    }

    #[test]
    fn every_step_has_its_own_name_and_every_chore_of_ours_parses() {
        for (i, step) in STEPS.iter().enumerate() {
            assert!(STEPS.iter().skip(i + 1).all(|other| other.name != step.name), "{}", step.name);
            if let Action::Xtask(arguments) = step.action {
                let arguments = std::iter::once("xtask").chain(arguments.iter().copied());
                <crate::Cli as clap::Parser>::try_parse_from(arguments).expect("a chore");
            }
        }
    }

    #[test]
    fn the_summary_ends_in_the_counts_and_tells_how_to_repeat_a_failure() {
        let rows = [
            row("a", Verdict::Passed),
            row("b", Verdict::Failed),
            row("c", Verdict::Skipped("x".to_owned())),
        ];
        let text = summary(&rows);
        assert!(text.ends_with("\n1 passed, 1 failed, 1 skipped\n"), "{text}");
        assert!(text.contains("cargo b") && !text.contains("cargo a"), "{text}");
        assert!(text.contains("b is ill") && text.find("b is ill") < text.find("passed"), "{text}");
    }

    #[test]
    fn an_error_fails_one_step_but_an_interrupt_ends_the_run() {
        let skipped = Skipped("no such thing here".to_owned());
        assert_eq!(
            verdict(Err(skipped.into())).expect("goes on"),
            Verdict::Skipped("no such thing here".to_owned())
        );
        assert_eq!(verdict(Err(anyhow::anyhow!("odd"))).expect("goes on"), Verdict::Failed);
        assert!(verdict(Err(Interrupted.into())).is_err());
    }

    #[test]
    fn a_missing_program_is_noticed() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-anywhere"));
    }
}
