//! `zeoxide copy`: a `Data.fs` from another one.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::moving;
use crate::End;
use crate::copy::{FileSink, FileSource};
use crate::interrupt::Interrupt;

/// Copy a Data.fs, transaction by transaction, checking all of it
///
/// The copy is the same bytes, without what a crash has left at the end (and without transactions
/// that ZODB 3.2 or older has undone in place: FileStorage passes over them as well). A transaction is there
/// wholly or not at all, and an interrupted copy can be resumed.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A Data.fs, which may be in use
    from: PathBuf,
    /// The copy, which must not be there yet
    to: PathBuf,
    /// Go on with a copy that is there, with the first transaction that it lacks
    #[arg(long)]
    resume: bool,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    let mut source = FileSource::open(&options.from)?;
    let mut sink = if options.resume && options.to.exists() {
        FileSink::append(&options.to).context("cannot resume")?
    } else {
        let created = FileSink::create(&options.to, source.magic());
        created.context("cannot begin a copy (--resume goes on with one)")?
    };
    let copied = moving::go_on("copying", &mut source, &mut sink, &interrupt)?;
    moving::tell("copied", copied);
    if copied.interrupted {
        println!("not all of it: go on with --resume");
        return Ok(End::Interrupted);
    }
    if let Some(torn) = source.torn() {
        let (bytes, offset) = (torn.bytes, torn.offset);
        println!("left out at offset {offset}: {}, {bytes} bytes", torn.by);
    }
    Ok(End::Good)
}
