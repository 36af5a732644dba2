//! Registration and transactions.

use std::sync::atomic::Ordering;

use protocol::{
    Failure, Incoming, Oid, Push, Reply, Request, Tid, TransactionFault, TransactionId,
};
use session::Closed;
use storage::Vote;

use crate::talk::{TRANSACTION, Talk, begin, reply, store};

const VOTE: Request = Request::Vote { transaction: TRANSACTION };
const FINISH: Request = Request::Finish { transaction: TRANSACTION };
const ABORT: Request = Request::Abort { transaction: TRANSACTION };

#[test]
fn registration_tells_the_last_tid_and_subscribes() {
    let mut talk = Talk::new();
    let first = talk.storage.commit(Oid(1));
    let unknown = Reply::Failed(Failure::UnknownStorage("2".to_owned()));
    assert_eq!(talk.register("2", false), unknown);
    assert_eq!(talk.register("1", false), Reply::Tid(first));
    assert_eq!(talk.hosted.counters.connections.load(Ordering::Relaxed), 1);
    let tid = talk.storage.commit(Oid(2));
    let oids = [Oid(2)].into();
    assert_eq!(talk.exchange(), [Incoming::Push(Push::Invalidate { tid, oids })]);

    let Talk { session, storage, hosted, .. } = talk;
    drop(session);
    assert!(storage.state().subscribers.is_empty());
    assert_eq!(hosted.counters.connections.load(Ordering::Relaxed), 0);
}

#[test]
fn requests_before_and_a_second_registration_close_the_connection() {
    let mut talk = Talk::new();
    talk.send(&Request::KeepAlive);
    assert_eq!(talk.exchange(), []);
    talk.send(&Request::Ping);
    assert_eq!(talk.turn(), Err(Closed::OutOfOrder("a request before register")));
    let mut talk = Talk::registered(false);
    talk.send(&Request::Register { storage: "1".to_owned(), read_only: false });
    assert_eq!(talk.turn(), Err(Closed::OutOfOrder("a second register")));
}

#[test]
fn one_way_requests_that_fail_close_the_connection() {
    let mut talk = Talk::registered(true);
    talk.send(&begin());
    assert_eq!(talk.turn(), Err(Closed::OneWay(Failure::ReadOnly)));

    let given = TransactionId(2);
    for (begins, current) in [(false, None), (true, Some(TRANSACTION))] {
        let mut talk = Talk::registered(false);
        if begins {
            talk.send(&begin());
        }
        talk.send(&store(given));
        let fault = TransactionFault::Wrong { current, given };
        assert_eq!(talk.turn(), Err(Closed::OneWay(fault.into())));
    }
}

#[test]
fn a_store_that_fails_is_told_by_the_vote() {
    let mut talk = Talk::registered(false);
    let failure = Failure::Storage("no space".to_owned());
    talk.storage.state().store_fails = Some(failure.clone());
    talk.begin_and_store();
    talk.send(&store(TRANSACTION));
    assert_eq!(talk.ask(&VOTE), Reply::Failed(failure));
    assert_eq!(talk.storage.state().dropped, 1);
    // The transaction is over, the connection is not.
    talk.begin_and_store();
    let vote = talk.send(&VOTE);
    assert_eq!(talk.exchange(), []);
    talk.storage.answer_vote(Vote::Promised);
    assert_eq!(talk.exchange(), [reply(vote, Reply::Voted)]);
}

#[test]
fn a_vote_that_waits_can_be_aborted_and_is_answered_once() {
    let mut talk = Talk::registered(false);
    talk.begin_and_store();
    let vote = talk.send(&VOTE);
    assert_eq!(talk.exchange(), []);
    let abort = talk.send(&ABORT);
    let aborted = Reply::Failed(TransactionFault::Aborted.into());
    assert_eq!(talk.exchange(), [reply(vote, aborted), reply(abort, Reply::Done)]);
    assert_eq!(talk.storage.state().dropped, 1);

    // The storage's own answer was on its way; the next transaction must not take it for its own.
    talk.begin_and_store();
    let second = talk.send(&VOTE);
    assert_eq!(talk.exchange(), []);
    talk.storage.answer_vote(Vote::Promised);
    assert_eq!(talk.exchange(), []);
    talk.storage.answer_vote(Vote::Promised);
    assert_eq!(talk.exchange(), [reply(second, Reply::Voted)]);
}

#[test]
fn a_finish_is_under_way_until_it_is_answered() {
    let mut talk = Talk::registered(false);
    talk.begin_and_store();
    talk.send(&VOTE);
    talk.exchange();
    talk.storage.answer_vote(Vote::Promised);
    talk.exchange();
    assert!(!talk.session.finishing());
    let finish = talk.send(&FINISH);
    // It cannot be taken back, and the next transaction may begin.
    let abort = talk.send(&ABORT);
    talk.send(&begin());
    assert_eq!(talk.exchange(), [reply(abort, Reply::Done)]);
    assert!(talk.session.finishing());
    let tid = talk.storage.answer_finish();
    let info = Incoming::Push(Push::Info { length: 3, size: 4 });
    assert_eq!(talk.exchange(), [info, reply(finish, Reply::Tid(tid))]);
    assert!(!talk.session.finishing());
    assert_eq!(talk.ask(&Request::LastTransaction), Reply::Tid(tid));
    assert!(tid > Tid::ZERO);
}

#[test]
fn a_lost_connection_aborts() {
    let mut talk = Talk::registered(false);
    talk.begin_and_store();
    let Talk { session, storage, hosted, .. } = talk;
    drop(session);
    assert_eq!(storage.state().dropped, 1);
    assert_eq!(hosted.counters.aborts.load(Ordering::Relaxed), 1);
    assert_eq!(hosted.counters.active_transactions.load(Ordering::Relaxed), 0);
}

#[test]
fn a_label_replaces_the_last_one_and_has_a_limit() {
    let mut talk = Talk::registered(false);
    assert_eq!(talk.session.label(), "peer");
    for label in ["first", "second"] {
        talk.send(&Request::Label(label.to_owned()));
        assert_eq!(talk.exchange(), []);
        assert_eq!(talk.session.label(), format!("{label} peer"));
    }
    talk.send(&Request::Label("é".repeat(1000)));
    assert_eq!(talk.exchange(), []);
    assert_eq!(talk.session.label(), format!("{} peer", "é".repeat(100)));
}
