//! Packs.

use bytes::Bytes;
use protocol::{Failure, Loaded, Oid, Reply, Request, Tid};

use super::Setup;
use super::bench::Bench;
use super::peer::Peer;

fn pack(peer: &mut Peer, before: Tid) {
    let reply = peer.call(&Request::Pack { before, wait: true });
    assert_eq!(reply, Reply::Done);
}

/// Of each object what is current as of the time stays, and all that came later. A load as of an
/// earlier time is right, or fails.
pub fn a_pack_drops_what_was_superseded(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"1a"), (Oid(2), Tid::ZERO, b"2a")]);
    let second = peer.commit(&[(Oid(1), first, b"1b")]);
    let transaction = peer.begin();
    peer.post(&Request::Delete { transaction, oid: Oid(2), serial: first });
    peer.must_vote(transaction);
    let deleted = peer.finish(transaction);
    let third = peer.commit(&[(Oid(1), second, b"1c")]);
    // ZEO's seconds are not exact enough to name a transaction.
    pack(&mut peer, Tid(deleted.0 + (third.0 - deleted.0) / 2));
    let revision =
        |data: &'static str, tid, end| Ok(Some(Loaded { data: Bytes::from(data), tid, end }));
    let unknown = |oid| Err(Failure::UnknownOid(oid));
    for peer in [&mut peer, &mut other] {
        assert_eq!(peer.load_before(Oid(1), Tid::MAX), revision("1c", third, None));
        assert_eq!(peer.load_before(Oid(1), third), revision("1b", second, Some(third)));
        assert_eq!(peer.load_before(Oid(1), second), unknown(Oid(1)), "and not: it is younger");
        assert_eq!(peer.load_before(Oid(2), Tid::MAX), unknown(Oid(2)));
        let serial = |serial| Request::LoadSerial { oid: Oid(1), serial };
        assert_eq!(peer.call(&serial(first)), Reply::Failed(Failure::UnknownOid(Oid(1))));
        assert_eq!(peer.call(&serial(second)), Reply::Data("1b".into()));
    }
    // What is packed away can be made anew.
    peer.commit(&[(Oid(2), Tid::ZERO, b"2b")]);
    assert_eq!(other.load(Oid(2)), "2b");
}

/// Nothing, what was packed before, and the future.
pub fn any_time_may_be_packed_to(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    pack(&mut peer, Tid::MAX);
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"old")]);
    let second = peer.commit(&[(Oid(1), first, b"new")]);
    for before in [Tid::MAX, first, Tid::ZERO, Tid::MAX] {
        pack(&mut peer, before);
        let loaded = Loaded { data: "new".into(), tid: second, end: None };
        assert_eq!(peer.load_before(Oid(1), Tid::MAX), Ok(Some(loaded)));
    }
    peer.commit(&[(Oid(1), second, b"newer")]);
}

/// Who may not write may pack, as in ZEO; all are told what is left.
pub fn a_reader_may_pack_and_all_hear_of_it(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"one"), (Oid(2), Tid::ZERO, b"two")]);
    let transaction = peer.begin();
    peer.post(&Request::Delete { transaction, oid: Oid(2), serial: first });
    peer.must_vote(transaction);
    peer.finish(transaction);
    let mut reader = Peer::registered(bench.endpoint(), true);
    pack(&mut reader, Tid::MAX);
    // Before the answer to whoever asked, and to a later request of anybody else.
    assert_eq!(reader.length, Some(1));
    other.ping();
    assert_eq!(other.length, Some(1));
    let refused = Reply::Failed(Failure::ReadOnly);
    assert_eq!(reader.call(&Request::NewOids { count: 1 }), refused);
}

/// Transactions that are packed cannot be undone, and are told as such.
pub fn what_is_packed_cannot_be_undone(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"old")]);
    let second = peer.commit(&[(Oid(1), first, b"new")]);
    pack(&mut peer, Tid::MAX);
    let transaction = peer.begin();
    peer.post(&Request::Undo { transaction, tid: second });
    let vote = peer.vote(transaction);
    assert!(matches!(vote, Reply::Failed(Failure::NotUndoable(_))), "{vote:?}");
    peer.abort(transaction);
    let third = peer.commit(&[(Oid(1), second, b"newer")]);
    let transaction = peer.begin();
    peer.post(&Request::Undo { transaction, tid: third });
    assert_eq!(peer.vote(transaction), Reply::Determined(vec![Oid(1)]));
    peer.finish(transaction);
    assert_eq!(peer.load(Oid(1)), "new");
}

/// What was dropped stays so, and the rest is there, after a kill.
pub fn a_pack_survives_a_kill(setup: &Setup) {
    let mut bench = Bench::start(setup);
    let mut peer = bench.peer();
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"old")]);
    let second = peer.commit(&[(Oid(1), first, b"new")]);
    pack(&mut peer, Tid::MAX);
    let third = peer.commit(&[(Oid(1), second, b"newer")]);
    bench.crash();
    let mut peer = bench.peer();
    let loaded = |data: &'static str, tid, end| Ok(Some(Loaded { data: data.into(), tid, end }));
    assert_eq!(peer.load_before(Oid(1), Tid::MAX), loaded("newer", third, None));
    assert_eq!(peer.load_before(Oid(1), third), loaded("new", second, Some(third)));
    assert_eq!(peer.load_before(Oid(1), second), Err(Failure::UnknownOid(Oid(1))));
    let invalidations = |since| Request::Invalidations { since };
    // Of what is packed nobody can say what changed.
    assert_eq!(peer.call(&invalidations(first)), Reply::Invalidations(None));
    let changed = Reply::Invalidations(Some((third, vec![Oid(1)])));
    assert_eq!(peer.call(&invalidations(second)), changed);
}
