//! Shutdown, by a supervisor and by the impatient.

use std::time::{Duration, Instant};

use protocol::{Reply, Request, Tid};

use super::zeo::Client;
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

#[test]
fn a_client_that_does_not_read_delays_the_end_and_does_not_prevent_it() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY]);
    let mut silent = Client::register(server.connect(0), "1");
    silent.commit(1, Tid::ZERO, &vec![7; 1 << 20]);
    silent.ask_and_forget(64);
    // Answered when the server has begun to write to the other.
    let mut other = Client::register(server.connect(0), "1");
    assert_eq!(other.ask(&Request::Ping), Reply::Done);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut server, _directory) = serve(&[ANYWHERE, IN_MEMORY]);
    let mut silent = Client::register(server.connect(0), "1");
    silent.commit(1, Tid::ZERO, &vec![7; 1 << 20]);
    silent.ask_and_forget(64);
    server.signal("TERM");
    server.wait_for_log("stopping");
    server.signal("TERM");
    let status = server.wait();
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
}
