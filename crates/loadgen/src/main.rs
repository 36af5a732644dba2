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
//! Start reading at [`agent`] for how load is made, at [`shootout`] for what is compared.

mod report;

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
    /// Write a report from records
    Report(report::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Report(options) => report::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zeoxide-loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
