//! Transactions of one connection after the other.

use bytes::Bytes;
use protocol::{Conflict, Failure, Loaded, Oid, Reply, Request, Tid, TransactionFault};

use super::Setup;
use super::bench::Bench;

/// What one connection commits, another one reads.
pub fn a_commit_is_read_by_another_connection(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut writer, mut reader) = bench.peers();
    let tid = writer.commit(&[(Oid(1), Tid::ZERO, b"one"), (Oid(2), Tid::ZERO, b"")]);
    let revision = |data: &'static str| Ok(Some(Loaded { data: data.into(), tid, end: None }));
    for peer in [&mut writer, &mut reader] {
        assert_eq!(peer.load_before(Oid(1), Tid::MAX), revision("one"));
        assert_eq!(peer.load_before(Oid(2), Tid::MAX), revision(""));
    }
    let later = bench.peer();
    assert_eq!(later.last, tid, "the registration tells the newest tid");
}

/// A client learns all at once what it has to resolve, stores it on the committed serials, and
/// votes again.
pub fn a_vote_is_answered_with_all_conflicts(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut second) = bench.peers();
    let oids = [Oid(1), Oid(2), Oid(3), Oid(4)];
    let base = first.commit(&oids.map(|oid| (oid, Tid::ZERO, &b"base"[..])));
    let changed = [Oid(1), Oid(2), Oid(4)];
    let committed = first.commit(&changed.map(|oid| (oid, base, &b"first"[..])));

    let transaction = second.begin();
    for oid in oids {
        second.store(transaction, oid, base, b"second");
    }
    let conflict =
        |oid| Conflict { oid, committed, given: base, data: Bytes::from_static(b"second") };
    let Reply::Conflicts(mut conflicts) = second.vote(transaction) else {
        panic!("three stores are stale");
    };
    conflicts.sort_by_key(|conflict| conflict.oid);
    assert_eq!(conflicts, changed.map(conflict));
    for oid in changed {
        second.store(transaction, oid, committed, b"merged");
    }
    second.must_vote(transaction);
    let tid = second.finish(transaction);
    for (oid, data) in [(Oid(1), "merged"), (Oid(2), "merged"), (Oid(3), "second")] {
        let loaded = Loaded { data: data.into(), tid, end: None };
        assert_eq!(first.load_before(oid, Tid::MAX), Ok(Some(loaded)));
    }
}

/// ZEO's client votes at most nine times and takes any answer but an error for a promise.
pub fn the_ninth_conflicting_vote_fails(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let base = peer.commit(&[(Oid(1), Tid::ZERO, b"base")]);
    let committed = peer.commit(&[(Oid(1), base, b"other")]);
    let transaction = peer.begin();
    peer.store(transaction, Oid(1), base, b"mine");
    for _ in 0..8 {
        assert!(matches!(peer.vote(transaction), Reply::Conflicts(_)));
        peer.store(transaction, Oid(1), base, b"mine");
    }
    let failure = Failure::Conflict { oid: Oid(1), committed, given: base };
    assert_eq!(peer.vote(transaction), Reply::Failed(failure));
    peer.abort(transaction);
    peer.commit(&[(Oid(1), committed, b"afterwards")]);
}

/// Who has read an old revision cannot commit.
pub fn a_stale_read_check_fails_the_vote(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut second) = bench.peers();
    let base = first.commit(&[(Oid(1), Tid::ZERO, b"base")]);
    let transaction = second.begin();
    second.post(&Request::CheckCurrentSerial { transaction, oid: Oid(1), serial: base });
    second.store(transaction, Oid(2), Tid::ZERO, b"derived");
    second.must_vote(transaction);
    let derived = second.finish(transaction);

    let committed = first.commit(&[(Oid(1), base, b"new")]);
    let transaction = second.begin();
    second.post(&Request::CheckCurrentSerial { transaction, oid: Oid(1), serial: base });
    second.store(transaction, Oid(2), derived, b"derived again");
    let failure = Failure::ReadConflict { oid: Oid(1), committed, given: base };
    assert_eq!(second.vote(transaction), Reply::Failed(failure));
    second.abort(transaction);
    assert_eq!(second.load(Oid(2)), "derived");
}

