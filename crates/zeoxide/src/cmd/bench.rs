//! `zeoxide bench`: the load generator, by a name that is easier to find.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::End;

/// Measure servers: starts zeoxide-loadgen with the same arguments
///
/// `zeoxide bench --help` is the load generator's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Arguments of zeoxide-loadgen
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    // The one that was built or installed together with this program, if there is one.
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(LOADGEN));
    let program = beside.filter(|program| program.exists());
    let program = program.map_or_else(|| LOADGEN.into(), OsString::from);
    // On success this process becomes the other one.
    let error = Command::new(program).args(&options.arguments).exec();
    Err(anyhow!(error).context(format!(
        "cannot start {LOADGEN}, which is neither beside this program nor on the PATH: build it \
         with `cargo build --release -p loadgen`"
    )))
}

const LOADGEN: &str = "zeoxide-loadgen";
