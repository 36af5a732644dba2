//! Forgets revisions, and moves them: what a pack does.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use protocol::{Oid, Tid};

use super::{Current, Index, PAGE_OBJECTS, Page, Place, Revision, Shard, position};

impl Index {
    /// Forgets revisions of an object, at one moment; `tids` ascend. An object without any is gone.
    pub fn forget(&self, oid: Oid, tids: &[Tid]) {
        let is_forgotten = |revision: &Revision| tids.binary_search(&revision.tid).is_ok();
        let mut guard = self.shard(oid).write().unwrap_or_else(PoisonError::into_inner);
        let shard = &mut *guard;
        let Some(current) = shard.current(oid).and_then(Current::revision) else { return };
        // One pass, since an object may have very many.
        let mut older = shard.older.remove(&oid).unwrap_or_default();
        let had = older.len();
        older.retain(|revision| !is_forgotten(revision));
        let newest = if is_forgotten(&current) { older.pop() } else { Some(current) };
        shard.superseded -= had - older.len();
        let has_older = !older.is_empty();
        if has_older {
            if older.capacity() / SLACK > older.len() {
                older.shrink_to_fit();
            }
            shard.older.insert(oid, older);
        }
        if shard.older.capacity() / SLACK > shard.older.len() {
            shard.older.shrink_to(shard.older.len() * 2);
        }
        match newest {
            Some(newest) => shard.set(oid, Current::new(newest, has_older)),
            None => {
                self.objects.fetch_sub(1, Ordering::Relaxed);
                shard.set(oid, Current::default());
                self.drop_empty_page(shard, oid);
            }
        }
    }

    fn drop_empty_page(&self, shard: &mut Shard, oid: Oid) {
        let page = oid.0 / PAGE_OBJECTS;
        let is_empty = |slots: &Page| slots.iter().all(|slot| slot.revision().is_none());
        if shard.pages.get(&page).is_some_and(|slots| is_empty(slots)) {
            shard.pages.remove(&page);
            self.runs.remove(page);
        }
    }

    /// A revision is at another place now.
    pub fn relocate(&self, oid: Oid, tid: Tid, place: Place) {
        let mut guard = self.shard(oid).write().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = guard.current(oid) else { return };
        if let Some(current) = slot.revision().filter(|current| current.tid == tid) {
            guard.set(oid, Current::new(Revision { place, ..current }, slot.has_older()));
            return;
        }
        let Some(older) = guard.older.get_mut(&oid) else { return };
        let position = older.binary_search_by_key(&tid, |revision| revision.tid);
        if let Some(revision) = position.ok().and_then(|position| older.get_mut(position)) {
            revision.place = place;
        }
    }
}

/// Tables with room for so many times what they hold give it back.
const SLACK: usize = 4;

impl Shard {
    fn set(&mut self, oid: Oid, current: Current) {
        let page = self.pages.get_mut(&(oid.0 / PAGE_OBJECTS));
        if let Some(slot) = page.and_then(|page| page.get_mut(position(oid))) {
            *slot = current;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Which;
    use crate::index::Lookup;

    fn revision(tid: u64) -> Revision {
        Revision { tid: Tid(tid), place: Place { offset: tid * 100, segment: 1, len: 3 } }
    }

    fn index(tids: &[u64]) -> Index {
        let index = Index::default();
        tids.iter().for_each(|tid| index.publish(Oid(7), revision(*tid)));
        index
    }

    #[test]
    fn what_is_forgotten_is_not_found_and_its_neighbours_are() {
        for forgotten in [10, 20, 30] {
            let index = index(&[10, 20, 30]);
            index.forget(Oid(7), &[Tid(forgotten)]);
            for tid in [10, 20, 30] {
                let found = index.find(Oid(7), Which::Serial(Tid(tid)));
                assert_eq!(found == Lookup::Unknown, tid == forgotten, "{tid} {found:?}");
            }
            assert_eq!(index.objects(), 1);
        }
        let index = index(&[10, 20, 30]);
        index.forget(Oid(7), &[Tid(20)]);
        let before = index.find(Oid(7), Which::Before(Tid(30)));
        assert_eq!(before, Lookup::Revision { revision: revision(10), end: Some(Tid(30)) });
    }

    #[test]
    fn an_object_without_revisions_is_gone_and_may_come_again() {
        let index = index(&[10, 20]);
        index.forget(Oid(7), &[Tid(10)]);
        index.forget(Oid(7), &[Tid(20)]);
        index.forget(Oid(7), &[Tid(20)]);
        index.forget(Oid(8), &[Tid(20)]);
        assert_eq!(index.objects(), 0);
        assert_eq!(index.find(Oid(7), Which::Before(Tid::MAX)), Lookup::Unknown);
        index.publish(Oid(7), revision(30));
        assert_eq!((index.objects(), index.current(Oid(7))), (1, Some(revision(30))));
        assert_eq!(index.find(Oid(7), Which::Before(Tid(30))), Lookup::Younger);
    }

    #[test]
    fn a_revision_is_found_where_it_moved() {
        let index = index(&[10, 20]);
        let place = Place { offset: 9, segment: 2, len: 3 };
        index.relocate(Oid(7), Tid(10), place);
        index.relocate(Oid(7), Tid(15), place);
        assert_eq!(index.current(Oid(7)), Some(revision(20)));
        let moved = Revision { tid: Tid(10), place };
        let found = index.find(Oid(7), Which::Serial(Tid(10)));
        assert_eq!(found, Lookup::Revision { revision: moved, end: Some(Tid(20)) });
        index.relocate(Oid(7), Tid(20), place);
        assert_eq!(index.current(Oid(7)), Some(Revision { tid: Tid(20), place }));
    }
    #[test]
    fn an_object_of_very_many_revisions_is_forgotten_at_one_moment_and_its_memory_given_back() {
        let tids: Vec<u64> = (1..=100_000).collect();
        let index = index(&tids);
        index.publish(Oid(1_000_000), revision(1));
        let full = index.memory_bytes();
        let dropped: Vec<Tid> =
            tids.iter().map(|tid| Tid(*tid)).filter(|tid| tid.0 % 1000 != 0).collect();
        index.forget(Oid(7), &dropped);
        for tid in [999, 1000, 1001, 100_000].map(Tid) {
            let is_there = index.find(Oid(7), Which::Serial(tid)) != Lookup::Unknown;
            assert_eq!(is_there, tid.0 % 1000 == 0, "{tid}");
        }
        let left = index.memory_bytes();
        assert!(left < full / 100, "{left} of {full} bytes are left");
        let rest: Vec<Tid> = tids.iter().map(|tid| Tid(*tid)).collect();
        index.forget(Oid(7), &rest);
        assert_eq!(index.objects(), 1);
        assert_eq!(index.next_current(Oid(0)), Some((Oid(1_000_000), revision(1))));
        assert!(index.memory_bytes() < left, "a page without objects is given back");
        index.publish(Oid(7), revision(9));
        assert_eq!(index.next_current(Oid(0)), Some((Oid(7), revision(9))));
    }
}
