//! Iterators, and answers that were overtaken.

use bytes::Bytes;
use protocol::{
    CurrentRecord, Failure, Incoming, Oid, Push, Reply, Request, Tid, TransactionHead,
    TransactionRecord,
};

use crate::talk::{Talk, reply};

fn head(tid: u64) -> Reply {
    let [user, description, extension] = [Bytes::new(), Bytes::new(), Bytes::new()];
    let tid = Tid(tid);
    Reply::Transaction(Some(TransactionHead { tid, status: b' ', user, description, extension }))
}

fn iterate(talk: &mut Talk, stop: u64) -> u64 {
    match talk.ask(&Request::Iterate { start: None, stop: Some(Tid(stop)) }) {
        Reply::Iterator(iterator) => iterator,
        other => panic!("an iterator is answered {other:?}"),
    }
}

/// A client may ask for several transactions at once, while the storage looks for the first one.
#[test]
fn an_iterator_serves_one_question_after_the_other() {
    let mut talk = Talk::registered(true);
    let iterator = iterate(&mut talk, 2);
    let next = Request::NextTransaction { iterator };
    let numbers: Vec<u64> = (0..4).map(|_| talk.send(&next)).collect();
    let ping = talk.send(&Request::Ping);
    assert_eq!(talk.exchange(), [reply(ping, Reply::Done)], "the rest goes on");
    let unknown = || Reply::Failed(Failure::UnknownIterator(iterator));
    for (number, answer) in [(numbers[0], head(1)), (numbers[1], head(2))] {
        talk.storage.move_cursor();
        assert_eq!(talk.exchange(), [reply(number, answer)]);
        assert_eq!(talk.storage.state().cursors.len(), 1);
    }
    talk.storage.move_cursor();
    let end = [reply(numbers[2], Reply::Transaction(None)), reply(numbers[3], unknown())];
    assert_eq!(talk.exchange(), end, "at the end an iterator is gone");
    assert_eq!(talk.ask(&next), unknown());
}

#[test]
fn records_are_those_of_the_transaction_that_was_told_last() {
    let mut talk = Talk::registered(true);
    let iterator = iterate(&mut talk, 2);
    let records = |tid| Request::IterateRecords { iterator, tid };
    assert!(matches!(talk.ask(&records(Tid(1))), Reply::Failed(Failure::Value(_))));
    let next = talk.send(&Request::NextTransaction { iterator });
    assert_eq!(talk.exchange(), []);
    talk.storage.move_cursor();
    assert_eq!(talk.exchange(), [reply(next, head(1))]);
    assert!(matches!(talk.ask(&records(Tid(2))), Reply::Failed(Failure::Value(_))));
    // Each time anew.
    for _ in 0..2 {
        let Reply::Iterator(records) = talk.ask(&records(Tid(1))) else { panic!("an iterator") };
        let next = Request::NextTransactionRecord { iterator: records };
        let record = TransactionRecord {
            oid: Oid(1),
            tid: Tid(1),
            data: None,
            origin: None,
            has_blob: false,
        };
        assert_eq!(talk.ask(&next), Reply::TransactionRecord(Some(record)));
        assert_eq!(talk.ask(&next), Reply::TransactionRecord(None));
        assert_eq!(talk.ask(&next), Reply::Failed(Failure::UnknownIterator(records)));
        let wrong = Request::NextTransaction { iterator: records };
        assert_eq!(talk.ask(&wrong), Reply::Failed(Failure::UnknownIterator(records)));
    }
}

#[test]
fn who_waits_for_an_iterator_that_is_ended_is_told() {
    let mut talk = Talk::registered(true);
    let iterator = iterate(&mut talk, 9);
    let next = Request::NextTransaction { iterator };
    let (first, second) = (talk.send(&next), talk.send(&next));
    talk.send(&Request::EndIterators { iterators: vec![iterator, 77] });
    let unknown = Reply::Failed(Failure::UnknownIterator(iterator));
    assert_eq!(talk.exchange(), [reply(second, unknown.clone())]);
    talk.storage.move_cursor();
    assert_eq!(talk.exchange(), [reply(first, head(1))]);
    assert_eq!(talk.ask(&next), unknown);
}

#[test]
fn a_connection_has_so_many_iterators_and_no_more() {
    let mut talk = Talk::registered(true);
    let first = iterate(&mut talk, 1);
    for _ in 1..1000 {
        iterate(&mut talk, 1);
    }
    let one_more = Request::Iterate { start: None, stop: None };
    let refused = talk.ask(&one_more);
    assert!(
        matches!(&refused, Reply::Failed(Failure::Value(text)) if text.contains("1000")),
        "{refused:?}"
    );
    talk.send(&Request::EndIterators { iterators: vec![first] });
    assert!(matches!(talk.ask(&one_more), Reply::Iterator(_)));
}

/// What comes between the question and its answer is told as it comes: the answer goes up to what
/// the client had been told when it asked.
#[test]
fn a_late_answer_of_what_was_missed_ends_where_invalidations_went_on() {
    let mut talk = Talk::registered(true);
    let first = talk.storage.commit(Oid(1));
    talk.exchange();
    let missed = talk.send(&Request::Invalidations { since: Tid::ZERO });
    assert_eq!(talk.exchange(), []);
    let second = talk.storage.commit(Oid(2));
    let push = Push::Invalidate { tid: second, oids: [Oid(2)].into() };
    assert_eq!(talk.exchange(), [Incoming::Push(push)]);
    talk.storage.answer_missed(Some(vec![Oid(1)]));
    let answer = Reply::Invalidations(Some((first, vec![Oid(1)])));
    assert_eq!(talk.exchange(), [reply(missed, answer)]);

    let missed = talk.send(&Request::Invalidations { since: Tid::ZERO });
    assert_eq!(talk.exchange(), []);
    talk.storage.answer_missed(None);
    assert_eq!(talk.exchange(), [reply(missed, Reply::Invalidations(None))]);
}

#[test]
fn a_current_record_that_was_overtaken_is_read_anew() {
    let mut talk = Talk::registered(true);
    let first = talk.storage.commit(Oid(1));
    talk.exchange();
    let next = talk.send(&Request::NextRecord { oid: None });
    assert_eq!(talk.exchange(), []);
    let second = talk.storage.commit(Oid(1));
    assert_eq!(talk.exchange().len(), 1, "the invalidation");
    talk.storage.answer_record(Oid(1), first);
    assert_eq!(talk.exchange(), [], "it is not current any more");
    talk.storage.answer_record(Oid(1), second);
    let record = CurrentRecord { oid: Oid(1), tid: second, data: Bytes::new(), next: None };
    assert_eq!(talk.exchange(), [reply(next, Reply::CurrentRecord(record))]);
}
