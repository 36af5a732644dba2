//! What no client sends on purpose. Others must not notice.

use protocol::{Failure, Oid, Reply, Request, Tid, TransactionFault, TransactionId};

use super::bench::Bench;
use super::peer::{Peer, begin};
use super::{Dialect, Setup};
use crate::server::read_frame;

/// Something else than the protocol, of the right length or not.
pub fn a_wrong_handshake_closes_the_connection(setup: &Setup) {
    let bench = Bench::start(setup);
    for answer in [&b"\0\0\0\x02X5"[..], b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut socket = bench.endpoint().connect();
        socket.write_all(answer).expect("the server has not closed it yet");
        while read_frame(&mut *socket).is_some() {}
    }
    bench.peer().commit(&[(Oid(1), Tid::ZERO, b"x")]);
    assert_eq!(warnings(&bench.stop()), 3);
}

/// Spoils a connection, which has to be closed, with one line in the log and no harm to others.
fn closes(setup: &Setup, spoil: impl FnOnce(&mut Peer)) {
    let bench = Bench::start(setup);
    let (mut other, mut spoilt) = bench.peers();
    let transaction = other.voted(Oid(1), Tid::ZERO, b"x");
    spoil(&mut spoilt);
    spoilt.wait_until_closed();
    let tid = other.finish(transaction);
    let mut newcomer = bench.peer();
    assert_eq!(newcomer.load(Oid(1)), "x");
    newcomer.commit(&[(Oid(1), tid, b"y")]);
    let log = bench.stop();
    assert_eq!(warnings(&log), 1, "{log:?}");
}

/// Without what a runtime has to say of the machine.
fn warnings(log: &[String]) -> usize {
    let is_warning = |line: &&String| {
        line.contains(" ERROR ") || line.contains(" WARN ") && !line.contains(" WARN zeoxide_")
    };
    log.iter().filter(is_warning).count()
}

/// A whole frame without a meaning.
pub fn a_garbage_frame_closes_the_connection(setup: &Setup) {
    closes(setup, |peer| peer.send_bytes(b"\0\0\0\x08\xff\xfe\xfdgarba"));
}

/// A whole message that asks for what nobody knows.
pub fn an_unknown_method_closes_the_connection(setup: &Setup) {
    closes(setup, |peer| {
        let bytes = match peer.dialect {
            // Id 1, and the request 500.
            Dialect::Proto => b"\0\0\0\x05\x08\x01\xa2\x1f\0".to_vec(),
            Dialect::Pickle | Dialect::MsgPack => {
                peer.post(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
                replaced(peer.take_output(), b"loadBefore", b"loadAround")
            }
        };
        peer.send_bytes(&bytes);
    });
}

/// The announcement alone is enough.
pub fn an_oversized_length_closes_the_connection(setup: &Setup) {
    closes(setup, |peer| peer.send_bytes(b"\x7f\xff\xff\xff"));
}

/// Storages have to be chosen first.
pub fn a_request_before_the_registration_closes_the_connection(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = Peer::connect(bench.endpoint());
    peer.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    peer.wait_until_closed();
    bench.peer().commit(&[(Oid(1), Tid::ZERO, b"x")]);
    assert_eq!(warnings(&bench.stop()), 1);
}

/// A store is one-way, so that nothing else can say that it was in vain.
pub fn a_store_without_a_transaction_closes_the_connection(setup: &Setup) {
    closes(setup, |peer| {
        peer.store(TransactionId(5), Oid(1), Tid::ZERO, b"x");
        peer.flush();
    });
}

/// A connection has one transaction at a time.
pub fn a_second_begin_closes_the_connection(setup: &Setup) {
    closes(setup, |peer| {
        peer.begin();
        peer.post(&begin(TransactionId(77), None));
        peer.flush();
    });
}

/// A client that goes in the middle of a message, with a voted transaction.
pub fn half_a_message_harms_nobody(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut other, mut spoilt) = bench.peers();
    spoilt.voted(Oid(1), Tid::ZERO, b"never");
    spoilt.send_bytes(b"\0\0\x10\0\x80");
    spoilt.hang_up();
    spoilt.wait_until_closed();
    other.commit(&[(Oid(1), Tid::ZERO, b"x")]);
    assert_eq!(bench.peer().load(Oid(1)), "x");
}

