//! Blobs come along with their records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Failure, Oid, Tid};
use storage::replica::{Role, Step};
use storage::{Kind, Location, Storage};
use testkit::{Clock, Inbox, SimDisk};

use crate::{replica, support};

fn open(disk: &SimDisk, role: Role) -> Arc<dyn Storage> {
    let blobs = Some("/blobs".into());
    let location = Location { kind: Kind::File(support::DIR.into()), blobs };
    let storage = storage::open(&location, support::small(), &disk.handle(), Clock::new()).unwrap();
    replica(&storage).set_role(role).unwrap();
    storage
}

/// Copies all transactions and blobs; if `is_cut`, it stops in the middle of the first one.
fn copy(from: &Arc<dyn Storage>, to: &Arc<dyn Storage>, is_cut: bool) -> Result<(), Failure> {
    let (source, target) = (replica(from), replica(to));
    let mut feed = source.feed(target.position().tid)?.unwrap();
    let mut incoming = target.incoming();
    loop {
        match feed.next()? {
            Step::Begin(head) => incoming.begin(head)?,
            Step::Record(record) => {
                let (oid, tid) = (record.oid, record.tid);
                let blob = source.blob(oid, tid)?.filter(|_| record.has_blob);
                if let Some(file) = blob {
                    let upload = target.upload()?;
                    for offset in 0..file.len() {
                        upload.write_here(&file.read(offset, 1).map_err(Failure::Storage)?);
                    }
                    incoming.blob(oid, upload)?;
                }
                incoming.record(record)?;
            }
            Step::End(_) if is_cut => return Ok(()),
            Step::End(digest) => assert!(incoming.end(digest)?),
            Step::AtEnd => return incoming.apply().map(drop),
            Step::Packed => panic!("packed"),
        }
    }
}

/// Files of blobs, of intents and of uploads.
fn files(disk: &SimDisk) -> usize {
    ["blob", "intent", "upload"].map(|suffix| disk.files("/blobs", suffix).len()).iter().sum()
}

#[test]
fn blobs_come_along_and_nothing_is_left_of_those_that_do_not() {
    let (from_disk, to_disk) = (SimDisk::new(), SimDisk::new());
    let (from, to) = (open(&from_disk, Role::Primary), open(&to_disk, Role::Secondary));
    let inbox = Inbox::new();
    let blobs: [(Oid, &[u8]); 2] = [(Oid(1), b"some bytes"), (Oid(2), b"")];
    let tids = blobs.map(|(oid, blob)| inbox.commit_blob(&*from, oid, Tid::ZERO, blob).unwrap());
    copy(&from, &to, true).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while files(&to_disk) > 0 {
        assert!(Instant::now() < deadline, "an upload for nothing stays");
        std::thread::yield_now();
    }
    copy(&from, &to, false).unwrap();
    for ((oid, blob), tid) in blobs.into_iter().zip(tids) {
        assert_eq!(inbox.blob(&*to, oid, tid).unwrap(), blob);
    }
    to.close();
    drop(to);
    let after = to_disk.power_cut(to_disk.op_count(), 1);
    let to = open(&after, Role::Secondary);
    for ((oid, blob), tid) in blobs.into_iter().zip(tids) {
        assert_eq!(inbox.blob(&*to, oid, tid).unwrap(), blob);
    }
    assert_eq!(files(&after), 2);
}

/// A record can say that it has a blob, and the blob stay where it was.
#[test]
fn a_copy_without_blobs_has_the_same_history() {
    let (from_disk, to_disk) = (SimDisk::new(), SimDisk::new());
    let from = open(&from_disk, Role::Primary);
    let inbox = Inbox::new();
    let tid = inbox.commit_blob(&*from, Oid(1), Tid::ZERO, b"bytes").unwrap();
    let to = crate::secondary(&to_disk);
    crate::follow(&replica(&from), &replica(&to), 1).unwrap();
    assert!(inbox.blob(&*to, Oid(1), tid).is_err());
    assert!(!replica(&to).has_blobs());
    assert_eq!(replica(&from).digest_at(tid).unwrap(), replica(&to).digest_at(tid).unwrap());
}

#[test]
fn a_blob_that_is_missing_is_told() {
    let disk = SimDisk::new();
    let from = open(&disk, Role::Primary);
    let tid = Inbox::new().commit_blob(&*from, Oid(1), Tid::ZERO, b"bytes").unwrap();
    for path in disk.files("/blobs", ".blob") {
        storage::disk::Disk::remove(&disk, &path).unwrap();
    }
    let to = open(&SimDisk::new(), Role::Secondary);
    assert_eq!(copy(&from, &to, false), Err(Failure::UnknownBlob { oid: Oid(1), serial: tid }));
}
