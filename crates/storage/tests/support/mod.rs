//! What several tests of the storage share. Not every one uses all of it.
#![allow(dead_code, reason = "each test file compiles its own copy")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use storage::disk::Disk;
use storage::{Kind, Location, Meta, OpenError, Options, Storage};
use testkit::{Clock, SimDisk};

pub(crate) const DIR: &str = "/data";

/// Small, so that segments roll and transactions spill; without a cache, so that reads see the disk.
pub(crate) fn small() -> Options {
    Options {
        invalidation_queue_size: 5,
        segment_bytes: 4096,
        spill_bytes: 600,
        cache_bytes: 0,
        reader_threads: 1,
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimDisk, options: Options) -> Result<Arc<dyn Storage>, OpenError> {
    let location = Location { kind: Kind::File(PathBuf::from(DIR)), blobs: None };
    storage::open(&location, options, &disk.handle(), Clock::new())
}

pub(crate) fn meta() -> Meta {
    Meta { user: "user".into(), description: "what".into(), status: b' ', ..Meta::default() }
}

/// The same disk for itself, as after a restart of the machine without a loss.
pub(crate) fn copy(disk: &SimDisk) -> SimDisk {
    disk.killed(disk.op_count())
}

pub(crate) fn remove_indexes(disk: &SimDisk) {
    for path in disk.files(DIR, ".idx") {
        disk.remove(Path::new(&path)).unwrap();
    }
}

/// The number in an environment variable.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}
