//! What several tests of the storage share. Not every one uses all of it.
#![allow(dead_code, reason = "each test file compiles its own copy")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::Oid;
use storage::disk::{Disk, Open};
use storage::{Kind, Location, Meta, OpenError, Options, Reads, Storage};
use testkit::{Clock, Draft, Inbox, Model, SimDisk, Write};

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

/// Same, with segments that are read through mappings.
pub(crate) fn mapped() -> Options {
    Options { reads: Reads::Mapped, ..small() }
}

pub(crate) fn location() -> Location {
    Location { kind: Kind::File(PathBuf::from(DIR)), blobs: None }
}

pub(crate) fn open(disk: &SimDisk, options: Options) -> Result<Arc<dyn Storage>, OpenError> {
    open_with(disk, options, Clock::new())
}

pub(crate) fn open_with(
    disk: &SimDisk,
    options: Options,
    clock: Arc<dyn storage::Clock>,
) -> Result<Arc<dyn Storage>, OpenError> {
    storage::open(&location(), options, &disk.handle(), clock)
}

pub(crate) fn in_memory(options: Options) -> Arc<dyn Storage> {
    let location = Location { kind: Kind::Memory, blobs: None };
    storage::open(&location, options, &SimDisk::new().handle(), Clock::new()).unwrap()
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

/// Several segments, the last one without an index; opened twice, so that indexes have parts.
pub(crate) fn written() -> (SimDisk, Model) {
    let disk = SimDisk::new();
    let mut model = Model::new();
    for clean in [true, false] {
        let storage = open(&disk, small()).unwrap();
        let inbox = Inbox::new();
        for number in 0..14u8 {
            let (own, shared) = (Oid(100 + u64::from(number)), Oid(1));
            let data = vec![number; 200 + 60 * usize::from(number % 5)];
            let records = [own, shared].map(|oid| (oid, model.serial(oid), &data[..]));
            let tid = inbox.commit(&*storage, &records).unwrap();
            let mut draft = Draft::default();
            for (oid, serial, data) in records {
                let data = data.to_vec().into();
                draft.write(oid, Write::Store { serial, data });
            }
            model.apply(tid, &draft);
        }
        if clean {
            storage.close();
        }
    }
    (disk, model)
}

pub(crate) fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let segments = disk.files("/data/segments", ".log");
    assert!(segments.len() > 2, "{segments:?}");
    segments
}

/// Cuts or extends a file.
pub(crate) fn resize(disk: &SimDisk, path: &Path, len: usize) {
    disk.open(path, Open::Existing).unwrap().set_len(len as u64).unwrap();
}
