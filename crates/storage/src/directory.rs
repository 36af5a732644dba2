//! The directory of a `file:` storage: whose it is, and that one process has it.
//!
//! ```text
//! DIR/format      the version of what is here and the storage's identity; written last
//! DIR/lock        locked by the process that has the storage open
//! DIR/next-oid    see `oids`
//! DIR/packed      see `pack::file`; absent before the first pack
//! DIR/epochs      see `replica`; absent where there was no replication
//! DIR/segments/   see `log::segments`
//! DIR/torn/       likewise
//! DIR/tmp/        see `commit::spill`; emptied at start
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commit::spill::SpillPool;
use crate::disk::{self, Disk, Lock, Open};
use crate::index::Index;
use crate::log::segments::{Identity, Recovered, SegmentLog, Survey};
use crate::oids::{self, BoundFile, Oids};
use crate::open::{OpenError, Options, Parts};
use crate::pack::{Packed, PackedFile};
use crate::replica::Note;

pub(crate) const FORMAT: &str = "format";
const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp";
const VERSION: &str = "zeoxide storage, format 1";

/// Longer than any `format` of ours.
const MAX_FORMAT_BYTES: usize = 256;

/// A directory that has a storage, or where one may be made. Nothing in it is changed yet.
#[derive(Debug)]
pub(crate) struct Directory {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// `None`: it has no lock file, and a directory that may yet be refused gets none.
    lock: Option<Box<dyn Lock>>,
    /// `None`: there is no storage.
    content: Option<Content>,
}

/// A storage that was read and found to be right.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) log: Survey,
    pub(crate) index: Index,
    found: Recovered,
    oids: Oids,
    pub(crate) packed: Packed,
}

impl Directory {
    /// Whether there is no storage yet.
    pub(crate) fn is_new(&self) -> bool {
        self.content.is_none()
    }

    /// Locks and reads what is in `dir`; changes nothing.
    pub(crate) fn look(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
    ) -> Result<Self, OpenError> {
        check_writable(&**disk, dir)?;
        let names = disk::list_if_there(&**disk, dir).map_err(OpenError::io(dir))?;
        let has_lock = names.iter().any(|name| name == LOCK);
        let lock = has_lock.then(|| take_lock(&**disk, &dir.join(LOCK), dir)).transpose()?;
        let content = Content::find(disk, dir, options)?;
        Ok(Self { disk: Arc::clone(disk), dir: dir.to_owned(), lock, content })
    }

    /// Makes the storage if there is none, and gets it ready for use.
    pub(crate) fn settle(self, options: &Options) -> Result<(Parts, Box<dyn Lock>), OpenError> {
        let Self { disk, dir, lock, content } = self;
        let (lock, content) = match lock {
            Some(lock) => (lock, content),
            None => {
                create_durably(&*disk, &dir).map_err(OpenError::io(&dir))?;
                let lock = take_lock(&*disk, &dir.join(LOCK), &dir)?;
                // Until now nobody was kept out: what was found may be old.
                (lock, Content::find(&disk, &dir, options)?)
            }
        };
        let content = match content {
            Some(content) => content,
            None => Content::read(&disk, &dir, create(&disk, &dir)?, options)?,
        };
        let Content { log, index, found, oids, packed } = content;
        let log = Box::new(log.settle(options)?);
        let temporary = dir.join(TEMPORARY);
        sweep(&*disk, &temporary).map_err(OpenError::io(&temporary))?;
        let packed_file = Some(PackedFile { disk: Arc::clone(&disk), dir: dir.clone() });
        let note = Note::File { disk: Arc::clone(&disk), dir };
        let spill = Some(SpillPool::new(disk, temporary));
        Ok((Parts { log, index, found, oids, spill, packed, packed_file, note }, lock))
    }
}

impl Content {
    /// `None`: there is no storage, and what there is may become one.
    pub(crate) fn find(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
    ) -> Result<Option<Self>, OpenError> {
        let names = disk::list_if_there(&**disk, dir).map_err(OpenError::io(dir))?;
        if names.iter().any(|name| name == FORMAT) {
            let identity = read_format(&**disk, dir)?;
            return Self::read(disk, dir, identity, options).map(Some);
        }
        match is_unfinished(disk, dir, &names) {
            Ok(true) => Ok(None),
            Err(error) if !is_of_another_kind(&error) => Err(OpenError::io(dir)(error)),
            _ if SegmentLog::is_in(&**disk, dir) => Err(OpenError::Missing(dir.join(FORMAT))),
            _ => Err(OpenError::Foreign(dir.to_owned())),
        }
    }

