//! Votes that wait for each other.

use bytes::Bytes;
use protocol::{Conflict, Failure, Loaded, Oid, Reply, Request, Tid, TransactionFault};

use super::Setup;
use super::bench::Bench;
use super::peer::Event;

/// A client that votes and then takes its time holds up nobody but those who want the same object.
pub fn a_voted_transaction_delays_no_other_object(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut slow, mut quick) = bench.peers();
    let transaction = slow.voted(Oid(1), Tid::ZERO, b"slow");
    let mut serial = Tid::ZERO;
    for _ in 0..20 {
        serial = quick.commit(&[(Oid(2), serial, b"quick")]);
    }
    let tid = slow.finish(transaction);
    assert!(tid > serial, "tids are given out by the finish");
    assert_eq!(slow.heard.len(), 20);
    assert_eq!(slow.load(Oid(2)), "quick");
}

/// First come, first served; and who waited knows what happened before it is answered.
pub fn votes_for_one_object_are_answered_in_turn(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut observer) = bench.peers();
    let base = first.commit(&[(Oid(1), Tid::ZERO, b"base")]);
    let (mut second, mut third) = bench.peers();

    let transaction = first.voted(Oid(1), base, b"first");
    let mut waiting = vec![];
    for (number, peer) in [(1, &mut second), (2, &mut third)] {
        let transaction = peer.begin();
        peer.store(transaction, Oid(1), base, b"stale");
        waiting.push((transaction, peer.send(&Request::Vote { transaction })));
        observer.wait_for_status("a vote that waits", |status| status.waiting == number);
    }
    let committed = first.finish(transaction);
    let conflict = Conflict { oid: Oid(1), committed, given: base, data: "stale".into() };
    for (peer, (transaction, vote)) in [&mut second, &mut third].into_iter().zip(waiting) {
        assert_eq!(peer.event(), Event::Invalidated(committed, vec![Oid(1)]));
        let reply = Reply::Conflicts(vec![conflict.clone()]);
        assert_eq!(peer.event(), Event::Answered(vote, reply));
        peer.abort(transaction);
    }
}

/// The second one gets the lock, and the third one waits for it.
pub fn a_lock_goes_to_who_came_first(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut observer) = bench.peers();
    let (mut second, mut third) = bench.peers();
    let transaction = first.voted(Oid(1), Tid::ZERO, b"first");
    let mut waiting = vec![];
    for (number, peer) in [(1, &mut second), (2, &mut third)] {
        let transaction = peer.begin();
        peer.store(transaction, Oid(1), Tid::ZERO, b"later");
        waiting.push((transaction, peer.send(&Request::Vote { transaction })));
        observer.wait_for_status("a vote that waits", |status| status.waiting == number);
    }
    first.abort(transaction);
    for (peer, (transaction, vote)) in [&mut second, &mut third].into_iter().zip(waiting) {
        // The loser of the next round would be answered here if it had been the first.
        assert_eq!(peer.answer(vote), Reply::Voted);
        observer.wait_for_status("the other one waits", |status| {
            status.active_transactions == status.waiting + 1
        });
        peer.abort(transaction);
    }
}

/// On the connection that waits, too.
pub fn loads_go_on_while_a_vote_waits(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut second) = bench.peers();
    let base = first.commit(&[(Oid(1), Tid::ZERO, b"base")]);
    let transaction = first.voted(Oid(1), base, b"first");
    let waits = second.begin();
    second.store(waits, Oid(1), base, b"second");
    let vote = second.send(&Request::Vote { transaction: waits });
    for peer in [&mut second, &mut first] {
        let number = peer.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
        let loaded = Loaded { data: Bytes::from_static(b"base"), tid: base, end: None };
        loop {
            match peer.event() {
                Event::Invalidated(tid, _) => assert_eq!(tid, base),
                event => {
                    assert_eq!(event, Event::Answered(number, Reply::Loaded(Some(loaded))));
                    break;
                }
            }
        }
    }
    first.abort(transaction);
    assert_eq!(second.answer(vote), Reply::Voted);
    second.finish(waits);
    assert_eq!(first.load(Oid(1)), "second");
}

