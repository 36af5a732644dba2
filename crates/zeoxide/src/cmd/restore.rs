//! `zeoxide restore`: a new storage from a repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use protocol::Tid;

use super::backup::repository_blobs;
use super::moving::{self, Links};
use crate::End;
use crate::copy::{StoreSink, StoreSource};
use crate::interrupt::Interrupt;
use crate::text::parse_moment;

/// Make a storage from what was backed up, as of any time
///
/// It gets its name when all of it is there and was compared with the repository: until then it is
/// in DIR.restoring, where the same command goes on after an interrupt.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What `zeoxide backup` has made
    repository: PathBuf,
    /// The storage, which must not be there
    dir: PathBuf,
    /// The last transaction that is restored, by its tid or by a time in UTC as
    /// 2026-11-01T00:01:02Z [default: all]
    #[arg(long, value_name = "TID-OR-TIME", value_parser = parse_moment)]
    until: Option<Tid>,
    /// The new blob directory, which must not be there either [default: DIR/blobs]
    #[arg(long)]
    blobs: Option<PathBuf>,
    #[command(flatten)]
    links: Links,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    let mut unfinished = options.dir.as_os_str().to_owned();
    unfinished.push(".restoring");
    let unfinished = PathBuf::from(unfinished);
    let resumes = unfinished.exists();
    for path in [Some(&options.dir), options.blobs.as_ref().filter(|_| !resumes)] {
        if let Some(path) = path.filter(|path| path.symlink_metadata().is_ok()) {
            bail!("{} is there already: nothing is restored over it", path.display());
        }
    }
    let from = repository_blobs(&options.repository);
    let from = from.exists().then_some(from);
    let blobs = options.blobs.clone().unwrap_or_else(|| repository_blobs(&unfinished));
    let blobs = from.is_some().then_some(blobs);
    let open = || {
        let mut source = StoreSource::open(&options.repository, from.as_deref())?;
        source.limit(options.until.unwrap_or(Tid::MAX));
        anyhow::Ok(source)
    };
    let mut source = open()?;
    let mut sink = StoreSink::open(&unfinished, blobs.as_deref(), options.links.transfer())
        .context("cannot restore")?;
    let copied = moving::go_on("restoring", &mut source, &mut sink, &interrupt);
    sink.close()?;
    let copied = copied?;
    moving::tell("restored", copied);
    if copied.interrupted {
        println!("not all of it: the same command goes on");
        return Ok(End::Interrupted);
    }
    let mut copy = StoreSource::open(&unfinished, blobs.as_deref())?;
    let end = moving::check(&mut open()?, &mut copy, &interrupt)?;
    if end == End::Good {
        rename(&unfinished, &options.dir)
            .with_context(|| format!("cannot rename {}", unfinished.display()))?;
    }
    Ok(end)
}

/// Durably.
fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::rename(from, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
