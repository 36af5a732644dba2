//! What is in a blob directory, for whoever looks at all of it.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use protocol::{Oid, Tid};

use super::PRIVATE;
use super::names::{Leftover, tid_of};
use crate::disk::{self, Disk};

/// What is left of uploads and commits, or is in use by them.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    pub(crate) uploads: u64,
    /// Of these objects there may be blobs without a record.
    pub(crate) intents: HashSet<Oid>,
}

impl Unfinished {
    pub(crate) fn find(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for name in disk::list_if_there(disk, &dir.join(PRIVATE))? {
            match Leftover::of(&name) {
                Some(Leftover::Upload) => found.uploads += 1,
                Some(Leftover::Intent(oid)) => _ = found.intents.insert(oid),
                None => {}
            }
        }
        Ok(found)
    }
}

/// Tells of all blobs in `dir`, while `each` wants more.
pub(crate) fn each_blob(
    disk: &dyn Disk,
    dir: &Path,
    each: &mut dyn FnMut(Oid, Tid, PathBuf) -> bool,
) -> io::Result<bool> {
    walk(disk, dir, 0, 0, each)
}

/// `oid`: its first `depth` bytes, which `dir` stands for.
fn walk(
    disk: &dyn Disk,
    dir: &Path,
    depth: u32,
    oid: u64,
    each: &mut dyn FnMut(Oid, Tid, PathBuf) -> bool,
) -> io::Result<bool> {
    // Directories and files may go meanwhile.
    for name in disk::list_if_there(disk, dir)? {
        let path = dir.join(&name);
        let goes_on = if depth == OID_BYTES {
            tid_of(&name).is_none_or(|tid| each(Oid(oid), tid, path))
        } else if let Some(byte) = byte_of(&name) {
            walk(disk, &path, depth + 1, oid << 8 | u64::from(byte), each)?
        } else {
            true
        };
        if !goes_on {
            return Ok(false);
        }
    }
    Ok(true)
}

fn byte_of(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("0x").filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(digits, 16).ok()
}

const OID_BYTES: u32 = 8;
