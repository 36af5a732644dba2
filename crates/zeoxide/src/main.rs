//! zeoxide: administration of servers and of files.
//!
//! One file of `cmd` for each subcommand. What moves transactions is `copy`: from a `Source` to a
//! `Sink`, whatever they are.
//!
//! **Never**: a change of a file or storage that is only looked at; a number of bytes in memory that grows
//! with a file, but for an index by object where one is needed.
//!
//! Start reading at `cmd`, then `copy`.

mod cmd;
mod copy;
mod histories;
mod interrupt;
mod pack_status;
mod progress;
mod server;
mod text;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Administers zeoxide's servers, and files of ZODB.
#[derive(Debug, Parser)]
#[command(name = "zeoxide", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(cmd::status::Options),
    Pack(cmd::pack::Options),
    Dump(cmd::dump::Options),
    Tail(cmd::tail::Options),
    Verify(cmd::verify::Options),
    Copy(cmd::copy::Options),
    Import(cmd::import::Options),
    Export(cmd::export::Options),
    Backup(cmd::backup::Options),
    Restore(cmd::restore::Options),
    Bench(cmd::bench::Options),
}

const EXIT_STATUS: &str = "\
Exit status:
  0    done, and nothing is wrong
  1    something is wrong, with the command or with what it looked at
  2    the command line is wrong; nothing was touched
  130  interrupted, in order: what was done until then stays";

/// How a command ends that ends in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Good,
    /// The command did what it should, and has told what is wrong.
    Wrong,
    Interrupted,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Status(options) => cmd::status::run(&options),
        Command::Pack(options) => cmd::pack::run(&options),
        Command::Dump(options) => cmd::dump::run(&options),
        Command::Tail(options) => cmd::tail::run(&options),
        Command::Verify(options) => cmd::verify::run(&options),
        Command::Copy(options) => cmd::copy::run(&options),
        Command::Import(options) => cmd::import::run(&options),
        Command::Export(options) => cmd::export::run(&options),
        Command::Backup(options) => cmd::backup::run(&options),
        Command::Restore(options) => cmd::restore::run(&options),
        Command::Bench(options) => cmd::bench::run(&options),
    };
    match result {
        Ok(End::Good) => ExitCode::SUCCESS,
        Ok(End::Wrong) => ExitCode::FAILURE,
        Ok(End::Interrupted) => {
            eprintln!("zeoxide: interrupted");
            ExitCode::from(130)
        }
        // Whoever reads along has seen enough: `zeoxide dump | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zeoxide: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Only what is printed goes into pipes.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