/// An oid of seven bytes, or none at all where they cannot have another length. The connection
/// goes on.
pub fn a_wrong_oid_is_answered_with_an_error(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let request = Request::LoadBefore { oid: SPOILT_ID, before: Tid::MAX };
    let number = peer.post(&request).expect("a call");
    send_spoilt(&mut peer);
    check_spoilt(peer.dialect, &peer.answer(number));
    assert_eq!(peer.call(&request), Reply::Failed(Failure::UnknownOid(SPOILT_ID)));
}

/// One-way requests are not answered: the vote says what was wrong with them, and the next
/// transaction is none the worse. Serials and tids have eight bytes by themselves in protobuf.
pub fn a_wrong_id_in_a_transaction_is_told_by_the_vote(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    for of_oid in [true, false] {
        if !of_oid && peer.dialect == Dialect::Proto {
            continue;
        }
        let oid = if of_oid { SPOILT_ID } else { Oid(1) };
        let serial = if of_oid { Tid::ZERO } else { Tid(SPOILT_ID.0) };
        for change in 0..4 {
            let transaction = peer.begin();
            peer.flush();
            peer.post(&match change {
                0 => Request::Store { transaction, oid, serial, data: "x".into() },
                1 => Request::Delete { transaction, oid, serial },
                2 => Request::CheckCurrentSerial { transaction, oid, serial },
                _ => Request::Restore {
                    transaction,
                    oid,
                    tid: serial,
                    data: Some("x".into()),
                    origin: None,
                },
            });
            send_spoilt(&mut peer);
            let reply = peer.vote(transaction);
            check_spoilt(peer.dialect, &reply);
        }
    }
    peer.commit(&[(Oid(1), Tid::ZERO, b"x")]);
}

/// Sends what is queued, one message, with [`SPOILT_ID`] shorter by a byte; in protobuf, as a field
/// that nobody knows.
fn send_spoilt(peer: &mut Peer) {
    let mut bytes = peer.take_output();
    let id = SPOILT_ID.to_bytes();
    let at = bytes.windows(8).position(|window| window == id).expect("it is in there");
    let before = bytes.get_mut(at - 1).expect("its length, or its field's number and type");
    if peer.dialect == Dialect::Proto {
        *before = 15 << 3 | 1;
    } else {
        *before = 7;
        bytes.remove(at);
        let length = bytes.get_mut(3).expect("the frame's length, its last byte");
        *length -= 1;
    }
    peer.send_bytes(&bytes);
}

fn check_spoilt(dialect: Dialect, reply: &Reply) {
    match dialect {
        Dialect::Proto => {
            assert!(matches!(reply, Reply::Failed(Failure::Arguments(_))), "{reply:?}");
        }
        Dialect::Pickle | Dialect::MsgPack => {
            assert_eq!(*reply, Reply::Failed(Failure::BadId("AAAAAAA".into())));
        }
    }
}

/// `StorageTransactionError` for a vote; ZEO answers the others with `None`.
pub fn calls_without_a_transaction_are_answered(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let given = TransactionId(5);
    let wrong =
        |current| Reply::Failed(Failure::Transaction(TransactionFault::Wrong { current, given }));
    assert_eq!(peer.vote(given), wrong(None));
    let finished = peer.call(&Request::Finish { transaction: given });
    match setup.dialect {
        Dialect::Proto => assert_eq!(finished, wrong(None)),
        Dialect::Pickle | Dialect::MsgPack => assert_eq!(finished, Reply::Done),
    }
    peer.abort(given);
    let own = peer.begin();
    assert_eq!(peer.vote(given), wrong(Some(own)));
    peer.abort(given);
    let unvoted = Reply::Failed(Failure::Transaction(TransactionFault::NotVoted));
    assert_eq!(peer.call(&Request::Finish { transaction: own }), unvoted);
    peer.store(own, Oid(1), Tid::ZERO, b"x");
    peer.must_vote(own);
    let twice = Reply::Failed(Failure::Transaction(TransactionFault::AlreadyVoted));
    assert_eq!(peer.vote(own), twice);
    peer.finish(own);
    assert_eq!(peer.load(Oid(1)), "x");
}

/// `bytes` with another text in place of one that is in there once.
fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).expect("it is in there");
    bytes.splice(at..at + old.len(), new.iter().copied());
    bytes
}

/// An id that can be found in a message.
const SPOILT_ID: Oid = Oid(u64::from_be_bytes(*b"AAAAAAAA"));
