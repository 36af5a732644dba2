//! What a server with files knows after its end, of whatever kind.

use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use protocol::{Failure, Oid, Reply, Request, Tid};

use super::Setup;
use super::bench::Bench;
use super::blobs::wait_for_files;
use super::peer::{Event, Peer};
use crate::server::PATIENCE;

/// Every finish that was answered is there, wholly; what had only voted is not.
pub fn what_was_answered_survives_a_kill(setup: &Setup) {
    let mut bench = Bench::start(setup);
    let mut voter = bench.peer();
    voter.voted(Oid(9), Tid::ZERO, b"voted");
    let (answered, answers) = channel();
    let mut writer = bench.peer();
    let writing = thread::spawn(move || write_until_the_end(&mut writer, &answered));
    for _ in 0..40 {
        answers.recv_timeout(PATIENCE).expect("it commits");
    }
    bench.crash();
    writing.join().expect("it found the connection closed");
    let (number, tid) = answers.try_iter().last().unwrap_or((39, Tid::ZERO));

    let mut reader = bench.peer();
    let found = reader.load(Oid(1));
    let found = u32::from_be_bytes(found.as_ref().try_into().expect("four bytes"));
    // The last one may have been committed and its answer lost.
    assert!(found == number || found == number + 1, "{found}, but {number} was answered");
    assert_eq!(reader.load(Oid(2)), found.to_be_bytes()[..], "half a transaction");
    assert!(reader.last >= tid);
    assert_eq!(reader.load_before(Oid(9), Tid::MAX), Err(Failure::UnknownOid(Oid(9))));
    let newest = reader.last;
    assert_eq!(reader.call(&Request::CurrentTid { oid: Oid(1) }), Reply::Tid(newest));
    assert!(reader.commit(&[(Oid(9), Tid::ZERO, b"now")]) > newest);
}

/// Commits numbers, each one in two objects, and tells those that were answered.
fn write_until_the_end(peer: &mut Peer, answered: &Sender<(u32, Tid)>) {
    let mut serial = Tid::ZERO;
    for number in 0_u32.. {
        let transaction = peer.begin();
        for oid in [Oid(1), Oid(2)] {
            peer.store(transaction, oid, serial, &number.to_be_bytes());
        }
        for request in [Request::Vote { transaction }, Request::Finish { transaction }] {
            peer.send(&request);
            match peer.event() {
                Event::Closed => return,
                Event::Answered(_, Reply::Voted) => {}
                Event::Answered(_, Reply::Tid(tid)) => serial = tid,
                event => panic!("unexpected: {event:?}"),
            }
        }
        _ = answered.send((number, serial));
    }
}

/// A start removes what was being sent.
pub fn blobs_survive_a_kill_and_uploads_do_not(setup: &Setup) {
    let mut bench = Bench::start_with_blobs(setup);
    let (mut writer, mut uploading) = bench.peers();
    uploading.begin();
    uploading.start_blob(Oid(2));
    uploading.send_blob(Oid(2), b"half");
    uploading.flush();
    wait_for_files(&bench, &mut writer, 1);
    let tid = writer.commit_blob(Oid(1), Tid::ZERO, b"blob");
    bench.crash();
    let mut reader = bench.peer();
    wait_for_files(&bench, &mut reader, 1);
    assert_eq!(reader.blob(Oid(1), tid), Ok(b"blob".to_vec()));
}

/// Also a restart right after a restart, and changes in between.
pub fn a_restart_keeps_everything(setup: &Setup) {
    let mut bench = Bench::start(setup);
    let mut tids: Vec<Tid> = vec![];
    for round in 0..3_u8 {
        let mut peer = bench.peer();
        assert_eq!(peer.last, tids.last().copied().unwrap_or_default());
        for (at, tid) in tids.iter().enumerate() {
            let loaded = peer.load_before(Oid(1), tid.next()).expect("loaded").expect("there");
            assert_eq!(
                (&loaded.data[..], loaded.tid),
                (&[u8::try_from(at).expect("few")][..], *tid)
            );
            assert_eq!(loaded.end, tids.get(at + 1).copied());
        }
        let serial = tids.last().copied().unwrap_or_default();
        tids.push(peer.commit(&[(Oid(1), serial, &[round])]));
        bench.restart();
        let mut reader = bench.peer();
        assert_eq!(reader.load(Oid(1)), [round][..]);
        bench.restart();
    }
}

/// From the log's last transactions, for clients whose caches outlived the server.
pub fn invalidations_are_remembered_over_a_restart(setup: &Setup) {
    let mut bench = Bench::start(setup);
    let mut peer = bench.peer();
    let tids: Vec<Tid> =
        (1..=5).map(|number| peer.commit(&[(Oid(number), Tid::ZERO, b"x")])).collect();
    let newest = *tids.last().expect("five");
    for clean in [true, false] {
        if clean {
            bench.restart()
        } else {
            bench.crash()
        };
        let mut peer = bench.peer();
        for (at, since) in tids.iter().enumerate() {
            let Reply::Invalidations(Some((until, mut oids))) =
                peer.call(&Request::Invalidations { since: *since })
            else {
                panic!("five transactions are not too many");
            };
            oids.sort();
            let later: Vec<Oid> = (2..=5).skip(at).map(Oid).collect();
            assert_eq!((until, oids), (newest, later));
        }
    }
}

/// Although none of them was stored.
pub fn new_oids_do_not_repeat_after_a_restart(setup: &Setup) {
    let mut bench = Bench::start(setup);
    let mut seen = BTreeSet::new();
    for round in 0..6 {
        let mut peer = bench.peer();
        for _ in 0..3 {
            for oid in peer.new_oids(100) {
                assert!(seen.insert(oid), "{oid} is given a second time in round {round}");
            }
        }
        if round % 2 == 0 {
            bench.crash()
        } else {
            bench.restart()
        };
    }
}

/// A second one ends with one line that says why, and disturbs nobody.
pub fn a_directory_has_one_server(setup: &Setup) {
    let mut bench = Bench::start(setup);
    let mut peer = bench.peer();
    let tid = peer.commit(&[(Oid(1), Tid::ZERO, b"x")]);
    let storage = format!("--storage=1=file:{}", bench.data().display());
    let output = bench.run(&["--listen=zeo://127.0.0.1:0".to_owned(), storage]);
    let complaint = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert_eq!(output.stdout, b"");
    peer.commit(&[(Oid(1), tid, b"y")]);
    bench.restart();
    assert_eq!(bench.peer().load(Oid(1)), "y");
}
