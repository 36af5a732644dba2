//! `zeoxide import`: a storage of ours from a `Data.fs`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::moving::{self, Links};
use crate::End;
use crate::copy::{BlobFolder, Changed, FileSource, StoreSink, StoreSource};
use crate::interrupt::Interrupt;
use crate::text::time;

/// Bring the transactions of a Data.fs into a storage
///
/// What the storage has already must be of this file; the rest follows, so an interrupted import
/// goes on when it is started again. At the end all of it is read back and compared with the file.
/// No server may run on the storage meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The file, which nobody writes to
    #[arg(value_name = "DATA.FS")]
    from: PathBuf,
    /// The storage, made if it is not there: what a server is given as file:DIR
    dir: PathBuf,
    /// The file's blob directory, in the layout 'bushy' or 'lawn'
    ///
    /// Without it nothing has a blob, and those of what is imported cannot be added later.
    #[arg(long, value_name = "BLOBDIR", requires = "blobs")]
    blobs_from: Option<PathBuf>,
    /// The storage's blob directory: what a server is given as file:DIR?blobs=BLOBS
    #[arg(long)]
    blobs: Option<PathBuf>,
    #[command(flatten)]
    links: Links,
    /// Do not read all of it back and compare
    #[arg(long)]
    no_check: bool,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    moving::check_blobs_apart(options.blobs_from.as_deref(), options.blobs.as_deref())?;
    let mut source = open(options)?;
    let blobs = options.blobs.as_deref();
    let mut sink =
        StoreSink::open(&options.dir, blobs, options.links.transfer()).context("cannot import")?;
    let copied = moving::go_on("importing", &mut source, &mut sink, &interrupt);
    let extensions = sink.extensions();
    let closed = sink.close();
    let copied = copied?;
    closed?;
    moving::tell("imported", copied);
    if options.blobs_from.is_none() {
        println!("no blobs were looked for: --blobs-from says where those of the file are");
    }
    if copied.interrupted {
        println!("not all of it: the same command goes on");
        return Ok(End::Interrupted);
    }
    if let Some(torn) = source.torn() {
        println!("left out at offset {}: {}, {} bytes", torn.offset, torn.by, torn.bytes);
    }
    if options.no_check {
        moving::tell_extensions(extensions);
        tell_left_out(&source);
        return Ok(End::Good);
    }
    let mut copy = StoreSource::open(&options.dir, blobs)?;
    let mut original = open(options)?;
    let end = moving::check(&mut original, &mut copy, &interrupt)?;
    tell_left_out(&original);
    Ok(end)
}

/// Says what `source` did not show.
fn tell_left_out(source: &FileSource) {
    if source.undone > 0 {
        println!("left out {} transactions that are marked as undone", source.undone);
    }
    let Changed { count, first } = source.superseded;
    if let Some(first) = first {
        println!(
            "left out {count} records that another one of the same object follows in their \
             transaction (ZEO's server writes those of blobs twice): an export does not have them; \
             the first is in transaction {first} ({})",
            time(first)
        );
    }
}

fn open(options: &Options) -> Result<FileSource> {
    let source = FileSource::open(&options.from)?.with_last_only();
    Ok(match &options.blobs_from {
        Some(folder) => source.with_blobs(BlobFolder::open(folder)?),
        None => source,
    })
}
