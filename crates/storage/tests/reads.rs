//! Reading through the page cache and through mappings: who waits, and for what.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use protocol::{Oid, Tid};
use storage::{Found, Storage, Which};
use testkit::{Inbox, SimDisk};

use support::{mapped, open, segments, small};

fn load(storage: &dyn Storage, oid: Oid) -> (Found, Vec<u8>) {
    let mut data = Vec::new();
    (storage.load(oid, Which::Before(Tid::MAX), &mut data).unwrap(), data)
}

/// By `pread` it is answered later, through a mapping at once: a fault is nothing that a thread
/// can see.
#[test]
fn what_is_not_cached_makes_only_those_wait_who_read_through_mappings() {
    let disk = SimDisk::new();
    let tid = {
        let storage = open(&disk, small()).unwrap();
        Inbox::new().commit(&*storage, &[(Oid(1), Tid::ZERO, b"data")]).unwrap()
    };
    disk.set_cached(false);
    assert_eq!(load(&*open(&disk, small()).unwrap(), Oid(1)), (Found::Later, Vec::new()));
    let there = (Found::Revision { tid, end: None }, b"data".to_vec());
    assert_eq!(load(&*open(&disk, mapped()).unwrap(), Oid(1)), there);
}

#[test]
fn segments_are_read_through_mappings_while_they_grow() {
    let disk = SimDisk::new();
    let storage = open(&disk, mapped()).unwrap();
    let inbox = Inbox::new();
    // So that only what is mapped is found at once.
    disk.set_cached(false);
    for number in 0..60 {
        let data = vec![number; 200];
        let oid = Oid(u64::from(number));
        let tid = inbox.commit(&*storage, &[(oid, Tid::ZERO, &data)]).unwrap();
        assert_eq!(load(&*storage, oid), (Found::Revision { tid, end: None }, data));
    }
    assert!(segments(&disk).len() > 3);
    for number in 0..60 {
        assert_eq!(load(&*storage, Oid(u64::from(number))).1, [number; 200]);
    }
}
