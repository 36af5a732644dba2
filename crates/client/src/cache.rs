//! What a client has read, kept right by invalidations.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod revisions;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::RandomState;
use protocol::{Loaded, Oid, Tid};

use self::revisions::{Passed, Revision, Revisions};

/// Revisions of objects, bounded in bytes, with the spans of tids for which they are current.
///
/// Invariant: a revision with the span `[tid, end)` was, or will be, the answer of the server to
/// every load before a tid in `tid + 1 ..= end`. One without an end is current as of
/// [`Self::last_tid`] at least.
///
/// That holds if every message of a connection is handled in the order in which it was received,
/// and every load is announced by [`Self::handle_asked`] before it is sent. A server has to
/// answer from a state that is not older than what it had told when the load was sent; in which
/// order answers and later invalidations leave it does not matter.
///
/// Which revisions go when memory runs out is decided by a clock: all of them stand in a ring, and
/// the hand passes by, once, what was used since it passed last.
#[derive(Debug)]
pub struct Cache {
    limit_bytes: usize,
    used_bytes: usize,
    /// `None` until the first connection.
    last_tid: Option<Tid>,
    objects: HashMap<Oid, Revisions, RandomState>,
    ring: VecDeque<Place>,
    inserted: u64,
    loads: HashMap<Oid, UnderWay, RandomState>,
}

/// The tids of a connection do not increase: the server is broken, and the connection no basis for
/// a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction {tid} was announced after {last}")]
pub struct OutOfOrder {
    /// What was announced.
    pub tid: Tid,
    /// What was known.
    pub last: Tid,
}

/// A server knows less than the cache: it has lost data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's last transaction is {server}, but the cache has seen {cache}")]
pub struct ServerBehind {
    /// The server's last tid.
    pub server: Tid,
    /// The cache's.
    pub cache: Tid,
}

/// Where a revision stands in the ring; void if there is no such revision any more.
#[derive(Clone, Copy, Debug)]
struct Place {
    oid: Oid,
    insertion: u64,
}

/// Loads of one object that are not answered yet.
#[derive(Clone, Copy, Debug, Default)]
struct UnderWay {
    loads: u32,
    /// The newest transaction that was found to change the object meanwhile.
    changed_by: Tid,
}

