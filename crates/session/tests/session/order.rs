//! What leaves a session when, and what waits.

use protocol::{Incoming, Loaded, Oid, Push, Reply, Request, Tid};
use session::HIGH_WATER_BYTES;

use crate::talk::{Talk, reply};

const LOAD: Request = Request::LoadBefore { oid: Oid(1), before: Tid::MAX };

fn invalidated(tid: Tid) -> Incoming {
    Incoming::Push(Push::Invalidate { tid, oids: [Oid(1)].into() })
}

fn loaded(number: u64, tid: Tid, end: Option<Tid>) -> Incoming {
    reply(number, Reply::Loaded(Some(Loaded { data: bytes::Bytes::new(), tid, end })))
}

/// A connection, and the tid of the current revision of its object, which is on the disk.
fn cold() -> (Talk, Tid) {
    let talk = Talk::registered(false);
    talk.storage.state().is_cold = true;
    let tid = talk.storage.commit(Oid(1));
    (talk, tid)
}

/// Its client would take an old revision for the current one for ever.
#[test]
fn a_late_load_that_was_overtaken_by_an_invalidation_has_an_end() {
    let (mut talk, first) = cold();
    assert_eq!(talk.exchange(), [invalidated(first)]);
    let load = talk.send(&LOAD);
    assert_eq!(talk.exchange(), []);
    let second = talk.storage.commit(Oid(1));
    let third = talk.storage.commit(Oid(1));
    assert_eq!(talk.exchange(), [invalidated(second), invalidated(third)]);
    talk.storage.answer_load();
    assert_eq!(talk.exchange(), [loaded(load, first, Some(second))]);
}

#[test]
fn a_late_load_is_current_if_nothing_happened() {
    let (mut talk, first) = cold();
    assert_eq!(talk.exchange(), [invalidated(first)]);
    let load = talk.send(&LOAD);
    assert_eq!(talk.exchange(), []);
    talk.storage.answer_load();
    assert_eq!(talk.exchange(), [loaded(load, first, None)]);
    let second = talk.storage.commit(Oid(1));
    assert_eq!(talk.exchange(), [invalidated(second)]);
}

#[test]
fn what_was_published_before_a_request_leaves_before_its_answer() {
    let mut talk = Talk::registered(false);
    let tid = talk.storage.commit(Oid(1));
    let load = talk.send(&LOAD);
    let last = talk.send(&Request::LastTransaction);
    let answers = [invalidated(tid), loaded(load, tid, None), reply(last, Reply::Tid(tid))];
    assert_eq!(talk.exchange(), answers);
}

#[test]
fn requests_wait_while_too_many_answers_are_outstanding() {
    let (mut talk, first) = cold();
    talk.exchange();
    let loads: Vec<u64> = (0..200).map(|_| talk.send(&LOAD)).collect();
    let ping = talk.send(&Request::Ping);
    assert_eq!(talk.exchange(), []);
    let asked = talk.storage.state().loads.len();
    assert!(asked < loads.len(), "all {asked} were asked");
    assert!(!talk.session.wants_input(&[]) && talk.has_input());

    let mut answers = Vec::new();
    while !talk.storage.state().loads.is_empty() {
        talk.storage.answer_load();
        answers.extend(talk.exchange());
        assert!(talk.storage.state().loads.len() <= asked);
    }
    assert!(talk.session.wants_input(&[]) && !talk.has_input());
    // The ping did not have to wait for the last loads, but for its turn.
    let position = answers.iter().position(|answer| *answer == reply(ping, Reply::Done)).unwrap();
    assert!(position > loads.len() - asked, "{position}");
    answers.remove(position);
    let wanted: Vec<_> = loads.into_iter().map(|load| loaded(load, first, None)).collect();
    assert_eq!(answers, wanted);
}

#[test]
fn requests_wait_while_much_output_is_unsent() {
    let mut talk = Talk::registered(false);
    talk.storage.commit(Oid(1));
    talk.exchange();
    talk.storage.state().record_bytes = HIGH_WATER_BYTES / 2;
    for _ in 0..10 {
        talk.send(&LOAD);
    }
    for _ in 0..5 {
        assert!(talk.has_input());
        assert_eq!(talk.exchange().len(), 2);
    }
    assert!(!talk.has_input());
}

/// What is left is told before the answer; who does not wait is answered at once, and readers may ask.
#[test]
fn the_end_of_a_pack_is_told_before_its_answer() {
    let left = Incoming::Push(Push::Info { length: 3, size: 4 });
    for read_only in [false, true] {
        let mut talk = Talk::registered(read_only);
        let pack = talk.send(&Request::Pack { before: Tid::MAX, wait: true });
        assert_eq!(talk.exchange(), [left.clone(), reply(pack, Reply::Done)]);
        let pack = talk.send(&Request::Pack { before: Tid::MAX, wait: false });
        assert_eq!(talk.exchange(), [reply(pack, Reply::Done), left.clone()]);
    }
}
