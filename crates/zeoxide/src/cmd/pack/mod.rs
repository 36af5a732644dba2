//! `zeoxide pack`: drops revisions that are not needed any more, at a server or in a directory.

mod before;
mod directory;
mod server;

use std::path::PathBuf;

use anyhow::Result;
use clap::error::ErrorKind;
use codecs::Endpoint;

use crate::End;
use crate::interrupt::Interrupt;
use crate::server::Connect;

/// Drop revisions that are not needed any more: ask a server to, or do it where no server is
///
/// Of each object the revision that is current as of the given time stays, and all later ones; no
/// garbage is collected. The server goes on serving meanwhile, a read-only connection is enough,
/// and ZEO can be asked, too. How far the pack is comes from the server's own status, and only
/// ours tells it. Interrupting the command leaves the server's pack running.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A listener (zeo://HOST:PORT, proto://HOST:PORT, zeo+unix:///PATH), or the directory of a
    /// storage that no server has open
    #[arg(value_name = "URL|DIR", value_parser = parse_target)]
    target: Target,
    #[command(flatten)]
    before: before::Before,
    /// A storage of the server, by its name; can be given several times [default: 1]
    #[arg(short = 'S', long = "storage", value_name = "NAME")]
    storages: Vec<String>,
    /// Do not wait for the end: `zeoxide status` tells how far the server is
    #[arg(long)]
    no_wait: bool,
    /// The blob directory of the storage in DIR, if it has one: its blobs are packed, too
    #[arg(long, value_name = "DIR")]
    blobs: Option<PathBuf>,
    #[command(flatten)]
    connect: Connect,
}

/// Where to pack.
#[derive(Clone, Debug)]
enum Target {
    Server(Endpoint),
    Directory(PathBuf),
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let before = options.before.tid(&jiff::Zoned::now())?;
    match &options.target {
        Target::Server(_) if options.blobs.is_some() => refuse("--blobs: a server knows its own"),
        Target::Directory(_) if !options.storages.is_empty() => {
            refuse("--storage: a directory has one storage, without a name")
        }
        Target::Directory(_) if options.no_wait => {
            refuse("--no-wait: a directory is packed by this command itself")
        }
        Target::Server(url) => server::run(url, options, before, &Interrupt::catch()?),
        Target::Directory(directory) => {
            directory::run(directory, options.blobs.as_deref(), before, &Interrupt::catch()?)
        }
    }
}

/// What clap cannot find out for itself.
fn refuse(why: &str) -> ! {
    clap::Error::raw(ErrorKind::ArgumentConflict, format!("{why}\n")).exit()
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text.contains("://") {
        return text.parse().map(Target::Server).map_err(|error| format!("{error}"));
    }
    match text.strip_prefix("file:") {
        Some(directory) if directory.contains('?') => {
            Err("a directory is given without file: and ?blobs=, and with --blobs DIR".to_owned())
        }
        Some(directory) => Ok(Target::Directory(directory.into())),
        None => Ok(Target::Directory(text.into())),
    }
}
