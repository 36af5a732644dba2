//! The cache against a model of a server: whatever the order of loads, commits, answers and
//! invalidations, what it finds is right.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use client::cache::Cache;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use protocol::{Loaded, Oid, Tid};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_found_is_right(
        steps in vec(steps(), 1..150), limit_bytes in prop_oneof![0..2000usize, Just(1 << 20)],
    ) {
        let mut run = Run::new(limit_bytes);
        for step in steps {
            run.step(step);
            run.check();
        }
    }
}

/// What happens next, on one side or the other.
#[derive(Clone, Debug)]
enum Step {
    /// Another client's transaction is committed.
    Commit { oids: Vec<u64>, tids: u64 },
    /// This client's transaction is committed; `false`: deleted.
    Finish { written: BTreeMap<u64, bool>, tids: u64 },
    /// The client asks for a revision; `None`: the current one.
    Ask { oid: u64, before: Option<Index> },
    /// The server looks up what was asked.
    LookUp(Index),
    /// What was looked up leaves the server, perhaps long after.
    Answer(Index),
    /// What was committed is told, in order, but perhaps after answers that know it already.
    Tell,
    /// The client handles the next message.
    Deliver,
    /// The connection is lost and made anew; `false`: the server does not know what was missed.
    Reconnect { known: bool },
}

fn steps() -> impl Strategy<Value = Step> {
    let oids = 0..OIDS;
    prop_oneof![
        3 => (vec(oids.clone(), 0..4), 1..3u64)
            .prop_map(|(oids, tids)| Step::Commit { oids, tids }),
        1 => (prop::collection::btree_map(oids.clone(), prop::bool::weighted(0.8), 1..4), 1..3u64)
            .prop_map(|(written, tids)| Step::Finish { written, tids }),
        4 => (oids, prop::option::of(any::<Index>()))
            .prop_map(|(oid, before)| Step::Ask { oid, before }),
        4 => any::<Index>().prop_map(Step::LookUp),
        4 => any::<Index>().prop_map(Step::Answer),
        4 => Just(Step::Tell),
        8 => Just(Step::Deliver),
        1 => any::<bool>().prop_map(|known| Step::Reconnect { known }),
    ]
}

enum Message {
    Invalidate(Tid, Vec<Oid>),
    Finished(Tid, Vec<(Oid, Option<Bytes>)>),
    Answer(Oid, Option<Loaded<Bytes>>),
}

struct Run {
    cache: Cache,
    limit_bytes: usize,
    /// All revisions on the server.
    revisions: BTreeMap<Oid, Vec<(Tid, Option<Bytes>)>>,
    last: Tid,
    asked: Vec<(Oid, Tid)>,
    looked_up: Vec<(Oid, Option<Loaded<Bytes>>)>,
    committed: VecDeque<Message>,
    messages: VecDeque<Message>,
}

