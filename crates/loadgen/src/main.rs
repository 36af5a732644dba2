//! zeoxide-loadgen: drives servers, compares them, and writes reports.
//!
//! ```text
//! run, shootout: the coordinator  ── control connections ──>  agents: worker processes
//!      |  starts servers, merges histograms                      |  engine: connections, schedules
//!      v                                                          v
//! reports/records/*.json  ──> report, compare               servers under test
//! ```
//!
//! **Never**: a server's own code (`storage`, `session`); a result whose replies were not checked.
//!
//! Start reading at `agent` for how load is made, at `shootout` for what is compared.

mod agent;
mod bench;
mod cold;
mod control;
mod data;
mod driver;
mod echo;
mod engine;
mod fleet;
mod interrupt;
mod pin;
mod point;
mod profile;
mod progress;
mod report;
mod run;
mod scenario;
mod search;
mod servers;
mod shootout;
mod sizes;
mod tls;
mod versions;
mod wire;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Drives servers, compares them, and writes reports.
#[derive(Debug, Parser)]
#[command(name = "zeoxide-loadgen", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Options),
    Shootout(shootout::Options),
    Agent(agent::Options),
    Echo(echo::Options),
    /// Write a report from records
    Report(report::Options),
    /// Compare two variants: which one is faster, and how sure that is
    Compare(report::CompareOptions),
}

fn main() -> ExitCode {
    raise_open_files();
    let result = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Shootout(options) => shootout::run(&options),
        Command::Agent(options) => agent::run(&options),
        Command::Echo(options) => echo::run(&options),
        Command::Report(options) => report::run(&options),
        Command::Compare(options) => report::compare(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zeoxide-loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A process may have as many files open as the system grants it; servers and workers that are
/// started here inherit that. Who needs more than there are says so.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
