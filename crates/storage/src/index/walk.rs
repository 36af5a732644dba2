//! Looks at all objects, in the order of their oids.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use protocol::{Oid, Tid};

use super::{Index, PAGE_OBJECTS, Revision};

/// Which pages there are, as runs of consecutive ones: first page -> last page. Where oids are
/// dense there are few.
#[derive(Debug, Default)]
pub(super) struct Runs(RwLock<BTreeMap<u64, u64>>);

impl Runs {
    /// Adds a page that is not there.
    pub(super) fn add(&self, page: u64) {
        // A lost run hides objects, so it is put back before anything else is done.
        let mut runs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let next = page.checked_add(1).and_then(|next| runs.remove(&next));
        let last = next.unwrap_or(page);
        match runs.range_mut(..page).next_back() {
            Some((_, end)) if end.checked_add(1) == Some(page) => *end = last,
            _ => _ = runs.insert(page, last),
        }
    }

    /// Takes a page away.
    pub(super) fn remove(&self, page: u64) {
        let mut runs = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some((&start, end)) = runs.range_mut(..=page).next_back() else { return };
        let last = *end;
        if last < page {
            return;
        }
        match page.checked_sub(1) {
            Some(before) if start < page => *end = before,
            _ => _ = runs.remove(&start),
        }
        if let Some(next) = page.checked_add(1).filter(|next| *next <= last) {
            runs.insert(next, last);
        }
    }

    /// The first page from `page` on.
    fn from(&self, page: u64) -> Option<u64> {
        let runs = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match runs.range(..=page).next_back() {
            Some((_, end)) if page <= *end => Some(page),
            _ => runs.range(page..).next().map(|(start, _)| *start),
        }
    }
}

impl Index {
    /// The first object from `from` on that exists, and its current revision.
    pub fn next_current(&self, from: Oid) -> Option<(Oid, Revision)> {
        self.pages(from).find_map(|page| {
            let shard = self.read(page);
            page_oids(page).filter(|oid| *oid >= from).find_map(|oid| {
                let revision = shard.current(oid)?.revision()?;
                revision.place.has_data().then_some((oid, revision))
            })
        })
    }

    /// The objects that have revisions above `since` and up to `until`, ascending; `None` if they
    /// are more than `limit`.
    pub fn changed(&self, since: Tid, until: Tid, limit: usize) -> Option<Vec<Oid>> {
        let mut oids = Vec::new();
        for page in self.pages(Oid(0)) {
            let shard = self.read(page);
            oids.extend(page_oids(page).filter(|oid| {
                let Some((slot, current)) =
                    shard.current(*oid).and_then(|slot| Some((slot, slot.revision()?)))
                else {
                    return false;
                };
                if current.tid <= since || current.tid <= until {
                    return since < current.tid;
                }
                let older = if slot.has_older() { shard.older(*oid) } else { &[] };
                let first = older.partition_point(|revision| revision.tid <= since);
                older.get(first).is_some_and(|revision| revision.tid <= until)
            }));
            if oids.len() > limit {
                return None;
            }
        }
        Some(oids)
    }

    /// The first oids of the pages from that of `from` on. Pages that come meanwhile may be missed.
    fn pages(&self, from: Oid) -> impl Iterator<Item = Oid> {
        let first = |page| Some(Oid(self.runs.from(page)? * PAGE_OBJECTS));
        std::iter::successors(first(from.0 / PAGE_OBJECTS), move |page| {
            first((page.0 / PAGE_OBJECTS).checked_add(1)?)
        })
    }
}

fn page_oids(first: Oid) -> impl Iterator<Item = Oid> {
    (0..PAGE_OBJECTS).map(move |position| Oid(first.0 | position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Place;

    fn revision(tid: u64, len: u32) -> Revision {
        Revision { tid: Tid(tid), place: Place { offset: tid, segment: 1, len } }
    }

    #[test]
    fn pages_are_found_whatever_their_order() {
        let runs = Runs::default();
        for page in [7, 3, 5, 4, u64::MAX, 0] {
            runs.add(page);
        }
        let expected = [(0, 0), (3, 5), (7, 7), (u64::MAX, u64::MAX)];
        assert_eq!(*runs.0.read().unwrap(), BTreeMap::from(expected));
        for (from, found) in [(0, 0), (1, 3), (4, 4), (6, 7), (8, u64::MAX)] {
            assert_eq!(runs.from(from), Some(found), "from {from}");
        }
        runs.add(6);
        assert_eq!(runs.from(6), Some(6));
        assert_eq!(Runs::default().from(0), None);
    }

    #[test]
    fn a_page_that_was_taken_away_is_not_found_and_its_neighbours_are() {
        let runs = Runs::default();
        (3..=8).chain([u64::MAX, 0]).for_each(|page| runs.add(page));
        for page in [3, 5, 5, 8, 9, 1, 0, u64::MAX] {
            runs.remove(page);
        }
        let expected = BTreeMap::from([(4, 4), (6, 7)]);
        assert_eq!(*runs.0.read().unwrap(), expected);
        runs.add(5);
        assert_eq!(*runs.0.read().unwrap(), BTreeMap::from([(4, 7)]));
    }

    #[test]
    fn objects_that_exist_are_walked_in_order() {
        let index = Index::default();
        assert_eq!(index.next_current(Oid(0)), None);
        let oids = [u64::MAX, 3, 17, 16, 40_000].map(Oid);
        for (oid, tid) in oids.into_iter().zip(1..) {
            index.publish(oid, revision(tid, 1));
        }
        index.publish(Oid(17), revision(9, Place::NO_DATA));
        let next = |from| index.next_current(Oid(from)).map(|(oid, found)| (oid.0, found.tid.0));
        assert_eq!(next(0), Some((3, 2)));
        assert_eq!(next(4), Some((16, 4)));
        assert_eq!(next(17), Some((40_000, 5)), "17 is deleted");
        assert_eq!(next(40_001), Some((u64::MAX, 1)));
    }

    #[test]
    fn objects_are_named_that_changed_within_a_span() {
        let index = Index::default();
        for (oid, tids) in [(1, &[1, 5, 9][..]), (2, &[2]), (300, &[6]), (4, &[4, 8])] {
            for tid in tids {
                index.publish(Oid(oid), revision(*tid, 1));
            }
        }
        let changed = |since, until| {
            let oids = index.changed(Tid(since), Tid(until), 3)?;
            Some(oids.into_iter().map(|oid| oid.0).collect::<Vec<_>>())
        };
        assert_eq!(changed(4, 6), Some(vec![1, 300]));
        assert_eq!(changed(6, 8), Some(vec![4]));
        assert_eq!(changed(9, 20), Some(vec![]));
        assert_eq!(changed(9, 3), Some(vec![]));
        assert_eq!(changed(1, 20), None, "four are more than three");
    }
}
