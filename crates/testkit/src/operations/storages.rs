//! What locks, the index and a commit cost.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Oid, Tid};
use storage::disk::{Disk, RealDisk};
use storage::index::{Index, Lookup, Place, Revision};
use storage::locks::{Key, LockManager, Mode, Owner, Want};
use storage::{Kind, Location, Meta, Options, Storage, Sync, Vote, Which};

use super::Operation;
use super::messages::record;
use crate::{Clock, Inbox, SimDisk};

/// Locks `objects` objects and gives them up, while nobody else wants them.
pub fn lock_and_release(objects: u64) -> Operation {
    let locks = LockManager::default();
    let mut owner = 0;
    Box::new(move || {
        owner += 1;
        let wants = (0..objects).map(|oid| exclusive(Oid(oid))).collect();
        black_box(locks.acquire(Owner(owner), wants, NOW, ())).expect("nobody has them");
        black_box(locks.release(Owner(owner), NOW));
    })
}

/// One holds an object and `waiters` queue for it, until each of them has had it.
pub fn lock_queue(waiters: u64) -> Operation {
    let locks = LockManager::default();
    let mut first = 0;
    Box::new(move || {
        let owners = first..=first + waiters;
        first += waiters + 1;
        for owner in owners.clone() {
            black_box(locks.acquire(Owner(owner), vec![exclusive(Oid(1))], NOW, ()));
        }
        for owner in owners {
            black_box(locks.release(Owner(owner), NOW));
        }
    })
}

/// An index of the objects 0 to `objects` - 1, each with one revision: 24 bytes an object.
pub fn filled_index(objects: u64) -> Arc<Index> {
    let index = Index::default();
    for number in 0..objects {
        let place = Place { offset: number * 1100, segment: 0, len: 1 << 10 };
        index.publish(Oid(number), Revision { tid: Tid(1 + number / 10), place });
    }
    Arc::new(index)
}

/// Looks up the current revision of one object after the other, in no order.
pub fn index_hit(index: Arc<Index>) -> Operation {
    let mut oids = scattered(0, index.objects());
    Box::new(move || {
        let found = index.find(black_box(oids()), Which::Before(Tid::MAX));
        assert!(matches!(black_box(found), Lookup::Revision { .. }));
    })
}

/// Same, of objects that are not there.
pub fn index_miss(index: Arc<Index>) -> Operation {
    let mut oids = scattered(index.objects(), index.objects());
    Box::new(move || {
        let found = index.find(black_box(oids()), Which::Before(Tid::MAX));
        assert!(matches!(black_box(found), Lookup::Unknown));
    })
}

/// Begins a transaction, stores a record of `bytes` bytes, votes, and aborts, over memory.
pub fn vote_and_abort(bytes: usize) -> Operation {
    let storage = in_memory();
    let inbox = Inbox::new();
    let data = record(bytes);
    Box::new(move || {
        let mut transaction = storage.begin(Meta { status: b' ', ..Meta::default() });
        transaction.store(Oid(1), Tid::ZERO, data.clone()).expect("there is room");
        assert!(matches!(inbox.vote(&mut *transaction), Ok(Vote::Promised)));
    })
}

/// Commits a new object of `bytes` bytes to a log in a folder for temporary files, without a sync,
/// and waits for the answer.
pub fn commit(bytes: usize) -> Operation {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let location = Location { kind: Kind::File(folder.path().join("storage")), blobs: None };
    let options = Options { sync: Sync::None, ..Options::default() };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let storage = storage::open(&location, options, &disk, Clock::new()).expect("an empty folder");
    let inbox = Inbox::new();
    let data = record(bytes);
    let mut oid = 0;
    Box::new(move || {
        let _kept = &folder;
        oid += 1;
        inbox.commit(&*storage, &[(Oid(oid), Tid::ZERO, &data)]).expect("a new object");
    })
}

/// An empty storage in memory.
pub(super) fn in_memory() -> Arc<dyn Storage> {
    let location = Location { kind: Kind::Memory, blobs: None };
    let disk = SimDisk::new().handle();
    storage::open(&location, Options::default(), &disk, Clock::new()).expect("it needs nothing")
}

/// The numbers `first` to `first + count - 1` in an order without a pattern, and some twice: a few
/// instructions each, so that memory for an index of any size is left alone.
fn scattered(first: u64, count: u64) -> impl FnMut() -> Oid {
    let mut state = 0u64;
    move || {
        // splitmix64, and its upper bits scaled to the range.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        Oid(first + ((u128::from(bits) * u128::from(count)) >> 64) as u64)
    }
}

fn exclusive(oid: Oid) -> Want {
    Want { key: Key::Object(oid), mode: Mode::Exclusive }
}

const NOW: Duration = Duration::from_secs(1);
