//! Records that were read lately, so that most reads need no system call.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::index::Place;

/// Checked records by their places, bounded in bytes; a place never changes what it holds.
///
/// The page cache has the same bytes, but asking it costs a system call, several times the price
/// of a look-up here. What goes first when memory runs out is what was read once (S3-FIFO), so a
/// scan does not drive out what is read again and again.
#[derive(Debug)]
pub(super) struct RecordCache(Option<Records>);

type Records = Cache<Key, Arc<[u8]>, ByLength>;

/// Segment and offset.
type Key = (u32, u64);

/// Longer records are left to the page cache: the system call is a small part of their price.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A cache below this holds less than what its shards round away.
const CACHE_BYTES_MIN: usize = 1 << 20;

/// What a record costs besides its data: reference counts, key, hash table and queue.
const OVERHEAD_BYTES: usize = 80;

/// For sizing the tables; a wrong guess costs memory or a rehash, nothing else.
const RECORD_BYTES_GUESSED: usize = 512;

impl RecordCache {
    /// Holds up to `bytes`, data and overhead; nothing below a mebibyte.
    pub(super) fn new(bytes: usize) -> Self {
        Self(
            (bytes >= CACHE_BYTES_MIN).then(|| {
                Cache::with_weighter(bytes / RECORD_BYTES_GUESSED, bytes as u64, ByLength)
            }),
        )
    }

    /// Appends the data at `place` to `data`, if they are here.
    pub(super) fn read(&self, place: Place, data: &mut Vec<u8>) -> bool {
        let found = self.0.as_ref().and_then(|cache| cache.get(&key(place)));
        if let Some(record) = &found {
            data.extend_from_slice(record);
        }
        found.is_some()
    }

    /// Keeps what was found at `place`, and was right.
    pub(super) fn keep(&self, place: Place, data: &[u8]) {
        if let Some(cache) = self.0.as_ref().filter(|_| data.len() <= RECORD_BYTES_MAX) {
            cache.insert(key(place), data.into());
        }
    }
}

fn key(place: Place) -> Key {
    (place.segment, place.offset)
}

#[derive(Clone, Debug)]
struct ByLength;

impl Weighter<Key, Arc<[u8]>> for ByLength {
    fn weight(&self, _: &Key, data: &Arc<[u8]>) -> u64 {
        (data.len() + OVERHEAD_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64, len: usize) -> Place {
        Place { segment: 1, offset, len: len as u32 }
    }

    fn found(cache: &RecordCache, offset: u64) -> Option<Vec<u8>> {
        let mut data = b"before".to_vec();
        cache.read(place(offset, 0), &mut data).then(|| data.split_off(6))
    }

    #[test]
    fn what_is_kept_is_found_until_memory_runs_out() {
        let limit = 1 << 20;
        let cache = RecordCache::new(limit);
        let record = |offset: u64| offset.to_be_bytes().repeat(128);
        for offset in 0..10_000 {
            cache.keep(place(offset, 1024), &record(offset));
            assert_eq!(found(&cache, offset), Some(record(offset)));
        }
        let rest: Vec<u64> =
            (0..10_000).filter(|offset| found(&cache, *offset).is_some()).collect();
        assert!(rest.len() * (1024 + OVERHEAD_BYTES) <= limit, "{} are left", rest.len());
        assert!(rest.len() * (1024 + OVERHEAD_BYTES) > limit / 2, "{} are left", rest.len());
        assert!(rest.into_iter().all(|offset| found(&cache, offset) == Some(record(offset))));
    }

    #[test]
    fn long_records_are_left_to_the_page_cache() {
        let cache = RecordCache::new(8 << 20);
        let long = vec![1; RECORD_BYTES_MAX + 1];
        cache.keep(place(1, long.len()), &long);
        assert_eq!(found(&cache, 1), None);
        cache.keep(place(1, RECORD_BYTES_MAX), &long[1..]);
        assert_eq!(found(&cache, 1).map(|data| data.len()), Some(RECORD_BYTES_MAX));
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let cache = RecordCache::new(0);
        cache.keep(place(1, 3), b"abc");
        assert_eq!(found(&cache, 1), None);
    }
}
