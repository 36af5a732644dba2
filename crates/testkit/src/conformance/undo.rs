//! Undo, and what can be undone.

use bytes::Bytes;
use protocol::{Failure, Loaded, Oid, Reply, Request, Tid, TransactionSummary, UndoLog, Wanted};

use super::Setup;
use super::bench::Bench;
use super::peer::Peer;

/// A transaction that has voted to undo others.
fn undo(peer: &mut Peer, tids: &[Tid]) -> (protocol::TransactionId, Reply) {
    let transaction = peer.begin();
    for &tid in tids {
        peer.post(&Request::Undo { transaction, tid });
    }
    let voted = peer.vote(transaction);
    (transaction, voted)
}

fn must_undo(peer: &mut Peer, tids: &[Tid], oids: &[Oid]) -> Tid {
    let (transaction, voted) = undo(peer, tids);
    assert_eq!(voted, Reply::Determined(oids.to_vec()));
    peer.finish(transaction)
}

fn tids(reply: Reply) -> Vec<Tid> {
    match reply {
        Reply::UndoLog(summaries) | Reply::History(summaries) => {
            summaries.into_iter().map(|one| one.tid).collect()
        }
        reply => panic!("a list is answered {reply:?}"),
    }
}

/// All see what was before, and who undid is told which of its objects are old.
pub fn an_undo_brings_back_what_was_before(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"first")]);
    let second = peer.commit(&[(Oid(1), first, b"second"), (Oid(2), Tid::ZERO, b"new")]);
    let oids = [Oid(1), Oid(2)];
    let undone = must_undo(&mut peer, &[second], &oids);
    other.ping();
    assert_eq!(other.heard.last(), Some(&(undone, oids.to_vec())));
    for peer in [&mut peer, &mut other] {
        let back = Loaded { data: "first".into(), tid: undone, end: None };
        assert_eq!(peer.load_before(Oid(1), Tid::MAX), Ok(Some(back)));
        let gone = Err(Failure::UnknownOid(Oid(2)));
        assert_eq!(peer.load_before(Oid(2), Tid::MAX), gone, "its creation is undone");
    }
    must_undo(&mut other, &[undone], &oids);
    assert_eq!(peer.load(Oid(1)), "second");
    assert_eq!(peer.load(Oid(2)), "new");
}

/// Several undos of one transaction see what those before them did.
pub fn several_transactions_are_undone_at_once(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"first")]);
    let second = peer.commit(&[(Oid(1), first, b"second")]);
    let third = peer.commit(&[(Oid(1), second, b"third")]);
    must_undo(&mut peer, &[third, second], &[Oid(1)]);
    assert_eq!(peer.load(Oid(1)), "first");
}

/// Only a client could merge, so later changes are in the way, and all of them are named.
pub fn later_changes_are_in_the_way_of_an_undo(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let oids = [Oid(1), Oid(2), Oid(3)];
    let tid = peer.commit(&oids.map(|oid| (oid, Tid::ZERO, &b"data"[..])));
    other.commit(&[(Oid(1), tid, b"later"), (Oid(3), tid, b"later")]);
    let (transaction, voted) = undo(&mut peer, &[tid]);
    let Reply::Failed(Failure::Undo(reasons)) = voted else { panic!("{voted:?}") };
    let named: Vec<_> = reasons.iter().map(|(oid, _)| *oid).collect();
    assert_eq!(named, [Oid(1), Oid(3)]);
    peer.abort(transaction);
    other.commit(&[(Oid(2), tid, b"nothing is locked")]);
}

/// Neither what never was nor what is not finished.
pub fn an_unknown_transaction_cannot_be_undone(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let tid = peer.commit(&[(Oid(1), Tid::ZERO, b"data")]);
    for wrong in [Tid::ZERO, Tid(tid.0 - 1), tid.next()] {
        let (transaction, voted) = undo(&mut peer, &[wrong]);
        let is_refused = matches!(voted, Reply::Failed(Failure::NotUndoable(_)));
        assert!(is_refused, "{wrong}: {voted:?}");
        peer.abort(transaction);
    }
    must_undo(&mut peer, &[tid], &[Oid(1)]);
}

/// The newest first, and as many as were asked for.
pub fn an_undo_log_lists_transactions(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let mut all: Vec<Tid> =
        (1..=5).map(|oid| peer.commit(&[(Oid(oid), Tid::ZERO, b"data")])).collect();
    all.reverse();
    let mut log = |first, last, filter: &[(&str, Wanted)]| {
        let filter =
            filter.iter().map(|(key, wanted)| ((*key).to_owned(), wanted.clone())).collect();
        peer.call(&Request::UndoLog(UndoLog { first, last, filter }))
    };
    assert_eq!(tids(log(0, 20, &[])), all);
    assert_eq!(tids(log(1, 3, &[])), all.get(1..3).expect("there are five"));
    assert_eq!(tids(log(7, 20, &[])), []);
    let user = |name: &'static [u8]| ("user_name", Wanted::Value(Bytes::from_static(name)));
    assert_eq!(tids(log(0, 20, &[user(b"\xa4user")])), all);
    assert_eq!(tids(log(0, 20, &[user(b"\xa5other")])), []);
    let Reply::UndoLog(log) = log(0, 1, &[]) else { panic!("a log") };
    assert!(log.iter().all(|one| one.user == "user" && one.description.is_empty()), "{log:?}");
}

/// Deletions among them.
pub fn a_history_lists_the_revisions_of_an_object(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let first = peer.commit(&[(Oid(1), Tid::ZERO, b"first")]);
    let second = peer.commit(&[(Oid(1), first, b"second one")]);
    peer.commit(&[(Oid(2), Tid::ZERO, b"another")]);
    let transaction = peer.begin();
    peer.post(&Request::Delete { transaction, oid: Oid(1), serial: second });
    peer.must_vote(transaction);
    let deleted = peer.finish(transaction);
    let mut history = |oid, count| peer.call(&Request::History { oid: Oid(oid), count });
    assert_eq!(tids(history(1, 9)), [deleted, second, first]);
    let Reply::History(newest) = history(1, 2) else { panic!("a history") };
    let sizes: Vec<_> = newest.iter().map(|TransactionSummary { size, .. }| *size).collect();
    assert_eq!(sizes, [0, 10]);
    assert_eq!(history(3, 9), Reply::Failed(Failure::UnknownOid(Oid(3))));
}