impl Run {
    fn new(limit_bytes: usize) -> Self {
        let mut cache = Cache::new(limit_bytes);
        let last = Tid(10);
        assert_eq!(cache.handle_registered(last), Ok(None));
        let revisions =
            (0..OIDS).map(|oid| (Oid(oid), vec![(Tid(5), Some(data(oid, 5)))])).collect();
        let (asked, looked_up, committed, messages) = Default::default();
        Self { cache, limit_bytes, revisions, last, asked, looked_up, committed, messages }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit { oids, tids } => {
                let written = oids.iter().map(|oid| (*oid, true)).collect();
                let tid = self.commit(&written, tids);
                self.committed
                    .push_back(Message::Invalidate(tid, oids.into_iter().map(Oid).collect()));
            }
            Step::Finish { written, tids } => {
                let tid = self.commit(&written, tids);
                let written = written
                    .into_iter()
                    .map(|(oid, kept)| (Oid(oid), kept.then(|| data(oid, tid.0))))
                    .collect();
                self.committed.push_back(Message::Finished(tid, written));
            }
            Step::Ask { oid, before } => {
                let before = before.map_or(Tid::MAX, |index| {
                    Tid(u64::try_from(index.index(self.last.0 as usize + 3)).unwrap())
                });
                self.cache.handle_asked(Oid(oid));
                self.asked.push((Oid(oid), before));
            }
            Step::LookUp(index) if !self.asked.is_empty() => {
                let (oid, before) = self.asked.swap_remove(index.index(self.asked.len()));
                self.looked_up.push((oid, self.truth(oid, before)));
            }
            Step::Answer(index) if !self.looked_up.is_empty() => {
                let (oid, loaded) = self.looked_up.remove(index.index(self.looked_up.len()));
                self.messages.push_back(Message::Answer(oid, loaded));
            }
            Step::LookUp(_) | Step::Answer(_) => {}
            Step::Tell => self.messages.extend(self.committed.pop_front()),
            Step::Deliver => self.deliver(),
            Step::Reconnect { known } => self.reconnect(known),
        }
    }

    fn commit(&mut self, written: &BTreeMap<u64, bool>, tids: u64) -> Tid {
        self.last = Tid(self.last.0 + tids);
        for (oid, kept) in written {
            let data = kept.then(|| data(*oid, self.last.0));
            self.revisions.get_mut(&Oid(*oid)).unwrap().push((self.last, data));
        }
        self.last
    }

    fn deliver(&mut self) {
        match self.messages.pop_front() {
            None => {}
            Some(Message::Invalidate(tid, oids)) => {
                self.cache.handle_invalidated(tid, &oids).unwrap();
            }
            Some(Message::Finished(tid, written)) => {
                self.cache.handle_finished(tid, written).unwrap();
            }
            Some(Message::Answer(oid, loaded)) => self.cache.handle_answered(oid, loaded.as_ref()),
        }
    }

    fn reconnect(&mut self, known: bool) {
        self.committed.clear();
        self.messages.clear();
        self.asked.clear();
        self.looked_up.clear();
        self.cache.handle_disconnected();
        if let Some(since) = self.cache.handle_registered(self.last).unwrap() {
            let missed: BTreeSet<Oid> = self
                .revisions
                .iter()
                .filter(|(_, revisions)| revisions.last().unwrap().0 > since)
                .map(|(oid, _)| *oid)
                .collect();
            let missed: Vec<Oid> = missed.into_iter().collect();
            let answer = known.then_some((self.last, &missed[..]));
            assert_eq!(self.cache.handle_missed(self.last, answer), known);
        }
        assert_eq!(self.cache.last_tid(), self.last);
    }

    /// What the server answers to a load.
    fn truth(&self, oid: Oid, before: Tid) -> Option<Loaded<Bytes>> {
        let revisions = &self.revisions[&oid];
        let index = revisions.iter().rposition(|(tid, _)| *tid < before)?;
        let (tid, data) = &revisions[index];
        let end = revisions.get(index + 1).map(|(tid, _)| *tid);
        Some(Loaded { data: data.clone()?, tid: *tid, end })
    }

    fn check(&mut self) {
        assert!(self.cache.used_bytes() <= self.limit_bytes);
        let known = self.cache.last_tid();
        for oid in (0..OIDS).map(Oid) {
            for before in (0..self.last.0 + 3).map(Tid) {
                let Some(found) = self.cache.find(oid, before) else { continue };
                let truth = self.truth(oid, before).unwrap();
                assert_eq!((found.tid, &found.data), (truth.tid, &truth.data), "{oid} {before}");
                assert!(self.is_end(known, found.end, truth.end), "{found:?} {truth:?}");
            }
            if let Some(found) = self.cache.find(oid, Tid::MAX) {
                let truth = self.truth(oid, found.tid.next()).unwrap();
                assert_eq!((found.tid, found.end, &found.data), (truth.tid, None, &truth.data));
                assert!(self.is_end(known, None, truth.end), "{found:?} {truth:?}");
                assert_eq!(self.cache.find_serial(oid, found.tid), Some(found.data));
            }
        }
    }

    /// A known end is the true one; an unknown one lies in the future.
    fn is_end(&self, known: Tid, end: Option<Tid>, truth: Option<Tid>) -> bool {
        end == truth || end.is_none() && truth.is_some_and(|truth| truth > known)
    }
}

#[test]
fn what_is_used_stays() {
    let mut cache = Cache::new(10 * (328 + 100));
    assert_eq!(cache.handle_registered(Tid(10)), Ok(None));
    for oid in (0..1000).map(Oid) {
        load(&mut cache, oid);
        assert!(cache.find(Oid(0), Tid::MAX).is_some(), "{oid}");
    }
    assert!(cache.find(Oid(1), Tid::MAX).is_none());
    assert!(cache.find(Oid(999), Tid::MAX).is_some());
}

#[test]
fn a_revision_that_does_not_fit_is_not_kept_but_ends_the_one_before() {
    let mut cache = Cache::new(500);
    assert_eq!(cache.handle_registered(Tid(10)), Ok(None));
    load(&mut cache, Oid(1));
    cache.handle_finished(Tid(11), [(Oid(1), Some(Bytes::from(vec![0; 1000])))]).unwrap();
    assert_eq!(cache.find(Oid(1), Tid::MAX), None);
    assert_eq!(cache.find(Oid(1), Tid(11)).unwrap().end, Some(Tid(11)));
}

#[test]
fn tids_have_to_increase() {
    let mut cache = Cache::new(1000);
    assert_eq!(cache.handle_registered(Tid(10)), Ok(None));
    assert!(cache.handle_invalidated(Tid(10), &[]).is_err());
    assert!(cache.handle_finished(Tid(9), []).is_err());
    assert!(cache.handle_invalidated(Tid(11), &[]).is_ok());
    let behind = cache.handle_registered(Tid(10)).unwrap_err();
    assert_eq!((behind.server, behind.cache), (Tid(10), Tid(11)));
}

fn load(cache: &mut Cache, oid: Oid) {
    cache.handle_asked(oid);
    let loaded = Loaded { data: Bytes::from(vec![0; 100]), tid: Tid(5), end: None };
    cache.handle_answered(oid, Some(&loaded));
}

fn data(oid: u64, tid: u64) -> Bytes {
    format!("{oid} {tid} {}", "x".repeat(usize::try_from(oid * tid % 300).unwrap())).into()
}

const OIDS: u64 = 4;
