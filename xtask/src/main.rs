//! The project's own chores, run as `cargo xtask ...`.
//!
//! `test` runs everything that must pass, `tidy` checks the rules that the compiler does not
//! know, `instructions` counts what the hot operations cost, `zeosuite` runs ZEO's own test suite
//! against one of our servers, `application` a bank that must balance while its server is killed,
//! `python-client` tries the load generator's Python drivers, `datafs` compares our copies of
//! `Data.fs` files with ZODB's, and `report-page` looks at a report in a browser.
//!
//! **Never**: linked into anything that is shipped, and no crate of the workspace depends on it.
//!
//! Start reading at [`steps`], the table of what `test` runs; then [`tidy`].

mod application;
mod apt;
mod datafs;
mod instructions;
mod process;
mod python_client;
mod report_page;
mod servers;
mod steps;
mod test;
mod tidy;
mod venv;
mod workspace;
mod zeosuite;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::process::Interrupted;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match process::catch_signals().and_then(|()| run(Cli::parse())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.is::<Interrupted>() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `cargo xtask` can do.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run all tests, installing what they need
    Test(test::Options),
    /// Check the rules that the compiler does not know
    Tidy,
    /// Count the instructions of the hot operations, and compare with the baseline
    Instructions(instructions::Options),
    /// Run ZEO's own test suite against one of our servers
    Zeosuite(zeosuite::Options),
    /// Try the load generator's Python drivers against the tokio server, installing what they need
    PythonClient,
    /// Run a small bank on ZODB while its server is killed and restarted
    Application(application::Options),
    /// Compare what we make of Data.fs files with what ZODB does, installing what that needs
    Datafs,
    /// Look at a report's page in headless Chromium
    ReportPage,
}

/// Runs one chore; `false` means that it ran and found something wrong.
fn run(cli: Cli) -> Result<bool> {
    let workspace = Workspace::load()?;
    match cli.chore {
        Chore::Test(options) => test::run(&workspace, &options),
        Chore::Tidy => tidy::run(&workspace),
        Chore::Instructions(options) => instructions::run(&workspace, &options),
        Chore::Zeosuite(options) => zeosuite::run(&workspace, &options),
        Chore::PythonClient => python_client::run(&workspace),
        Chore::Application(options) => application::run(&workspace, &options),
        Chore::Datafs => datafs::run(&workspace),
        Chore::ReportPage => report_page::run(&workspace),
    }
}

/// Runs the chore that `arguments` spell, as if typed after `cargo xtask`.
fn run_arguments(arguments: &[&str]) -> Result<bool> {
    run(Cli::try_parse_from(std::iter::once("cargo xtask").chain(arguments.iter().copied()))?)
}
