//! A blob directory at a start: whose it is, and what a crash left in it.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use protocol::Oid;

use super::names::{Leftover, object_dir, tid_of};
use super::{BlobStore, PRIVATE, THREADS, ignore_missing};
use crate::api::Which;
use crate::directory::{check_writable, create_durably, take_lock};
use crate::disk::{self, Disk, Lock};
use crate::index::{Index, Lookup};
use crate::oids;
use crate::open::OpenError;
use crate::pool::Pool;

/// A directory that has blobs or where they may be put. Nothing in it is changed yet.
#[derive(Debug)]
pub(crate) struct Survey {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// `None`: it has no lock file.
    lock: Option<Box<dyn Lock>>,
}

impl Survey {
    /// Looks at a directory and locks it; changes nothing.
    pub(crate) fn look(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        check_directory(&**disk, dir)?;
        check_writable(&**disk, dir)?;
        let private = dir.join(PRIVATE);
        let names = disk::list_if_there(&**disk, &private).map_err(OpenError::io(&private))?;
        let has_lock = names.iter().any(|name| name == LOCK);
        let lock = has_lock.then(|| lock(&**disk, dir)).transpose()?;
        Ok(Self { disk: Arc::clone(disk), dir: dir.to_owned(), lock })
    }

    /// Makes the directory if there is none, and removes what belongs to no revision of `index`.
    pub(crate) fn settle(self, index: &Index) -> Result<Arc<BlobStore>, OpenError> {
        let Self { disk, dir, lock: taken } = self;
        let private = dir.join(PRIVATE);
        create_durably(&*disk, &private).map_err(OpenError::io(&private))?;
        let lock = match taken {
            Some(lock) => lock,
            None => lock(&*disk, &dir)?,
        };
        let create = || -> io::Result<()> {
            disk.create_dir(&dir.join(TEMPORARY))?;
            if !disk.list(&dir)?.iter().any(|name| name == LAYOUT) {
                oids::replace(&*disk, &dir, LAYOUT, BUSHY.as_bytes())?;
            }
            disk.sync_dir(&dir)
        };
        create().map_err(OpenError::io(&dir))?;
        sweep(&*disk, &dir, index).map_err(OpenError::io(&private))?;
        Ok(Arc::new(BlobStore {
            disk,
            dir,
            pool: Pool::new(THREADS).map_err(OpenError::Thread)?,
            created: AtomicU64::new(0),
            durable: Mutex::new(HashSet::new()),
            _lock: lock,
        }))
    }
}

/// Checks that a directory has blobs as we keep them, or may get them.
pub(crate) fn check_directory(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    let names = disk::list_if_there(disk, dir).map_err(OpenError::io(dir))?;
    if names.iter().any(|name| name == LAYOUT) {
        return check_layout(disk, &dir.join(LAYOUT));
    }
    if is_unused(disk, dir, &names).map_err(OpenError::io(dir))? {
        return Ok(());
    }
    let what = "it has files, but no file .layout, so it is no blob directory of ZODB's 'bushy' \
                layout (it may be one of the old 'lawn' layout: ZODB's migrateblobs converts that); \
                nothing was changed";
    Err(refused(dir, what))
}

/// Removes what uploads and transactions that were not finished have left.
fn sweep(disk: &dyn Disk, dir: &Path, index: &Index) -> io::Result<()> {
    let private = dir.join(PRIVATE);
    let names = disk.list(&private)?;
    let mut looked_at = BTreeSet::new();
    for name in &names {
        match Leftover::of(name) {
            Some(Leftover::Intent(oid)) if looked_at.insert(oid) => {
                sweep_object(disk, dir, oid, index)?
            }
            _ => {}
        }
    }
    // The intents go last: a crash meanwhile is one like the first.
    let ours = names.iter().filter(|name| Leftover::of(name).is_some());
    ours.map(|name| private.join(name)).try_for_each(|path| ignore_missing(disk.remove(&path)))
}

fn sweep_object(disk: &dyn Disk, dir: &Path, oid: Oid, index: &Index) -> io::Result<()> {
    let object = object_dir(dir, oid);
    let names = disk::list_if_there(disk, &object)?;
    let mut removed = false;
    for name in names {
        let Some(tid) = tid_of(&name) else {
            continue;
        };
        let known = index.find(oid, Which::Serial(tid));
        if !matches!(known, Lookup::Revision { revision, .. } if revision.place.has_blob()) {
            let path = object.join(name);
            tracing::info!("{}: its transaction was not finished; removed", path.display());
            disk.remove(&path)?;
            removed = true;
        }
    }
    if removed { disk.sync_dir(&object) } else { Ok(()) }
}

fn check_layout(disk: &dyn Disk, path: &Path) -> Result<(), OpenError> {
    let text = disk::read_start(disk, path, LAYOUT_BYTES_MAX).map_err(OpenError::io(path))?;
    match String::from_utf8_lossy(&text).trim() {
        BUSHY => Ok(()),
        "lawn" => {
            let what = "the layout 'lawn' is not served, only 'bushy': ZODB's migrateblobs converts \
                        the directory; nothing was changed";
            Err(refused(path, what))
        }
        other => {
            let what =
                format!("the layout {other:?} is not known, only 'bushy'; nothing was changed");
            Err(refused(path, &what))
        }
    }
}

/// Whether a directory without a layout has only what an interrupted creation leaves, or what is
/// hidden, as ZODB has it.
fn is_unused(disk: &dyn Disk, dir: &Path, names: &[String]) -> io::Result<bool> {
    for name in names {
        let is_unused = match name.as_str() {
            TEMPORARY => disk.list(&dir.join(TEMPORARY))?.is_empty(),
            "lost+found" => true,
            other => other.starts_with('.'),
        };
        if !is_unused {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Lock>, OpenError> {
    take_lock(disk, &dir.join(PRIVATE).join(LOCK), dir)
}

fn refused(path: &Path, what: &str) -> OpenError {
    OpenError::Blobs { path: path.to_owned(), what: what.to_owned() }
}

const LAYOUT: &str = ".layout";
const BUSHY: &str = "bushy";
const TEMPORARY: &str = "tmp";
const LOCK: &str = ".lock";

/// Longer than any name of a layout.
const LAYOUT_BYTES_MAX: usize = 64;
