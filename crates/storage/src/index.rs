//! Where every revision is: oid -> revisions, in memory.
//!
//! Oids are dense in practice, so the current revisions of `PAGE_OBJECTS` consecutive oids share
//! a page; superseded revisions are in a list of their own. A reader takes one shard's read lock
//! for a look-up; publication takes its write lock for one insertion, and nothing that holds one
//! ever does I/O or waits.

mod drop;
mod walk;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use protocol::{Oid, Tid};

use crate::api::Which;
use crate::hashing::Hashing;
use walk::Runs;

/// Where a log keeps a revision; only the log knows what the numbers mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Offset within the segment.
    pub offset: u64,
    /// Which segment file, below 2^31.
    pub segment: u32,
    /// Bytes of data, with [`Place::BLOB`] if a blob belongs to them; [`Place::NO_DATA`]: deleted, or
    /// its creation undone.
    pub len: u32,
}

impl Place {
    /// In place of a length.
    pub const NO_DATA: u32 = u32::MAX;
    /// Added to a length.
    pub const BLOB: u32 = 1 << 31;
    /// Data are shorter.
    pub const DATA_BYTES_END: usize = Self::BLOB as usize - 1;

    /// Whether the object existed as of this revision.
    pub fn has_data(self) -> bool {
        self.len != Self::NO_DATA
    }

    /// Bytes of data; 0 if it has none.
    pub fn data_bytes(self) -> u32 {
        if self.has_data() { self.len & !Self::BLOB } else { 0 }
    }

    /// Whether a blob belongs to this revision.
    pub fn has_blob(self) -> bool {
        self.has_data() && self.len & Self::BLOB != 0
    }
}

/// A revision of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Zero: there is none.
    pub tid: Tid,
    /// Where its data are.
    pub place: Place,
}

/// What the index knows of a revision that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// There is no such object (or revision).
    Unknown,
    /// The object's first revision is not below the bound.
    Younger,
    /// This one (it may have no data).
    Revision {
        /// Which it is.
        revision: Revision,
        /// The tid of the one after it; `None`: it is current.
        end: Option<Tid>,
    },
}

/// See the module. A storage has its own; this is public for measuring it.
#[derive(Debug)]
pub struct Index {
    shards: Box<[RwLock<Shard>]>,
    runs: Runs,
    objects: AtomicU64,
}

/// Consecutive oids whose current revisions lie together: 24 bytes an object where oids are dense,
/// 400 where they are far apart.
const PAGE_OBJECTS: u64 = 16;
const SHARDS: u64 = 64;

type Page = [Current; PAGE_OBJECTS as usize];

#[derive(Debug, Default)]
struct Shard {
    pages: HashMap<u64, Box<Page>, Hashing>,
    /// Superseded revisions by oid, ascending.
    older: HashMap<Oid, Vec<Revision>, Hashing>,
    /// Revisions in `older`.
    superseded: usize,
}

/// A [`Revision`] and, in the top bit of the segment number, whether there are older ones.
#[derive(Clone, Copy, Debug, Default)]
struct Current(Revision);

impl Current {
    const OLDER: u32 = 1 << 31;

    fn new(mut revision: Revision, has_older: bool) -> Self {
        debug_assert!(revision.place.segment < Self::OLDER);
        if has_older {
            revision.place.segment |= Self::OLDER;
        }
        Self(revision)
    }

    fn revision(self) -> Option<Revision> {
        let mut revision = self.0;
        revision.place.segment &= !Self::OLDER;
        (revision.tid != Tid::ZERO).then_some(revision)
    }

    fn has_older(self) -> bool {
        self.0.place.segment & Self::OLDER != 0
    }
}

impl Default for Index {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, runs: Runs::default(), objects: AtomicU64::new(0) }
    }
}

impl Index {
    /// Number of objects, deleted ones included.
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// Number of revisions of all objects.
    pub fn revisions(&self) -> u64 {
        let superseded = |shard: &RwLock<Shard>| {
            shard.read().unwrap_or_else(PoisonError::into_inner).superseded as u64
        };
        self.objects() + self.shards.iter().map(superseded).sum::<u64>()
    }

