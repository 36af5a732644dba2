//! Forgets revisions, and moves them: what a pack does.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use protocol::{Oid, Tid};

use super::{Current, Index, Place, Shard, position};
use crate::index::PAGE_OBJECTS;

impl Index {
    /// Forgets a revision. An object without any is gone.
    pub fn forget(&self, oid: Oid, tid: Tid) {
        let mut guard = self.shard(oid).write().unwrap_or_else(PoisonError::into_inner);
        let shard = &mut *guard;
        if let Some(older) = shard.older.get_mut(&oid) {
            older.retain(|revision| revision.tid != tid);
        }
        let Some(slot) = shard.slot(oid) else { return };
        let current = slot.revision().filter(|current| current.tid != tid);
        let newest = current.or_else(|| shard.older.get_mut(&oid).and_then(Vec::pop));
        if shard.older.get(&oid).is_some_and(Vec::is_empty) {
            shard.older.remove(&oid);
        }
        let has_older = shard.older.contains_key(&oid);
        if let Some(slot) = shard.slot(oid) {
            let was_there = slot.revision().is_some();
            *slot = newest.map_or_else(Current::default, |newest| Current::new(newest, has_older));
            if was_there && newest.is_none() {
                self.objects.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// A revision is at another place now.
    pub fn relocate(&self, oid: Oid, tid: Tid, place: Place) {
        let mut guard = self.shard(oid).write().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = guard.slot(oid) else { return };
        if let Some(mut current) = slot.revision()
            && current.tid == tid
        {
            current.place = place;
            *slot = Current::new(current, slot.has_older());
            return;
        }
        let older = guard.older.get_mut(&oid).into_iter().flatten();
        older.filter(|revision| revision.tid == tid).for_each(|revision| revision.place = place);
    }
}

impl Shard {
    fn slot(&mut self, oid: Oid) -> Option<&mut Current> {
        self.pages.get_mut(&(oid.0 / PAGE_OBJECTS))?.get_mut(position(oid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Which;
    use crate::index::{Lookup, Revision};

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
            index.forget(Oid(7), Tid(forgotten));
            for tid in [10, 20, 30] {
                let found = index.find(Oid(7), Which::Serial(Tid(tid)));
                assert_eq!(found == Lookup::Unknown, tid == forgotten, "{tid} {found:?}");
            }
            assert_eq!(index.objects(), 1);
        }
        let index = index(&[10, 20, 30]);
        index.forget(Oid(7), Tid(20));
        let before = index.find(Oid(7), Which::Before(Tid(30)));
        assert_eq!(before, Lookup::Revision { revision: revision(10), end: Some(Tid(30)) });
    }

    #[test]
    fn an_object_without_revisions_is_gone_and_may_come_again() {
        let index = index(&[10, 20]);
        index.forget(Oid(7), Tid(10));
        index.forget(Oid(7), Tid(20));
        index.forget(Oid(7), Tid(20));
        index.forget(Oid(8), Tid(20));
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
}
