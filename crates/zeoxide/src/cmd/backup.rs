//! `zeoxide backup`: a storage of ours into another one, again and again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::moving::{self, Links};
use crate::End;
use crate::copy::{Sink as _, Source as _, StoreSink, StoreSource};
use crate::interrupt::Interrupt;
use crate::text::time;

/// Add to a repository what a storage has committed since the last backup
///
/// The repository is a storage, too, with its blobs in REPOSITORY/blobs: it can be restored,
/// exported and served, and keeps what the other one has packed away since. A server may go on
/// using the storage; the backup has what was there when it began.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The storage: what a server is given as file:DIR
    dir: PathBuf,
    /// The repository, made if it is not there
    repository: PathBuf,
    /// The storage's blob directory: what a server is given as file:DIR?blobs=BLOBS
    #[arg(long)]
    blobs: Option<PathBuf>,
    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    moving::check_apart(&options.dir, &options.repository, "a repository needs one of its own")?;
    let mut source = StoreSource::open(&options.dir, options.blobs.as_deref())?;
    let blobs = repository_blobs(&options.repository);
    let wants_blobs = options.blobs.is_some() || blobs.exists();
    let blobs = wants_blobs.then_some(blobs.as_path());
    moving::check_blobs_apart(options.blobs.as_deref(), blobs)?;
    let mut sink = StoreSink::open(&options.repository, blobs, options.links.transfer())
        .context("cannot back up")?;
    let had = sink.last_tid();
    let copied = moving::go_on("backing up", &mut source, &mut sink, &interrupt);
    let last = sink.last_tid();
    sink.close()?;
    let copied = copied?;
    moving::tell("backed up", copied);
    moving::tell_packed_away(&source);
    if let Some(had) = had.filter(|had| source.packed_to() > *had) {
        println!(
            "the storage was packed up to {}, after the backup before this one ({}): revisions \
             between them that were superseded are not in the repository",
            time(source.packed_to()),
            time(had)
        );
    }
    if copied.interrupted {
        println!("not all of it: the same command goes on");
        return Ok(End::Interrupted);
    }
    if let Some(last) = last {
        println!("the repository has all up to {last} ({})", time(last));
    }
    Ok(End::Good)
}

/// Where a repository has its blobs.
pub(super) fn repository_blobs(repository: &Path) -> PathBuf {
    repository.join("blobs")
}
