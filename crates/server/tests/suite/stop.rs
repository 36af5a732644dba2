//! Shutdown, by a supervisor and by the impatient.

use std::time::{Duration, Instant};

use protocol::{Oid, Reply, Request, Tid};
use tempfile::TempDir;
use testkit::server::{ServerProcess, read_frame, write_frame};

use super::zeo::{Client, TRANSACTION};
use super::{ANYWHERE, IN_MEMORY, serve, serve_in};

#[test]
fn both_signals_stop_a_server_with_clients_of_all_kinds() {
    for signal in ["TERM", "INT"] {
        let (mut server, directory) = serve(&[ANYWHERE, "--storage=1=file:data"]);
        let mut voted = Client::register(server.connect(0), "1");
        let serial = voted.commit(1, Tid::ZERO, b"kept");
        assert_eq!(voted.vote(1, serial, b"given up"), Reply::Voted);
        let mut idle = Client::register(server.connect(0), "1");
        let silent = server.connect(0);
        let start = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(4), "it waited for nothing");
        assert!(idle.is_closed() && voted.is_closed());
        drop(silent);

        let server = serve_in(directory.path(), &[ANYWHERE, "--storage=1=file:data"]);
        let mut client = Client::register(server.connect(0), "1");
        assert_eq!(client.ask(&Request::LastTransaction), Reply::Tid(serial));
        server.stop();
    }
}

/// A client that is not told cannot know whether its transaction is there, so that a server that
/// stops owes it the answer.
#[test]
fn a_finish_that_is_under_way_is_answered_before_the_end() {
    let (mut server, directory) = serve(&[ANYWHERE, "--storage=1=file:data"]);
    let mut client = Client::register(server.connect(0), "1");
    let mut observer = Client::register(server.connect(0), "1");
    // Much to write: it takes longer than the signal does.
    assert_eq!(client.vote_for(1..=64, Tid::ZERO, &vec![7; 1 << 20]), Reply::Voted);
    client.send(&Request::Finish { transaction: TRANSACTION });
    loop {
        let Reply::Status(status) = observer.ask(&Request::Status) else { panic!("no status") };
        // It is the committer's from then on.
        if status.active_transactions == 0 {
            break;
        }
    }
    server.signal("TERM");
    let (_, finished) = client.answer_or_end().expect("the finish is answered");
    assert!(client.is_closed());
    assert_eq!(server.wait().code(), Some(0));

    let server = serve_in(directory.path(), &[ANYWHERE, "--storage=1=file:data"]);
    let mut client = Client::register(server.connect(0), "1");
    assert_eq!(client.ask(&Request::LastTransaction), finished);
    server.stop();
}

#[test]
fn a_client_that_does_not_read_delays_the_end_and_does_not_prevent_it() {
    let (server, _silent, _directory) = serve_one_who_does_not_read();
    let start = Instant::now();
    let log = server.stop();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(log.iter().any(|line| line.contains("did not finish in time")), "{log:?}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut server, _silent, _directory) = serve_one_who_does_not_read();
    server.signal("TERM");
    server.wait_for_log("stopping");
    // The handler is armed right before that line.
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1));
}

/// A server with an answer in hand that its client will never take.
fn serve_one_who_does_not_read() -> (ServerProcess, Client, TempDir) {
    let (server, directory) = serve(&[ANYWHERE, IN_MEMORY]);
    let mut silent = Client::register(server.connect(0), "1");
    // More than all buffers between the two can hold.
    silent.commit(1, Tid::ZERO, &vec![7; 32 << 20]);
    silent.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    loop {
        let mut socket = server.connect(0);
        assert!(read_frame(&mut *socket).is_some());
        write_frame(&mut *socket, b"ruok");
        let status = String::from_utf8(read_frame(&mut *socket).unwrap()).unwrap();
        if status.contains("\"loads\": 1,") {
            return (server, silent, directory);
        }
    }
}
