//! Who is told of what, and when.
//!
//! That tids increase strictly on each connection is checked by every `Peer` at all times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use protocol::{Oid, Reply, Request, Tid};

use super::Setup;
use super::bench::Bench;
use super::peer::{Event, Peer};

/// The committer itself finds the tid in its answer.
pub fn all_others_are_told_of_every_transaction(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut writer = bench.peer();
    let mut readers = [bench.peer(), bench.peer(), bench.peer()];
    let stored = writer.commit(&[(Oid(7), Tid::ZERO, b"x"), (Oid(3), Tid::ZERO, b"y")]);
    let empty = writer.commit(&[]);
    let transaction = writer.begin();
    writer.post(&Request::Delete { transaction, oid: Oid(7), serial: stored });
    writer.must_vote(transaction);
    let deleted = writer.finish(transaction);
    let tid = Tid(deleted.0 + 1);
    let transaction = writer.begin_with(Some(tid));
    writer.post(&Request::Restore {
        transaction,
        oid: Oid(9),
        tid,
        data: Some("z".into()),
        origin: None,
    });
    writer.must_vote(transaction);
    let restored = writer.finish(transaction);
    let all = [
        (stored, vec![Oid(3), Oid(7)]),
        (empty, vec![]),
        (deleted, vec![Oid(7)]),
        (restored, vec![Oid(9)]),
    ];
    for reader in &mut readers {
        reader.ping();
        for (_, oids) in &mut reader.heard {
            oids.sort();
        }
        assert_eq!(reader.heard, all);
    }
    writer.ping();
    assert_eq!(writer.heard, []);
}

/// Finishes that are under way at the same time, so that they share a batch.
pub fn finishes_and_invalidations_come_in_tid_order(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peers: Vec<(Oid, Tid, Peer)> =
        (1..=5).map(|oid| (Oid(oid), Tid::ZERO, bench.peer())).collect();
    let mut all: Vec<(Tid, Vec<Oid>)> = vec![];
    for _ in 0..20 {
        let voted: Vec<_> = peers
            .iter_mut()
            .map(|(oid, serial, peer)| peer.voted(*oid, *serial, b"data"))
            .collect();
        let finishes: Vec<u64> = peers
            .iter_mut()
            .zip(voted)
            .map(|((_, _, peer), transaction)| peer.send(&Request::Finish { transaction }))
            .collect();
        for ((oid, serial, peer), finish) in peers.iter_mut().zip(finishes) {
            let Reply::Tid(tid) = peer.answer(finish) else { panic!("not finished") };
            *serial = tid;
            all.push((tid, vec![*oid]));
        }
    }
    all.sort();
    for (oid, _, peer) in &mut peers {
        peer.ping();
        let others: Vec<_> = all.iter().filter(|(_, oids)| *oids != [*oid]).cloned().collect();
        assert_eq!(peer.heard, others);
    }
}

/// A client that comes while others commit hears of all that its registration did not tell.
pub fn a_registration_among_commits_leaves_no_gap(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut writer = bench.peer();
    let first = writer.commit(&[(Oid(1), Tid::ZERO, b"x")]);
    let enough = AtomicBool::new(false);
    let (committed, mut peers) = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut tids = vec![first];
            while !enough.load(Ordering::Relaxed) {
                let serial = tids.last().copied().unwrap_or_default();
                tids.push(writer.commit(&[(Oid(1), serial, b"x")]));
            }
            tids
        });
        let peers: Vec<(Tid, Peer)> = (0..40)
            .map(|_| {
                let peer = bench.peer();
                (peer.last, peer)
            })
            .collect();
        enough.store(true, Ordering::Relaxed);
        (writing.join().expect("it commits"), peers)
    });
    for (registered, peer) in &mut peers {
        peer.ping();
        let heard: Vec<Tid> = peer.heard.iter().map(|(tid, _)| *tid).collect();
        let later: Vec<Tid> = committed.iter().copied().filter(|tid| tid > registered).collect();
        assert_eq!(heard, later);
    }
}

/// A barrier: what is finished when a ping is sent is told before its answer.
pub fn a_ping_after_a_finish_hears_of_it_first(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut writer, mut reader) = bench.peers();
    let mut serial = Tid::ZERO;
    for _ in 0..50 {
        serial = writer.commit(&[(Oid(1), serial, b"x")]);
        let ping = reader.send(&Request::Ping);
        assert_eq!(reader.event(), Event::Invalidated(serial, vec![Oid(1)]));
        assert_eq!(reader.event(), Event::Answered(ping, Reply::Done));
    }
}

/// A client that does not read for a while, and then does.
pub fn a_reader_that_was_slow_misses_nothing(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut writer, mut reader) = bench.peers();
    // More than all buffers between the two can hold.
    writer.commit(&[(Oid(1), Tid::ZERO, &[7; 20 << 20])]);
    let mut serial = Tid::ZERO;
    for _ in 0..2 {
        reader.ping();
        reader.heard.clear();
        let loads = writer.status().loads;
        let load = reader.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
        writer.wait_for_status("the load is answered", |status| status.loads > loads);
        let mut committed = vec![];
        for _ in 0..50 {
            serial = writer.commit(&[(Oid(2), serial, b"x")]);
            committed.push(serial);
        }
        assert!(matches!(reader.answer(load), Reply::Loaded(Some(_))));
        reader.ping();
        let heard: Vec<Tid> = reader.heard.iter().map(|(tid, _)| *tid).collect();
        assert_eq!(heard, committed);
    }
}

/// For clients that come back, as far as the queue goes.
pub fn recent_invalidations_are_remembered(setup: &Setup) {
    let bench = Bench::start_with(setup, &["--invalidation-queue-size", "5"]);
    let mut peer = bench.peer();
    let mut tids = vec![];
    for number in 1..=8 {
        tids.push(peer.commit(&[
            (Oid(number), Tid::ZERO, b"x"),
            (Oid(100 + number % 2), last(&tids, 1), b"y"),
        ]));
    }
    check_remembered(&mut peer, &tids);
}

/// The tid of the transaction before the last one.
fn last(tids: &[Tid], skip: usize) -> Tid {
    tids.iter().rev().nth(skip).copied().unwrap_or_default()
}

fn check_remembered(peer: &mut Peer, tids: &[Tid]) {
    let newest = last(tids, 0);
    let mut since = |since| match peer.call(&Request::Invalidations { since }) {
        Reply::Invalidations(answer) => answer.map(|(tid, mut oids)| {
            oids.sort();
            (tid, oids)
        }),
        reply => panic!("invalidations are answered {reply:?}"),
    };
    assert_eq!(since(newest), Some((newest, vec![])));
    assert_eq!(since(last(tids, 1)), Some((newest, vec![Oid(8), Oid(100)])));
    let three = vec![Oid(6), Oid(7), Oid(8), Oid(100), Oid(101)];
    assert_eq!(since(last(tids, 3)), Some((newest, three)));
    assert_eq!(since(last(tids, 7)), None, "too long ago");
}