/// What the server has for a client that does not read at the time is sent when it reads again,
/// even if the client asks for nothing more.
pub fn a_vote_is_answered_to_who_did_not_read_meanwhile(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut second) = bench.peers();
    // More than all buffers between the two can hold.
    let base = first.commit(&[(Oid(1), Tid::ZERO, &[7; 20 << 20])]);
    let transaction = first.voted(Oid(2), Tid::ZERO, b"first");
    let waits = second.begin();
    second.store(waits, Oid(2), Tid::ZERO, b"second");
    let vote = second.send(&Request::Vote { transaction: waits });
    let loads = first.status().loads;
    let load = second.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    first.wait_for_status("the load is answered", |status| status.loads > loads);
    first.abort(transaction);
    first.wait_for_status("the vote is over", |status| status.waiting == 0);
    let Reply::Loaded(Some(loaded)) = second.answer(load) else { panic!("not loaded") };
    assert_eq!((loaded.tid, loaded.data.len()), (base, 20 << 20));
    assert_eq!(second.answer(vote), Reply::Voted);
    second.finish(waits);
}

/// It gives its place in the queue away, and its vote gets an answer.
pub fn a_waiting_vote_can_be_aborted(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut second) = bench.peers();
    let mut third = bench.peer();
    let transaction = first.voted(Oid(1), Tid::ZERO, b"first");
    let waits = second.begin();
    second.store(waits, Oid(1), Tid::ZERO, b"second");
    let vote = second.send(&Request::Vote { transaction: waits });
    first.wait_for_status("a vote that waits", |status| status.waiting == 1);
    second.abort(waits);
    let aborted = Reply::Failed(Failure::Transaction(TransactionFault::Aborted));
    assert_eq!(second.answer(vote), aborted);
    first.wait_for_status("nobody waits", |status| status.waiting == 0);
    first.abort(transaction);
    third.commit(&[(Oid(1), Tid::ZERO, b"third")]);
    assert_eq!(second.load(Oid(1)), "third");
}

/// Whether the client went after its vote was answered, or while it waited.
pub fn a_lost_connection_frees_its_locks(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut gone, mut gone_waiting) = bench.peers();
    let mut heir = bench.peer();
    gone.voted(Oid(1), Tid::ZERO, b"never");
    let never = gone_waiting.begin();
    gone_waiting.store(never, Oid(1), Tid::ZERO, b"never");
    gone_waiting.send(&Request::Vote { transaction: never });
    heir.wait_for_status("a vote that waits", |status| status.waiting == 1);
    let transaction = heir.begin();
    heir.store(transaction, Oid(1), Tid::ZERO, b"heir");
    let vote = heir.send(&Request::Vote { transaction });
    gone_waiting.hang_up();
    gone_waiting.wait_until_closed();
    drop(gone);
    assert_eq!(heir.answer(vote), Reply::Voted);
    heir.finish(transaction);
    let status = heir.status();
    assert_eq!((status.connections, status.active_transactions), (1, 0));
}

/// Readers of one object do not wait for each other, but a writer waits for them.
pub fn read_checks_share_a_lock(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut second) = bench.peers();
    let mut writer = bench.peer();
    let base = writer.commit(&[(Oid(1), Tid::ZERO, b"base")]);
    let mut readers = vec![];
    for (peer, own) in [(&mut first, Oid(2)), (&mut second, Oid(3))] {
        let transaction = peer.begin();
        peer.post(&Request::CheckCurrentSerial { transaction, oid: Oid(1), serial: base });
        peer.store(transaction, own, Tid::ZERO, b"derived");
        peer.must_vote(transaction);
        readers.push((peer, transaction));
    }
    let changes = writer.begin();
    writer.store(changes, Oid(1), base, b"new");
    let vote = writer.send(&Request::Vote { transaction: changes });
    let mut tids = vec![];
    for (peer, transaction) in readers {
        peer.wait_for_status("the writer waits", |status| status.waiting == 1);
        tids.push(peer.finish(transaction));
    }
    assert_eq!(writer.answer(vote), Reply::Voted);
    let written = writer.finish(changes);
    assert!(tids.iter().all(|tid| *tid < written), "a checked revision was current until then");
}
