//! The cache keeps to its limit, overhead included, as an allocator counts it.
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]
#![allow(clippy::unwrap_used)]

#[path = "../../protocol-msgpack/tests/counting/allocator.rs"]
mod allocator;

use allocator::{BYTES, COUNT};
use bytes::Bytes;
use client::cache::Cache;
use protocol::{Loaded, Oid, Tid};

const LIMIT_BYTES: usize = 4 << 20;

#[test]
fn the_limit_is_kept_with_small_records() {
    // Where the limit ends between two sizes of the tables does not matter.
    for length in [1, 20, 100, 500] {
        let used = used_by(|cache| {
            for oid in (0..100_000).map(Oid) {
                load(cache, oid, Tid(5), None, length);
                // Whoever uses a revision makes a reference count for it.
                cache.find(oid, Tid::MAX);
            }
        });
        assert!(used <= LIMIT_BYTES, "{used} bytes with records of {length}");
        assert!(used >= LIMIT_BYTES / 2, "{used} bytes with records of {length}");
    }
}

#[test]
fn the_limit_is_kept_with_many_revisions_of_few_objects() {
    let used = used_by(|cache| {
        for tid in (10..100_000).map(Tid) {
            load(cache, Oid(tid.0 % 20), tid, Some(tid.next()), 20);
        }
    });
    assert!(used <= LIMIT_BYTES, "{used} bytes");
}

#[test]
fn the_limit_is_kept_where_revisions_displace_each_other() {
    let used = used_by(|cache| {
        for tid in (10..200_000).map(Tid) {
            load(cache, Oid(tid.0 % 7000), tid, None, 20);
        }
    });
    assert!(used <= LIMIT_BYTES, "{used} bytes");
}

fn load(cache: &mut Cache, oid: Oid, tid: Tid, end: Option<Tid>, length: usize) {
    cache.handle_asked(oid);
    let data = Bytes::from(vec![0; length]);
    cache.handle_answered(oid, Some(&Loaded { data, tid, end }));
}

/// Bytes that a cache has allocated after `fill`.
fn used_by(fill: impl FnOnce(&mut Cache)) -> usize {
    let (bytes, count) = (BYTES.get(), COUNT.get());
    let mut cache = Cache::new(LIMIT_BYTES);
    assert_eq!(cache.handle_registered(Tid(1)), Ok(None));
    fill(&mut cache);
    assert!(COUNT.get() > count, "the allocator counts");
    usize::try_from(BYTES.get() - bytes).unwrap()
}
