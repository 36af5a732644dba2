//! `zeoxide export`: a `Data.fs` from a storage of ours.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use datafs::Magic;

use super::moving::{self, Links};
use crate::End;
use crate::copy::{BlobFolder, FileSink, StoreSource};
use crate::interrupt::Interrupt;

/// Write the transactions of a storage into a Data.fs
///
/// A server may go on using the storage: what it commits meanwhile is for the next export, which
/// appends to the file. What the file has must be of this storage.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The storage: what a server is given as file:DIR
    dir: PathBuf,
    /// The file, made if it is not there
    #[arg(value_name = "DATA.FS")]
    to: PathBuf,
    /// The storage's blob directory: what a server is given as file:DIR?blobs=BLOBS
    #[arg(long, requires = "blobs_to")]
    blobs: Option<PathBuf>,
    /// Where blobs go, in the layout 'bushy'
    #[arg(long, value_name = "BLOBDIR", requires = "blobs")]
    blobs_to: Option<PathBuf>,
    #[command(flatten)]
    links: Links,
    /// Make a file for ZODB on Python 2
    #[arg(long)]
    python2: bool,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    let (blobs, blobs_to) = (options.blobs.as_deref(), options.blobs_to.as_deref());
    moving::check_blobs_apart(blobs, blobs_to)?;
    let mut source = StoreSource::open(&options.dir, blobs)?;
    let sink = if options.to.exists() {
        FileSink::append(&options.to)
    } else {
        let magic = if options.python2 { Magic::Python2 } else { Magic::Python3 };
        FileSink::create(&options.to, magic)
    };
    let mut sink = sink.context("cannot export")?.with_last_only();
    if let Some(folder) = blobs_to {
        sink = sink.with_blobs(BlobFolder::create(folder)?, options.links.transfer());
    }
    let copied = moving::go_on("exporting", &mut source, &mut sink, &interrupt)?;
    moving::tell("exported", copied);
    moving::tell_packed_away(&source);
    if copied.interrupted {
        println!("not all of it: the same command goes on");
        return Ok(End::Interrupted);
    }
    Ok(End::Good)
}