impl Cache {
    /// Creates an empty cache that holds up to `limit_bytes`, data and overhead. A limit of 0 is a
    /// cache that never has anything, but still knows the last tid.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
            last_tid: None,
            objects: HashMap::default(),
            ring: VecDeque::new(),
            inserted: 0,
            loads: HashMap::default(),
        }
    }

    /// The newest transaction that is known.
    pub fn last_tid(&self) -> Tid {
        self.last_tid.unwrap_or_default()
    }

    /// Bytes in use: data, and an estimate of what surrounds them.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The newest revision of `oid` before a tid, if that is known.
    ///
    /// [`Tid::MAX`] asks for the current one. Any other `before` gets an answer that the server
    /// would give, too, now and for ever.
    pub fn find(&mut self, oid: Oid, before: Tid) -> Option<Loaded<Bytes>> {
        let known = self.last_tid?.next();
        let revision = self.objects.get_mut(&oid)?.before(before)?;
        let covered = match revision.end {
            Some(end) => before <= end,
            None => before <= known || before == Tid::MAX,
        };
        covered.then(|| revision.loaded())
    }

    /// The revision of `oid` that a transaction wrote, if it is known.
    pub fn find_serial(&mut self, oid: Oid, serial: Tid) -> Option<Bytes> {
        let revision = self.objects.get_mut(&oid)?.before(serial.next())?;
        (revision.tid == serial).then(|| revision.loaded().data)
    }

    /// A load of `oid` is about to be sent.
    pub fn handle_asked(&mut self, oid: Oid) {
        self.loads.entry(oid).or_default().loads += 1;
    }

    /// A load of `oid` was answered; `None`: with an error, or by saying that there is nothing.
    pub fn handle_answered(&mut self, oid: Oid, loaded: Option<&Loaded<Bytes>>) {
        let mut changed_by = Tid::ZERO;
        if let Some(under_way) = self.loads.get_mut(&oid) {
            changed_by = under_way.changed_by;
            under_way.loads -= 1;
            if under_way.loads == 0 {
                self.loads.remove(&oid);
            }
        }
        if let Some(loaded) = loaded
            && (loaded.end.is_some() || changed_by <= loaded.tid)
        {
            self.insert(oid, loaded.tid, loaded.end, &loaded.data);
        }
    }

    /// Another client's transaction changed `oids`.
    pub fn handle_invalidated(&mut self, tid: Tid, oids: &[Oid]) -> Result<(), OutOfOrder> {
        let last = self.last_tid();
        if tid <= last {
            return Err(OutOfOrder { tid, last });
        }
        self.last_tid = Some(tid);
        for oid in oids {
            self.close(*oid, tid);
        }
        Ok(())
    }

    /// The connection's own transaction finished with `tid`. `written` has the new revisions, one
    /// per object; `None` for objects that were deleted.
    pub fn handle_finished(
        &mut self,
        tid: Tid,
        written: impl IntoIterator<Item = (Oid, Option<Bytes>)>,
    ) -> Result<(), OutOfOrder> {
        self.handle_invalidated(tid, &[])?;
        for (oid, data) in written {
            self.close(oid, tid);
            if let Some(data) = data {
                self.insert(oid, tid, None, &data);
            }
        }
        Ok(())
    }

    /// The connection is lost: nothing that was asked will be answered.
    pub fn handle_disconnected(&mut self) {
        self.loads.clear();
    }

    /// A new connection begins at `registered`, the server's last tid.
    ///
    /// `Some(since)`: the cache is older. The server has to be asked for the invalidations since
    /// then, and until [`Self::handle_missed`] gets the answer, invalidations that arrive have to
    /// be kept back.
    pub fn handle_registered(&mut self, registered: Tid) -> Result<Option<Tid>, ServerBehind> {
        match self.last_tid {
            None => {
                self.last_tid = Some(registered);
                Ok(None)
            }
            Some(cache) if registered < cache => Err(ServerBehind { server: registered, cache }),
            Some(cache) => Ok((registered > cache).then_some(cache)),
        }
    }

    /// What was missed while there was no connection; `None`: everything may have changed.
    ///
    /// `true`: the cache knows what it has missed; `false`: it had to drop everything.
    pub fn handle_missed(&mut self, registered: Tid, missed: Option<(Tid, &[Oid])>) -> bool {
        // An answer that ends before the registration would leave a gap.
        let missed = missed.filter(|(newest, _)| *newest >= registered);
        if let Some((newest, oids)) = missed {
            for oid in oids {
                // It ended somewhere since `last_tid`; where, is not known.
                self.drop_current(*oid, Tid(u64::MAX));
            }
            self.last_tid = Some(newest);
            true
        } else {
            self.objects.clear();
            self.ring.clear();
            self.used_bytes = 0;
            self.last_tid = Some(registered);
            false
        }
    }

    /// Ends the revisions that were current until `tid`.
    fn close(&mut self, oid: Oid, tid: Tid) {
        if let Some(under_way) = self.loads.get_mut(&oid) {
            under_way.changed_by = under_way.changed_by.max(tid);
        }
        if let Some(revisions) = self.objects.get_mut(&oid) {
            revisions.close(tid);
        }
    }

    /// Drops what has no end and is older than `tid`.
    fn drop_current(&mut self, oid: Oid, tid: Tid) {
        if let Some(revisions) = self.objects.get_mut(&oid) {
            self.used_bytes -= revisions.drop_current(tid);
            if revisions.is_empty() {
                self.objects.remove(&oid);
            }
        }
    }

    fn insert(&mut self, oid: Oid, tid: Tid, end: Option<Tid>, data: &Bytes) {
        let size = data.len() + REVISION_BYTES + PLACE_BYTES;
        if size > self.limit_bytes {
            // The revision is not kept, but tells that older ones are not current.
            return self.drop_current(oid, tid);
        }
        self.inserted += 1;
        let insertion = self.inserted;
        let revisions = self.objects.entry(oid).or_default();
        let (dropped, accepted) = revisions.insert(tid, end, insertion, || {
            // A slice would keep the whole receive buffer, which may be a thousand times larger.
            Bytes::copy_from_slice(data)
        });
        self.used_bytes -= dropped;
        if accepted {
            self.used_bytes += size;
            self.ring.push_back(Place { oid, insertion });
            self.evict();
        } else if revisions.is_empty() {
            self.objects.remove(&oid);
        }
    }

    fn evict(&mut self) {
        while self.used_bytes > self.limit_bytes {
            let Some(place) = self.ring.pop_front() else { return };
            let revisions = self.objects.get_mut(&place.oid);
            match revisions.map_or(Passed::Gone, |revisions| revisions.pass(place.insertion)) {
                Passed::Kept => {
                    self.ring.push_back(place);
                    continue;
                }
                Passed::Gone => {}
                Passed::Evicted { bytes, last } => {
                    self.used_bytes -= bytes;
                    if last {
                        self.objects.remove(&place.oid);
                    }
                }
            }
            self.used_bytes -= PLACE_BYTES;
        }
    }
}

/// What a revision and its data cost: its entry in the map, the reference count of the data, and
/// what an allocator rounds up to.
///
/// Four fifths of the map may be empty: it doubles when more than 7/16 of it are in use and the
/// rest of what it fills is traces of what was removed. When that happens depends on its seed.
fn size(revision: &Revision) -> usize {
    revision.data.len() + REVISION_BYTES
}

const REVISION_BYTES: usize = size_of::<Revision>() + 5 * size_of::<(Oid, Revisions)>() + 64;

/// What a place in the ring costs, of which half may be empty. It is void, and still there, when its
/// revision was dropped.
const PLACE_BYTES: usize = 2 * size_of::<Place>();
