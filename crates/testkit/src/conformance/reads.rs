//! Loads and the other calls that change nothing.

use std::collections::BTreeSet;

use bytes::Bytes;
use protocol::{Failure, Loaded, Oid, Reply, Request, Tid};

use super::bench::Bench;
use super::peer::Peer;
use super::{Dialect, Setup};

/// Every revision of every object, by the tids around it and by its serial.
pub fn every_revision_is_found_at_every_tid(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut writer, mut reader) = bench.peers();
    let mut tids = vec![];
    for round in 0..12_u8 {
        // The second object changes in every third transaction only.
        let serial =
            |every: usize| tids.iter().step_by(every).next_back().copied().unwrap_or_default();
        let mut changes = vec![(Oid(1), serial(1), vec![1, round])];
        if round % 3 == 0 {
            changes.push((Oid(2), serial(3), vec![2, round]));
        }
        let changes: Vec<_> =
            changes.iter().map(|(oid, serial, data)| (*oid, *serial, &data[..])).collect();
        tids.push(writer.commit(&changes));
    }
    check_revisions(&mut reader, Oid(1), &tids, 1);
    check_revisions(&mut reader, Oid(2), &tids, 3);
}

/// The object has a revision in every `every`th transaction.
fn check_revisions(peer: &mut Peer, oid: Oid, tids: &[Tid], every: usize) {
    let rounds = (0..12_u8).step_by(every);
    let number = u8::try_from(oid.0).expect("a small oid");
    let revisions: Vec<_> = tids.iter().step_by(every).zip(rounds).collect();
    let mut ends = revisions.iter().skip(1).map(|(tid, _)| **tid);
    let first = revisions.first().expect("a revision");
    assert_eq!(peer.load_before(oid, *first.0), Ok(None), "the object is younger");
    for (tid, round) in &revisions {
        let end = ends.next();
        let data = Bytes::from(vec![number, *round]);
        let loaded = Ok(Some(Loaded { data: data.clone(), tid: **tid, end }));
        let until = end.unwrap_or(Tid::MAX);
        let spanned = tids.iter().copied().filter(|at| *tid < at && *at <= until);
        for before in spanned.chain([tid.next(), until]) {
            assert_eq!(peer.load_before(oid, before), loaded, "before {before}");
        }
        assert_eq!(peer.call(&Request::LoadSerial { oid, serial: **tid }), Reply::Data(data));
        let between = Tid(tid.0 + 1);
        let reply = peer.call(&Request::LoadSerial { oid, serial: between });
        assert_eq!(reply, Reply::Failed(Failure::UnknownOid(oid)), "no revision of that tid");
    }
    let (current, _) = revisions.last().expect("a revision");
    assert_eq!(peer.call(&Request::CurrentTid { oid }), Reply::Tid(**current));
}

/// What ZEO's client raises as `POSKeyError`, in answer to whatever names the object.
pub fn an_unknown_object_is_a_key_error(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let tid = peer.commit(&[(Oid(1), Tid::ZERO, b"one")]);
    let oid = Oid(0xffee_ddcc_bbaa);
    let unknown = Reply::Failed(Failure::UnknownOid(oid));
    for request in [
        Request::LoadBefore { oid, before: Tid::MAX },
        Request::LoadBefore { oid, before: tid },
        Request::LoadSerial { oid, serial: tid },
        Request::CurrentTid { oid },
    ] {
        assert_eq!(peer.call(&request), unknown, "{request:?}");
    }
    let transaction = peer.begin();
    peer.post(&Request::Delete { transaction, oid, serial: tid });
    assert_eq!(peer.vote(transaction), unknown);
    peer.abort(transaction);
}

/// Over connections, whatever count is asked, and not if the oid came from elsewhere.
pub fn new_oids_never_repeat(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut first, mut second) = bench.peers();
    let mut seen = BTreeSet::from([Oid(0)]);
    for round in 0..20 {
        for peer in [&mut first, &mut second] {
            for count in [1, 7, 100, 5000] {
                let oids = peer.new_oids(count);
                assert!(!oids.is_empty() && oids.len() <= 5000);
                for oid in oids {
                    assert!(seen.insert(oid), "{oid} is given a second time");
                }
            }
        }
        let foreign = Oid(seen.last().expect("some").0 + 50 + round);
        seen.insert(foreign);
        first.commit(&[(foreign, Tid::ZERO, b"from elsewhere")]);
    }
}

/// Clients of all dialects, each at its own listener, see the same.
pub fn dialects_can_be_mixed(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peers: Vec<Peer> = Dialect::ALL
        .into_iter()
        .map(|dialect| Peer::registered(bench.endpoint_of(dialect), false))
        .collect();
    let mut serial = Tid::ZERO;
    for round in 0..9_usize {
        let data = vec![u8::try_from(round).expect("few rounds"); 100];
        let writer = round % peers.len();
        serial = peers.get_mut(writer).expect("it is").commit(&[(Oid(1), serial, &data)]);
        for (at, peer) in peers.iter_mut().enumerate() {
            peer.ping();
            if at != writer {
                assert_eq!(peer.heard.last(), Some(&(serial, vec![Oid(1)])));
            }
            assert_eq!(peer.load(Oid(1)), data);
        }
    }
}
