//! What writers and readers have in common.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use client::{Client, Notice, Options};
use protocol::{Loaded, Oid, Tid};

use super::{count, oids};
use crate::conformance::bench::Bench;
use crate::server::PATIENCE;
use crate::tls::Certificates;

/// A client, and all that it was told.
pub(super) struct Participant {
    pub(super) client: Client,
    told: Told,
}

type Told = Arc<Mutex<Vec<(Tid, Arc<[Oid]>)>>>;

impl Participant {
    pub(super) fn connect(bench: &Bench, cache_bytes: usize) -> Self {
        let told = Told::default();
        let tell = Arc::clone(&told);
        let listener = move |notice: &Notice| {
            if let Notice::Invalidated { tid, oids } = notice {
                let mut told = tell.lock().unwrap_or_else(PoisonError::into_inner);
                told.push((*tid, Arc::clone(oids)));
            }
        };
        let door = bench.endpoint();
        let options = Options {
            cache_bytes,
            call_timeout: Some(PATIENCE),
            tls: door.tls.then(|| Certificates::tls(bench.directory())),
            listener: Some(Arc::new(listener)),
            ..Options::default()
        };
        let client = Client::connect(&door.endpoint, "1", false, options);
        Self { client: client.expect("the server listens"), told }
    }

    /// All invalidations so far, with their oids in order.
    pub(super) fn told(&self) -> Vec<(Tid, Vec<Oid>)> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let sorted = |oids: &[Oid]| {
            let mut oids = oids.to_vec();
            oids.sort();
            oids
        };
        told.iter().map(|(tid, oids)| (*tid, sorted(oids))).collect()
    }

    /// A current revision is not older than what was told before it was asked for.
    pub(super) fn check_current(&self, pair: u64, known: Tid) {
        for oid in oids(pair) {
            let known = known.max(self.newest(oid));
            let loaded = self.client.load(oid).expect("it was never deleted");
            assert!(loaded.tid >= known, "{oid} of {} is current after {known}", loaded.tid);
        }
    }

    /// Both objects of a pair as of a snapshot, which sees all of a transaction or nothing. Gives
    /// their tid and count.
    pub(super) fn snapshot(&self, pair: u64, before: Tid) -> (Tid, u64) {
        let [one, other] = oids(pair).map(|oid| self.load(oid, before));
        // The one may come from the cache and the other, later, from the server, so that their
        // ends differ.
        for loaded in [&one, &other] {
            let is_then = loaded.tid < before && loaded.end.is_none_or(|end| end >= before);
            assert!(is_then, "{loaded:?} is the answer before {before}");
        }
        assert_eq!((one.tid, &one.data), (other.tid, &other.data), "pair {pair} before {before}");
        (one.tid, count(&one.data))
    }

    fn load(&self, oid: Oid, before: Tid) -> Loaded<Bytes> {
        let loaded = self.client.load_before(oid, before).expect("it was never deleted");
        loaded.expect("it is older than all snapshots")
    }

    /// The newest transaction that was told to have changed an object.
    fn newest(&self, oid: Oid) -> Tid {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = told.iter().rev().find(|(_, oids)| oids.contains(&oid));
        newest.map_or(Tid::ZERO, |(tid, _)| *tid)
    }
}
