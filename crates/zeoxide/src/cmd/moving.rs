//! What the commands that move transactions have in common.

use std::path::Path;

use anyhow::{Result, bail};

use crate::End;
use crate::copy::{self, Copied, Extensions, Sink, Source, StoreSource, Transfer};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::text::{size, time};

/// How blobs are moved.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Links {
    /// Make hard links to blobs instead of copies, where the file system can: quick and without
    /// room, and a file that somebody changes changes in both places
    #[arg(long)]
    link: bool,
}

impl Links {
    pub(crate) fn transfer(self) -> Transfer {
        if self.link { Transfer::Link } else { Transfer::Copy }
    }
}

/// Copies what `sink` does not have yet.
pub(crate) fn go_on(
    what: &'static str,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    interrupt: &Interrupt,
) -> Result<Copied> {
    copy::resume(source, sink)?;
    let extent = source.extent();
    let mut progress = Progress::new(what, extent.done, extent.total);
    let copied = copy::copy(source, sink, &mut |extent| {
        progress.tell(extent.done);
        !interrupt.is_set()
    });
    progress.end();
    copied
}

/// Says what was done.
pub(crate) fn tell(verb: &str, copied: Copied) {
    let Copied { transactions, records, bytes, blobs, .. } = copied;
    let bytes = size(bytes);
    let blobs = if blobs > 0 { format!(", {blobs} blobs") } else { String::new() };
    println!("{verb} {transactions} transactions, {records} records, {bytes} of data{blobs}");
}

/// Tells of records that a pack has taken away meanwhile.
pub(crate) fn tell_packed_away(source: &StoreSource) {
    if source.packed_away > 0 {
        println!(
            "left out {} records that were superseded and packed away meanwhile, with their blobs",
            source.packed_away
        );
    }
}

/// Compares a copy with what it was made from, and says how that ends.
pub(crate) fn check(
    original: &mut dyn Source,
    copy: &mut dyn Source,
    interrupt: &Interrupt,
) -> Result<End> {
    let extent = original.extent();
    let mut progress = Progress::new("checking", extent.done, extent.total);
    let compared = copy::compare(original, copy, &mut |extent| {
        progress.tell(extent.done);
        !interrupt.is_set()
    });
    progress.end();
    let compared = compared?;
    if compared.interrupted {
        println!("not all of it was checked");
        return Ok(End::Interrupted);
    }
    if let Some(difference) = compared.difference {
        println!("WRONG: {} is not {}: {difference}", copy.name(), original.name());
        return Ok(End::Wrong);
    }
    tell_extensions(compared.extensions);
    if let Some(first) = compared.relinked.first {
        println!(
            "{} records of transactions that are marked as packed point to the object's record \
             before, as a pack leaves none: an export writes no pointer there; the first is in \
             transaction {first} ({})",
            compared.relinked.count,
            time(first)
        );
    }
    println!("checked {} transactions: all as in {}", compared.transactions, original.name());
    Ok(End::Good)
}

/// Tells of extensions that do not come back byte for byte.
pub(crate) fn tell_extensions(extensions: Extensions) {
    let Extensions { recoded, lost } = extensions;
    if let Some(first) = recoded.first {
        println!(
            "the extension of {} transactions is kept in another encoding, from which no export \
             makes the same bytes; the first is {first} ({})",
            recoded.count,
            time(first)
        );
    }
    if let Some(first) = lost.first {
        println!(
            "the extension of {} transactions was LEFT OUT, as it is no dict of plain values (an \
             object of a Python class, for example); the first is {first} ({})",
            lost.count,
            time(first)
        );
    }
}

/// One blob directory for both would be changed while it is read.
pub(crate) fn check_blobs_apart(from: Option<&Path>, to: Option<&Path>) -> Result<()> {
    let (Some(from), Some(to)) = (from, to) else { return Ok(()) };
    check_apart(from, to, "blobs need one of their own (--link makes it quick)")
}

/// Refuses what would be copied onto itself; `why` it needs two directories.
pub(crate) fn check_apart(from: &Path, to: &Path, why: &str) -> Result<()> {
    if let (Ok(one), Ok(other)) = (from.canonicalize(), to.canonicalize())
        && one == other
    {
        bail!("{} and {} are the same directory: {why}", from.display(), to.display());
    }
    Ok(())
}
