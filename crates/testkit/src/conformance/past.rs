//! Iteration, copies, and what caches have missed.

#![expect(clippy::indexing_slicing, reason = "lists of known lengths")]

use protocol::{
    CurrentRecord, Failure, Oid, Reply, Request, Tid, TransactionHead, TransactionRecord,
};

use super::Setup;
use super::bench::Bench;
use super::peer::Peer;

fn iterate(peer: &mut Peer, start: Option<Tid>, stop: Option<Tid>) -> u64 {
    iterator(peer.call(&Request::Iterate { start, stop }))
}

fn iterator(reply: Reply) -> u64 {
    match reply {
        Reply::Iterator(number) => number,
        reply => panic!("an iterator is answered {reply:?}"),
    }
}

fn next(peer: &mut Peer, iterator: u64) -> Option<TransactionHead> {
    match peer.call(&Request::NextTransaction { iterator }) {
        Reply::Transaction(head) => head,
        reply => panic!("a transaction is answered {reply:?}"),
    }
}

fn records(peer: &mut Peer, iterator: u64, tid: Tid) -> Vec<TransactionRecord> {
    let records = self::iterator(peer.call(&Request::IterateRecords { iterator, tid }));
    let next = Request::NextTransactionRecord { iterator: records };
    let next = || match peer.call(&next) {
        Reply::TransactionRecord(record) => record,
        reply => panic!("a record is answered {reply:?}"),
    };
    std::iter::from_fn(next).collect()
}

type Dumped = (TransactionHead, Vec<TransactionRecord>);

fn dump(peer: &mut Peer, start: Option<Tid>, stop: Option<Tid>) -> Vec<Dumped> {
    let iterator = iterate(peer, start, stop);
    let mut all = Vec::new();
    while let Some(head) = next(peer, iterator) {
        let records = records(peer, iterator, head.tid);
        all.push((head, records));
    }
    all
}

/// Something of everything: creations, changes, a deletion, undos, an empty transaction.
fn eventful(peer: &mut Peer) -> Vec<Tid> {
    let mut tids = vec![peer.commit(&[(Oid(1), Tid::ZERO, b"one"), (Oid(2), Tid::ZERO, b"")])];
    tids.push(peer.commit(&[(Oid(1), tids[0], b"changed")]));
    tids.push(peer.commit(&[]));
    tids.push(undo(peer, tids[1]));
    tids.push(peer.commit(&[(Oid(3), Tid::ZERO, &[3; 100_000])]));
    tids.push(undo(peer, tids[4]));
    let transaction = peer.begin();
    peer.post(&Request::Delete { transaction, oid: Oid(2), serial: tids[0] });
    peer.must_vote(transaction);
    tids.push(peer.finish(transaction));
    tids
}

fn undo(peer: &mut Peer, tid: Tid) -> Tid {
    let transaction = peer.begin();
    peer.post(&Request::Undo { transaction, tid });
    let voted = peer.vote(transaction);
    assert!(matches!(voted, Reply::Determined(_)), "{voted:?}");
    peer.finish(transaction)
}

/// In tid order, with their records, from a tid to a tid.
pub fn transactions_come_back_by_iteration(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let tids = eventful(&mut peer);
    let all = dump(&mut peer, None, None);
    assert_eq!(all.iter().map(|(head, _)| head.tid).collect::<Vec<_>>(), tids);
    assert!(all.iter().all(|(head, _)| head.user == "user" && head.status == b' '), "{all:?}");
    let shape = |(_, records): &Dumped| {
        records
            .iter()
            .map(|record| {
                (record.oid.0, record.data.as_ref().map(|data| data.len()), record.origin)
            })
            .collect::<Vec<_>>()
    };
    let shapes: Vec<_> = all.iter().map(shape).collect();
    let expected = [
        vec![(1, Some(3), None), (2, Some(0), None)],
        vec![(1, Some(7), None)],
        vec![],
        vec![(1, Some(3), Some(tids[0]))],
        vec![(3, Some(100_000), None)],
        vec![(3, None, None)],
        vec![(2, None, None)],
    ];
    assert_eq!(shapes, expected);
    let some = dump(&mut peer, Some(tids[1].next()), Some(tids[4]));
    assert_eq!(some, all.get(2..5).expect("there are seven"));
}

/// The iterator shows what was there when it was made.
pub fn commits_go_on_during_an_iteration(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let mut tids = vec![other.commit(&[(Oid(1), Tid::ZERO, b"0")])];
    for number in 1..20_u8 {
        let serial = *tids.last().expect("there is one");
        tids.push(other.commit(&[(Oid(1), serial, &[number])]));
    }
    let iterator = iterate(&mut peer, None, None);
    let mut serial = *tids.last().expect("there are some");
    for tid in tids {
        serial = other.commit(&[(Oid(1), serial, b"later")]);
        assert_eq!(next(&mut peer, iterator).map(|head| head.tid), Some(tid));
        assert_eq!(records(&mut peer, iterator, tid).len(), 1);
    }
    assert_eq!(next(&mut peer, iterator), None);
}

