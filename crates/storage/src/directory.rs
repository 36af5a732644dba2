//! The directory of a `file:` storage: whose it is, and that one process has it.
//!
//! ```text
//! DIR/format      the version of what is here and the storage's identity; written last
//! DIR/lock        locked by the process that has the storage open
//! DIR/next-oid    see `oids`
//! DIR/segments/   see `log::segments`
//! DIR/torn/       likewise
//! DIR/tmp/        see `commit::spill`; emptied at start
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, Lock, Open};
use crate::log::segments::{Identity, SegmentLog};
use crate::oids::{self, BoundFile};
use crate::open::OpenError;

const FORMAT: &str = "format";
const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp";
const VERSION: &str = "zeoxide storage, format 1";

/// What an interrupted creation may leave.
const OURS: [&str; 8] =
    [LOCK, "format.new", "next-oid", "next-oid.new", "segments", "torn", TEMPORARY, "lost+found"];

/// Where transactions keep temporary files.
pub(crate) fn temporary(dir: &Path) -> PathBuf {
    dir.join(TEMPORARY)
}

/// Takes the lock of a storage's directory; makes an empty storage if there is nothing.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
) -> Result<(Box<dyn Lock>, Identity), OpenError> {
    let exists = match disk.list(dir) {
        Ok(names) => {
            let known = names.iter().any(|name| name == FORMAT);
            if !known && !names.iter().all(|name| OURS.contains(&name.as_str())) {
                return Err(OpenError::Foreign(dir.to_owned()));
            }
            known
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_durably(&**disk, dir).map_err(OpenError::io(dir))?;
            false
        }
        Err(error) => return Err(OpenError::io(dir)(error)),
    };
    let lock = disk.lock(&dir.join(LOCK)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked(dir.to_owned()),
        _ => OpenError::io(dir)(error),
    })?;
    let identity = if exists { read_format(disk, dir)? } else { create(disk, dir)? };
    let temporary = temporary(dir);
    let sweep = || -> io::Result<()> {
        disk.create_dir(&temporary)?;
        let left = disk.list(&temporary)?;
        left.iter().try_for_each(|name| disk.remove(&temporary.join(name)))
    };
    sweep().map_err(OpenError::io(&temporary))?;
    Ok((lock, identity))
}

/// Makes a directory and its missing parents, all of them durably.
fn create_durably(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
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

fn read_format(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Identity, OpenError> {
    let path = dir.join(FORMAT);
    let read = || -> io::Result<String> {
        let file = disk.open(&path, Open::Existing)?;
        let mut bytes = vec![0; file.len()?.min(256) as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().map_err(OpenError::io(&path))?;
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
        BoundFile { disk: Arc::clone(disk), dir: dir.to_owned() }.write(1)?;
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
