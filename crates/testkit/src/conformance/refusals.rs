//! What a server refuses to well-behaved clients.

use protocol::{Failure, Oid, Reply, Request, Tid};

use super::bench::Bench;
use super::peer::Peer;
use super::{Setup, StorageKind};

/// Clients that promise not to write are welcome.
pub fn a_read_only_server_refuses_writers(setup: &Setup) {
    let mut bench = Bench::start(setup);
    bench.peer().commit(&[(Oid(1), Tid::ZERO, b"one")]);
    bench.restart_with(&["--read-only"]);
    let mut peer = Peer::connect(bench.endpoint());
    assert_eq!(peer.register("1", false), Reply::Failed(Failure::ReadOnly));
    // As ZEO's client does with `wait_for_server_on_startup` and `read_only_fallback`.
    assert!(matches!(peer.register("1", true), Reply::Tid(_)));
    if setup.storage != StorageKind::Memory {
        assert_eq!(peer.load(Oid(1)), "one");
    }
    check_cannot_write(&mut peer);
}

/// Who registered as a reader stays one.
pub fn a_read_only_connection_cannot_write(setup: &Setup) {
    let bench = Bench::start(setup);
    let tid = bench.peer().commit(&[(Oid(1), Tid::ZERO, b"one")]);
    let mut reader = Peer::registered(bench.endpoint(), true);
    assert_eq!(reader.load(Oid(1)), "one");
    check_cannot_write(&mut reader);
    let mut writer = bench.peer();
    assert_eq!(writer.last, tid);
    writer.commit(&[(Oid(1), tid, b"two")]);
}

/// Calls are answered; a one-way request can only be refused by closing the connection.
fn check_cannot_write(peer: &mut Peer) {
    let refused = Reply::Failed(Failure::ReadOnly);
    assert_eq!(peer.call(&Request::NewOids { count: 1 }), refused);
    let transaction = protocol::TransactionId(1);
    assert_eq!(peer.vote(transaction), refused);
    assert_eq!(peer.call(&Request::Finish { transaction }), refused);
    assert_eq!(peer.call(&Request::Abort { transaction }), refused);
    let transaction = peer.begin();
    peer.store(transaction, Oid(1), Tid::ZERO, b"never");
    peer.flush();
    peer.wait_until_closed();
}

/// The connection may try another name.
pub fn an_unknown_storage_is_refused(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = Peer::connect(bench.endpoint());
    let unknown = Failure::UnknownStorage("nonesuch".to_owned());
    assert_eq!(peer.register("nonesuch", false), Reply::Failed(unknown));
    assert!(matches!(peer.register("1", false), Reply::Tid(_)));
    peer.commit(&[(Oid(1), Tid::ZERO, b"one")]);
}

/// The store is one-way, so the vote says it; and oids are handed out as before.
pub fn an_oid_that_is_too_high_fails_the_vote(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let transaction = peer.begin();
    peer.store(transaction, Oid(u64::MAX), Tid::ZERO, b"never");
    let Reply::Failed(Failure::Storage(why)) = peer.vote(transaction) else {
        panic!("the vote must fail")
    };
    assert!(why.contains(&Oid(u64::MAX).to_string()), "{why}");
    peer.abort(transaction);
    assert!(peer.new_oids(1).iter().all(|oid| oid.0 < 1000));
    peer.commit(&[(Oid(1), Tid::ZERO, b"one")]);
}