    fn read(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let index = Index::default();
        let (log, mut found) = Survey::read(disk, dir, identity, &index, options)?;
        // Read after the log: where a pack is under way, what is gone from there is told here.
        let packed = PackedFile { disk: Arc::clone(disk), dir: dir.to_owned() }.read()?;
        // Of packed transactions there may be records that are gone.
        found.complete_above = found.complete_above.max(packed.to);
        let bound = BoundFile { disk: Arc::clone(disk), dir: dir.to_owned() };
        let oids = Oids::open(found.max_oid, bound)?;
        Ok(Self { log, index, found, oids, packed })
    }
}

/// Whether a directory without `format` has nothing but what an interrupted [`create`] leaves.
/// Anything else is somebody's, also if it has our names.
fn is_unfinished(disk: &Arc<dyn Disk>, dir: &Path, names: &[String]) -> io::Result<bool> {
    let has_at_most = |path: PathBuf, bytes: usize| -> io::Result<bool> {
        Ok(disk.open(&path, Open::Existing)?.len()? <= bytes as u64)
    };
    let bound = BoundFile { disk: Arc::clone(disk), dir: dir.to_owned() };
    for name in names {
        let path = dir.join(name);
        let is_ours = match name.as_str() {
            LOCK => has_at_most(path, 0)?,
            "format.new" => has_at_most(path, MAX_FORMAT_BYTES)?,
            "next-oid.new" => has_at_most(path, BoundFile::MAX_BYTES)?,
            BoundFile::NAME => bound.is_new()?,
            TEMPORARY => disk.list(&path)?.is_empty(),
            // Looked into below.
            "segments" | "torn" => true,
            // Of the file system.
            "lost+found" => true,
            _ => false,
        };
        if !is_ours {
            return Ok(false);
        }
    }
    SegmentLog::is_unused(&**disk, dir)
}

/// Whether a file was where a directory is expected, or the other way round.
fn is_of_another_kind(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory)
}

/// A storage writes into its directory; a new one is made in the nearest one that exists.
pub(crate) fn check_writable(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    for place in dir.ancestors() {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        match disk.check_writable(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            checked => return checked.map_err(OpenError::io(place)),
        }
    }
    Ok(())
}

/// Keeps other processes out of `dir`, by a file.
pub(crate) fn take_lock(
    disk: &dyn Disk,
    file: &Path,
    dir: &Path,
) -> Result<Box<dyn Lock>, OpenError> {
    disk.lock(file).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(dir.to_owned()),
        _ => OpenError::io(dir)(error),
    })
}

/// Removes the temporary files of earlier processes.
fn sweep(disk: &dyn Disk, temporary: &Path) -> io::Result<()> {
    disk.create_dir(temporary)?;
    let left = disk.list(temporary)?;
    left.iter().try_for_each(|name| disk.remove(&temporary.join(name)))
}

/// Makes a directory and its missing parents, all of them durably.
pub(crate) fn create_durably(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let is_missing = |dir: &&Path| {
        let listed = disk.list(dir);
        listed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let missing: Vec<_> = dir.ancestors().take_while(is_missing).collect();
    disk.create_dir(dir)?;
    missing.into_iter().rev().try_for_each(|new| disk.sync_dir(parent(new)))
}

/// Where the entry of `dir` is.
fn parent(dir: &Path) -> &Path {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

pub(crate) fn read_format(disk: &dyn Disk, dir: &Path) -> Result<Identity, OpenError> {
    let path = dir.join(FORMAT);
    let text = disk::read_start(disk, &path, MAX_FORMAT_BYTES).map_err(OpenError::io(&path))?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines();
    let what = match lines.next() {
        Some(VERSION) => match lines.next().and_then(parse_identity) {
            Some(identity) => return Ok(identity),
            None => "its identity cannot be read".to_owned(),
        },
        other => format!("this version reads {VERSION:?}, not {:?}", other.unwrap_or_default()),
    };
    Err(OpenError::Format { path, what })
}

/// Makes an empty storage; the file that says that it is one comes last.
fn create(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Identity, OpenError> {
    let mut identity = [0; 16];
    getrandom::fill(&mut identity).map_err(|error| OpenError::io(dir)(io::Error::other(error)))?;
    let identity = Identity(identity);
    SegmentLog::create(disk, dir, identity)?;
    let finish = || -> io::Result<()> {
        BoundFile { disk: Arc::clone(disk), dir: dir.to_owned() }.create()?;
        let text = format!("{VERSION}\nidentity {:032x}\n", u128::from_be_bytes(identity.0));
        oids::replace(&**disk, dir, FORMAT, text.as_bytes())?;
        // The directory itself may be new, too.
        disk.sync_dir(parent(dir))
    };
    finish().map_err(OpenError::io(dir))?;
    Ok(identity)
}

fn parse_identity(line: &str) -> Option<Identity> {
    let hex = line.strip_prefix("identity ").filter(|hex| hex.len() == 32)?;
    Some(Identity(u128::from_str_radix(hex, 16).ok()?.to_be_bytes()))
}
