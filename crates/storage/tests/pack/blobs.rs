//! Blobs of what a pack drops.

use std::collections::BTreeSet;
use std::path::PathBuf;

use protocol::{Failure, Oid, Tid};
use storage::{Kind, Location, OpenError, Storage};
use testkit::{Clock, Inbox, SimDisk};

use crate::support::{self, number, small};
use crate::{pack, wait_for_pack};

fn open(disk: &SimDisk) -> Result<std::sync::Arc<dyn Storage>, OpenError> {
    let location = Location { kind: Kind::File("/data".into()), blobs: Some("/blobs".into()) };
    storage::open(&location, small(), &disk.handle(), Clock::new())
}

/// The names of all blobs, which are their tids.
fn files(disk: &SimDisk) -> BTreeSet<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    disk.files("/blobs", ".blob").into_iter().map(name).collect()
}

/// Revisions with blobs, those that a pack drops and those that it keeps.
struct Story {
    dropped: Vec<(Oid, Tid)>,
    kept: Vec<(Oid, Tid)>,
}

fn blob(oid: Oid, round: u64) -> Vec<u8> {
    format!("{oid} {round}").into_bytes()
}

fn tell(storage: &dyn Storage, inbox: &Inbox) -> Story {
    let mut story = Story { dropped: Vec::new(), kept: Vec::new() };
    for oid in (1..=6).map(Oid) {
        let mut serial = Tid::ZERO;
        for round in 0..3 {
            let tid = inbox.commit_blob(storage, oid, serial, &blob(oid, round)).unwrap();
            story.dropped.extend((serial != Tid::ZERO).then_some((oid, serial)));
            serial = tid;
        }
        if oid.0 % 2 == 0 {
            story.kept.push((oid, serial));
            continue;
        }
        story.dropped.push((oid, serial));
        let mut transaction = storage.begin(support::meta());
        transaction.delete(oid, serial).unwrap();
        inbox.vote(&mut *transaction).unwrap();
        inbox.finish(&mut *transaction).unwrap();
    }
    story
}

fn check_end(story: &Story, storage: &dyn Storage, disk: &SimDisk) -> Result<(), String> {
    let inbox = Inbox::new();
    for &(oid, serial) in &story.kept {
        let found = inbox.blob(storage, oid, serial).map_err(|failure| failure.to_string())?;
        if found != blob(oid, 2) {
            return Err(format!("the blob of {oid} is {found:?}"));
        }
    }
    for &(oid, serial) in &story.dropped {
        let found = inbox.blob(storage, oid, serial);
        if found != Err(Failure::UnknownBlob { oid, serial }) {
            return Err(format!("the blob of {oid} as of {serial} is {found:?}"));
        }
    }
    let expected: BTreeSet<_> =
        story.kept.iter().map(|(_, tid)| format!("0x{:016x}.blob", tid.0)).collect();
    let found = files(disk);
    if found == expected { Ok(()) } else { Err(format!("the files are {found:?}")) }
}

/// Whatever a crash leaves of a pack, no blob of a kept record is missing, and when the pack has gone
/// on there is none without a record.
#[test]
fn blobs_go_with_their_records_whenever_the_power_goes() {
    let disk = SimDisk::new();
    let inbox = Inbox::new();
    let storage = open(&disk).unwrap();
    let story = tell(&*storage, &inbox);
    assert_eq!(files(&disk).len(), 18);
    let began = disk.op_count();
    pack(&inbox, &*storage, Tid::MAX).unwrap();
    check_end(&story, &*storage, &disk).unwrap();
    let images = number("CRASH_IMAGES", 4);
    for ops in began..=disk.op_count() {
        for image in 0..images {
            let seed = ops as u64 * images + image;
            let left = disk.power_cut(ops, seed);
            let check = || -> Result<(), String> {
                let storage = open(&left).map_err(|error| error.to_string())?;
                for &(oid, serial) in &story.kept {
                    let found = inbox.blob(&*storage, oid, serial);
                    found.map_err(|failure| format!("before the end: {failure}"))?;
                }
                wait_for_pack(&*storage);
                // The crash may have come before anything of the pack was durable.
                pack(&inbox, &*storage, Tid::MAX).map_err(|failure| failure.to_string())?;
                check_end(&story, &*storage, &left)
            };
            if let Err(what) = check() {
                panic!("after {ops} changes, seed {seed}: {what}\n{:#?}", disk.ops().get(ops - 1));
            }
        }
    }
}