/// At the end, when it is ended, and with the wrong number.
pub fn an_iterator_that_is_gone_is_unknown(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut peer, mut other) = bench.peers();
    let tid = peer.commit(&[(Oid(1), Tid::ZERO, b"data")]);
    let iterator = iterate(&mut peer, None, None);
    let wrong = peer.call(&Request::IterateRecords { iterator, tid });
    assert!(matches!(wrong, Reply::Failed(_)), "it gave no transaction yet: {wrong:?}");
    assert_eq!(next(&mut peer, iterator).map(|head| head.tid), Some(tid));
    assert_eq!(next(&mut peer, iterator), None);
    let ended = iterate(&mut peer, None, None);
    peer.post(&Request::EndIterators { iterators: vec![ended, 12345] });
    for gone in [iterator, ended, 12345] {
        let unknown = Reply::Failed(Failure::UnknownIterator(gone));
        assert_eq!(peer.call(&Request::NextTransaction { iterator: gone }), unknown);
        assert_eq!(peer.call(&Request::NextTransactionRecord { iterator: gone }), unknown);
    }
    let mine = iterate(&mut peer, None, None);
    let others = other.call(&Request::NextTransaction { iterator: mine });
    assert_eq!(others, Reply::Failed(Failure::UnknownIterator(mine)), "it is another's");
}

/// Tids, origins and all; and who has the copy open is told of each transaction.
pub fn a_copy_of_a_storage_is_equal(setup: &Setup) {
    let (original, copy) = (Bench::start(setup), Bench::start(setup));
    let (mut reader, mut writer, mut watcher) = (original.peer(), copy.peer(), copy.peer());
    eventful(&mut reader);
    let all = dump(&mut reader, None, None);
    for (head, records) in &all {
        let transaction = writer.begin_with(Some(head.tid));
        for record in records.iter().cloned() {
            let TransactionRecord { oid, tid, data, origin, .. } = record;
            writer.post(&Request::Restore { transaction, oid, tid, data, origin });
        }
        writer.must_vote(transaction);
        assert_eq!(writer.finish(transaction), head.tid);
    }
    assert_eq!(dump(&mut writer, None, None), all);
    watcher.ping();
    let told: Vec<_> = all
        .iter()
        .map(|(head, records)| (head.tid, records.iter().map(|record| record.oid).collect()))
        .collect();
    assert_eq!(watcher.heard, told);
}

/// From one to the next, without those that are deleted.
pub fn all_objects_are_walked_through(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let nothing = peer.call(&Request::NextRecord { oid: None });
    assert!(matches!(nothing, Reply::Failed(_)), "{nothing:?}");
    eventful(&mut peer);
    let tid = peer.commit(&[(Oid(1 << 40), Tid::ZERO, b"far away")]);
    let mut found = Vec::new();
    let mut from = None;
    loop {
        match peer.call(&Request::NextRecord { oid: from }) {
            Reply::CurrentRecord(CurrentRecord { oid, tid, data, next }) => {
                found.push((oid, tid, data));
                from = next;
            }
            reply => panic!("a record is answered {reply:?}"),
        }
        if from.is_none() {
            break;
        }
    }
    let oids: Vec<_> = found.iter().map(|(oid, ..)| oid.0).collect();
    assert_eq!(oids, [1, 1 << 40], "2 is deleted, the creation of 3 undone");
    assert_eq!(found.pop(), Some((Oid(1 << 40), tid, "far away".into())));
}

/// Beyond the last transactions, if the operator wants that; deletions and undos among them.
pub fn what_a_cache_missed_is_told_from_far_back(setup: &Setup) {
    let queue = "--invalidation-queue-size=2";
    let bench = Bench::start_with(setup, &[queue, "--invalidation-age=3600"]);
    let mut peer = bench.peer();
    let tids = eventful(&mut peer);
    let missed = |peer: &mut Peer, since| peer.call(&Request::Invalidations { since });
    let last = *tids.last().expect("there are some");
    let oids = |oids: &[u64]| {
        Reply::Invalidations(Some((last, oids.iter().map(|oid| Oid(*oid)).collect())))
    };
    assert_eq!(missed(&mut peer, tids[0]), oids(&[1, 2, 3]));
    assert_eq!(missed(&mut peer, tids[3]), oids(&[2, 3]));
    assert_eq!(missed(&mut peer, last), oids(&[]));
    assert_eq!(missed(&mut peer, Tid(1)), Reply::Invalidations(None), "too long ago");

    let short = Bench::start_with(setup, &[queue]);
    let mut peer = short.peer();
    let tids = eventful(&mut peer);
    assert_eq!(missed(&mut peer, tids[0]), Reply::Invalidations(None), "without the option");
}

/// All of it is in the log.
pub fn the_past_survives_a_kill(setup: &Setup) {
    let mut bench = Bench::start(setup);
    let mut peer = bench.peer();
    let tids = eventful(&mut peer);
    let all = dump(&mut peer, None, None);
    bench.crash();
    let mut peer = bench.peer();
    assert_eq!(dump(&mut peer, None, None), all);
    undo(&mut peer, tids[6]);
    assert_eq!(peer.load(Oid(2)), "");
}
