//! Records that were read lately, so that most reads need no system call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::index::Place;
use crate::metrics::{CacheUse, Counter};

/// Checked records by their places, bounded in bytes; a place never changes what it holds.
///
/// The page cache has the same bytes, but asking it costs a system call, several times the price
/// of a look-up here. A record is kept when it is read for the second time in a while: to make
/// room for each that is read once costs more than the cache gains where there are many more
/// records than it can hold. What goes first when memory runs out is what was read least (S3-FIFO).
#[derive(Debug)]
pub(super) struct RecordCache(Option<Records>);

#[derive(Debug)]
struct Records {
    cache: Cache<Key, Arc<[u8]>, ByLength>,
    seen: Seen,
    hits: Counter,
    misses: Counter,
}

/// Which places were read lately, roughly: one forgets another, and two may pass for one.
#[derive(Debug)]
struct Seen(Box<[AtomicU32]>);

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
        let records = bytes / RECORD_BYTES_GUESSED;
        Self((bytes >= CACHE_BYTES_MIN).then(|| Records {
            cache: Cache::with_weighter(records, bytes as u64, ByLength),
            seen: Seen((0..records).map(|_| AtomicU32::new(0)).collect()),
            hits: Counter::default(),
            misses: Counter::default(),
        }))
    }

    /// Appends the data at `place` to `data`, if they are here.
    pub(super) fn read(&self, place: Place, data: &mut Vec<u8>) -> bool {
        let Some(records) = &self.0 else {
            return false;
        };
        let found = records.cache.get(&key(place));
        match &found {
            Some(record) => {
                records.hits.add(1);
                data.extend_from_slice(record);
            }
            None => records.misses.add(1),
        }
        found.is_some()
    }

    pub(super) fn clear(&self) {
        if let Some(records) = &self.0 {
            records.cache.clear();
        }
    }

    pub(super) fn usage(&self) -> CacheUse {
        self.0.as_ref().map_or_else(CacheUse::default, |records| CacheUse {
            hits: records.hits.read(),
            misses: records.misses.read(),
            bytes: records.cache.weight(),
        })
    }

    /// Keeps what was found at `place`, and was right, if that is not for the first time.
    pub(super) fn keep(&self, place: Place, data: &[u8]) {
        if let Some(records) = self.0.as_ref().filter(|_| data.len() <= RECORD_BYTES_MAX)
            && records.seen.again(place)
        {
            records.cache.insert(key(place), data.into());
        }
    }
}

impl Seen {
    /// Notes a place; whether it was noted before.
    fn again(&self, place: Place) -> bool {
        let mixed = (u64::from(place.segment).rotate_left(40) ^ place.offset)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Upper bits choose the slot, others tell its places apart; none of them is 0.
        let slot = (u128::from(mixed) * self.0.len() as u128) >> 64;
        let mark = (mixed >> 8) as u32 | 1;
        self.0.get(slot as usize).is_some_and(|slot| slot.swap(mark, Ordering::Relaxed) == mark)
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

    fn keep(cache: &RecordCache, place: Place, data: &[u8]) {
        cache.keep(place, data);
        cache.keep(place, data);
    }

    #[test]
    fn what_is_read_once_takes_no_room() {
        let cache = RecordCache::new(1 << 20);
        let kept = (0..100_u64).map(|n| n << 12);
        kept.clone().for_each(|offset| keep(&cache, place(offset, 1024), &[1; 1024]));
        let once = (1000..50_000_u64).map(|n| n << 12);
        once.clone().for_each(|offset| cache.keep(place(offset, 1024), &[2; 1024]));
        assert_eq!(kept.filter(|offset| found(&cache, *offset).is_some()).count(), 100);
        assert_eq!(once.filter(|offset| found(&cache, *offset).is_some()).count(), 0);
    }

    #[test]
    fn what_is_kept_is_found_until_memory_runs_out() {
        let limit = 1 << 20;
        let cache = RecordCache::new(limit);
        let record = |offset: u64| offset.to_be_bytes().repeat(128);
        for offset in 0..10_000 {
            keep(&cache, place(offset, 1024), &record(offset));
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
        keep(&cache, place(1, long.len()), &long);
        assert_eq!(found(&cache, 1), None);
        keep(&cache, place(1, RECORD_BYTES_MAX), &long[1..]);
        assert_eq!(found(&cache, 1).map(|data| data.len()), Some(RECORD_BYTES_MAX));
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let cache = RecordCache::new(0);
        keep(&cache, place(1, 3), b"abc");
        assert_eq!(found(&cache, 1), None);
    }
}