/// A deleted object has its past, and nothing else.
pub fn a_deleted_object_is_gone(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let base = peer.commit(&[(Oid(1), Tid::ZERO, b"base")]);
    let new = peer.commit(&[(Oid(1), base, b"new")]);

    let transaction = peer.begin();
    peer.post(&Request::Delete { transaction, oid: Oid(1), serial: base });
    let failure = Failure::Conflict { oid: Oid(1), committed: new, given: base };
    assert_eq!(peer.vote(transaction), Reply::Failed(failure), "a delete on an old revision");
    peer.abort(transaction);

    let transaction = peer.begin();
    peer.post(&Request::Delete { transaction, oid: Oid(1), serial: new });
    peer.must_vote(transaction);
    let deleted = peer.finish(transaction);
    for peer in [&mut peer, &mut other] {
        assert_eq!(peer.load_before(Oid(1), Tid::MAX), Err(Failure::UnknownOid(Oid(1))));
        let current = peer.call(&Request::CurrentTid { oid: Oid(1) });
        assert_eq!(current, Reply::Failed(Failure::UnknownOid(Oid(1))));
        let last = Loaded { data: "new".into(), tid: new, end: Some(deleted) };
        assert_eq!(peer.load_before(Oid(1), deleted), Ok(Some(last)));
    }
}

/// Copying a storage keeps the tids; they have to increase.
pub fn a_copied_transaction_keeps_its_tid(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let base = peer.commit(&[(Oid(1), Tid::ZERO, b"base")]);
    let tid = Tid(base.0 + 1000);
    let transaction = peer.begin_with(Some(tid));
    for (oid, data) in [(Oid(1), "copy"), (Oid(0x7777), "another")] {
        peer.post(&Request::Restore {
            transaction,
            oid,
            tid,
            data: Some(data.into()),
            origin: None,
        });
    }
    peer.must_vote(transaction);
    assert_eq!(peer.finish(transaction), tid);
    let copy = Loaded { data: "copy".into(), tid, end: None };
    assert_eq!(other.load_before(Oid(1), Tid::MAX), Ok(Some(copy)));

    for old in [tid, base] {
        let transaction = peer.begin_with(Some(old));
        let data = Some("old".into());
        peer.post(&Request::Restore { transaction, oid: Oid(1), tid: old, data, origin: None });
        let refused = Reply::Failed(Failure::Transaction(TransactionFault::OldTid));
        assert_eq!(peer.vote(transaction), refused);
        peer.abort(transaction);
    }
    for brought in [None, Some(Tid(tid.0 + 1000))] {
        let transaction = peer.begin_with(brought);
        let data = Some("of another tid".into());
        peer.post(&Request::Restore {
            transaction,
            oid: Oid(1),
            tid: Tid(tid.0 + 1),
            data,
            origin: None,
        });
        let vote = peer.vote(transaction);
        assert!(matches!(vote, Reply::Failed(Failure::Arguments(_))), "{vote:?}");
    }
    assert_eq!(other.load(Oid(1)), "copy");
    let next = peer.commit(&[(Oid(1), tid, b"afterwards")]);
    assert!(next > tid);
}

/// Neither before nor after its vote.
pub fn an_aborted_transaction_leaves_nothing(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let transaction = peer.begin();
    peer.store(transaction, Oid(1), Tid::ZERO, b"never");
    peer.abort(transaction);
    let transaction = peer.voted(Oid(1), Tid::ZERO, b"never");
    peer.abort(transaction);
    assert_eq!(other.load_before(Oid(1), Tid::MAX), Err(Failure::UnknownOid(Oid(1))));
    let tid = other.commit(&[(Oid(1), Tid::ZERO, b"at last")]);
    peer.ping();
    assert_eq!(peer.heard, [(tid, vec![Oid(1)])]);
}

/// A transaction without changes gets a tid, too.
pub fn a_transaction_may_be_empty(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let first = peer.commit(&[]);
    let second = peer.commit(&[]);
    assert!(first < second);
    assert_eq!(peer.call(&Request::LastTransaction), Reply::Tid(second));
    other.ping();
    assert_eq!(other.heard, [(first, vec![]), (second, vec![])]);
}