    /// Memory taken, about: what the tables and pages of all shards have room for.
    pub fn memory_bytes(&self) -> u64 {
        let bytes = |shard: &RwLock<Shard>| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let pages = shard.pages.capacity() * size_of::<(u64, Box<Page>)>()
                + shard.pages.len() * size_of::<Page>();
            let older = shard.older.capacity() * size_of::<(Oid, Vec<Revision>)>()
                + shard.superseded * size_of::<Revision>();
            (pages + older) as u64
        };
        self.shards.iter().map(bytes).sum()
    }

    /// Makes `revision` the current one of `oid`. Its tid is above that of the one before.
    pub fn publish(&self, oid: Oid, revision: Revision) {
        // A shard is whole between any two statements that can panic.
        let mut guard = self.shard(oid).write().unwrap_or_else(PoisonError::into_inner);
        let shard = &mut *guard;
        let page = match shard.pages.entry(oid.0 / PAGE_OBJECTS) {
            Entry::Occupied(page) => page.into_mut(),
            Entry::Vacant(vacant) => {
                self.runs.add(*vacant.key());
                vacant.insert(Box::default())
            }
        };
        let Some(slot) = page.get_mut(position(oid)) else {
            return;
        };
        let previous = slot.revision();
        *slot = Current::new(revision, previous.is_some());
        match previous {
            Some(previous) => {
                debug_assert!(previous.tid < revision.tid, "revisions are published in tid order");
                shard.older.entry(oid).or_default().push(previous);
                shard.superseded += 1;
            }
            None => {
                self.objects.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The current revision, with data or without.
    pub fn current(&self, oid: Oid) -> Option<Revision> {
        self.read(oid).current(oid)?.revision()
    }

    /// The revision asked for and the tid of the one after it.
    pub fn find(&self, oid: Oid, which: Which) -> Lookup {
        let shard = self.read(oid);
        let Some((current, slot)) =
            shard.current(oid).and_then(|slot| Some((slot.revision()?, slot)))
        else {
            return Lookup::Unknown;
        };
        let newest = match which {
            Which::Before(before) => current.tid < before,
            Which::Serial(serial) => current.tid == serial,
        };
        if newest {
            return Lookup::Revision { revision: current, end: None };
        }
        let older = if slot.has_older() { shard.older(oid) } else { &[] };
        let (position, missing) = match which {
            Which::Before(before) => {
                (older.partition_point(|revision| revision.tid < before).checked_sub(1), {
                    Lookup::Younger
                })
            }
            Which::Serial(serial) => {
                (older.binary_search_by_key(&serial, |revision| revision.tid).ok(), Lookup::Unknown)
            }
        };
        let Some((position, &revision)) = position.and_then(|i| Some((i, older.get(i)?))) else {
            return missing;
        };
        let end = older.get(position + 1).map_or(current.tid, |next| next.tid);
        Lookup::Revision { revision, end: Some(end) }
    }

    fn shard(&self, oid: Oid) -> &RwLock<Shard> {
        let page = oid.0 / PAGE_OBJECTS;
        // Fibonacci hashing: neighbouring pages land in different shards.
        let hash = page.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        #[expect(clippy::indexing_slicing, reason = "there are SHARDS shards")]
        &self.shards[(hash % SHARDS) as usize]
    }

    fn read(&self, oid: Oid) -> RwLockReadGuard<'_, Shard> {
        self.shard(oid).read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn current(&self, oid: Oid) -> Option<Current> {
        self.pages.get(&(oid.0 / PAGE_OBJECTS))?.get(position(oid)).copied()
    }

    fn older(&self, oid: Oid) -> &[Revision] {
        self.older.get(&oid).map_or(&[], Vec::as_slice)
    }
}

fn position(oid: Oid) -> usize {
    (oid.0 % PAGE_OBJECTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(tid: u64) -> Revision {
        Revision { tid: Tid(tid), place: Place { offset: tid * 100, segment: 1, len: 3 } }
    }

    #[test]
    fn every_revision_is_found_at_every_tid() {
        let index = Index::default();
        let oid = Oid(u64::MAX);
        assert_eq!(index.find(oid, Which::Before(Tid::MAX)), Lookup::Unknown);
        for tid in [10, 20, 30] {
            index.publish(oid, revision(tid));
        }
        index.publish(Oid(u64::MAX - 1), revision(25));
        let at = |before| index.find(oid, Which::Before(Tid(before)));
        let found = |tid, end| Lookup::Revision { revision: revision(tid), end };
        assert_eq!(at(10), Lookup::Younger);
        assert_eq!(at(11), found(10, Some(Tid(20))));
        assert_eq!(at(20), found(10, Some(Tid(20))));
        assert_eq!(at(30), found(20, Some(Tid(30))));
        assert_eq!(at(31), found(30, None));
        let exactly = |serial| index.find(oid, Which::Serial(Tid(serial)));
        assert_eq!(exactly(20), found(20, Some(Tid(30))));
        assert_eq!(exactly(30), found(30, None));
        assert_eq!(exactly(21), Lookup::Unknown);
        assert_eq!(index.current(oid), Some(revision(30)));
        assert_eq!(index.current(Oid(u64::MAX - 2)), None);
        assert_eq!(index.objects(), 2);
    }
}
