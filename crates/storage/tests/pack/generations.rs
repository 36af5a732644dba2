//! Segments that are rewritten again and again.

use protocol::{Oid, Tid};
use storage::{Options, PackState, Which};
use testkit::{Inbox, SimDisk};

use crate::pack;
use crate::support::{self, small};

/// So often a segment is rewritten before places in it may look like those of long ago.
const GENERATIONS: u64 = 2048;

/// A record is remembered by its place. In a segment that was rewritten so often that places come
/// again, nobody may get what was there before.
#[test]
fn what_was_read_long_ago_is_not_taken_for_what_is_at_its_place_now() {
    let options = Options { cache_bytes: 1 << 20, segment_bytes: 1 << 20, ..small() };
    let storage = support::open(&SimDisk::new(), options).unwrap();
    let inbox = Inbox::new();
    let data = |number: u64| format!("{number:08}").into_bytes();
    let all: Vec<_> = (0..GENERATIONS + 10).map(|oid| (Oid(oid), data(oid))).collect();
    let records: Vec<_> = all.iter().map(|(oid, data)| (*oid, Tid::ZERO, &data[..])).collect();
    let first = inbox.commit(&*storage, &records).unwrap();
    let load = |oid: Oid| {
        let loaded = inbox.load(&*storage, oid, Which::Before(Tid::MAX)).unwrap().unwrap();
        assert_eq!(loaded.data, data(oid.0), "{oid}");
    };
    // What is read twice is kept.
    (0..3).for_each(|_| load(Oid(5)));
    assert!(storage.measures().cache.hits > 0);
    for oid in (0..GENERATIONS).map(Oid) {
        inbox.commit(&*storage, &[(oid, first, &data(oid.0))]).unwrap();
        pack(&inbox, &*storage, Tid::MAX).unwrap();
        let PackState { records_dropped, .. } = storage.measures().pack;
        assert_eq!(records_dropped, 1);
    }
    (0..GENERATIONS + 10).map(Oid).for_each(load);
}
