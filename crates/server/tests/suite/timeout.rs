//! Clients that keep others waiting.

use std::time::{Duration, Instant};

use protocol::{Oid, Reply, Request, Status, Tid};

use super::zeo::{Client, TRANSACTION};
use super::{ANYWHERE, IN_MEMORY, serve};

/// Who commits is answered first, and then the locks are given up.
fn status_without_locks(client: &mut Client) -> Status {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let Reply::Status(status) = client.ask(&Request::Status) else { panic!("no status") };
        if status.lock_time.is_none() {
            return *status;
        }
        assert!(Instant::now() < deadline, "locks are held: {status:?}");
    }
}

#[test]
fn who_holds_locks_for_too_long_is_closed_and_others_go_on() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--transaction-timeout=1"]);
    let mut other = Client::register(server.connect(0), "1");
    let kept = other.commit(2, Tid::ZERO, &vec![7; 32 << 20]);
    // One is idle, and one does not even read what it asked for.
    let mut idle = Client::register(server.connect(0), "1");
    idle.tell(&Request::Label("the idle one".to_owned()));
    assert_eq!(idle.vote(1, Tid::ZERO, b"given up"), Reply::Voted);
    let mut deaf = Client::register(server.connect(0), "1");
    deaf.tell(&Request::Label("the deaf one".to_owned()));
    assert_eq!(deaf.vote(2, kept, b"given up"), Reply::Voted);
    deaf.send(&Request::LoadBefore { oid: Oid(2), before: Tid::MAX });

    let first = other.commit(1, Tid::ZERO, b"first");
    let second = other.commit(2, kept, b"second");
    assert!(first < second);
    for label in ["(the idle one 127.0.0.1:", "(the deaf one 127.0.0.1:"] {
        let is_it = |line: &String| line.contains("Transaction timeout after 1 seconds");
        let name = label.trim_start_matches('(');
        server.wait_for_log(name);
        let log = server.log();
        let lines: Vec<_> = log.iter().filter(|line| line.contains(name)).collect();
        assert!(matches!(&lines[..], [line] if is_it(line)), "{lines:?}");
    }
    assert_eq!(idle.answer_or_end(), None);
    assert!(deaf.is_closed());
    let status = status_without_locks(&mut other);
    assert!(status.timeout_active);
    assert_eq!((status.active_transactions, status.aborts), (0, 2));
    server.stop();
}

#[test]
fn who_finishes_or_gives_up_in_time_is_left_alone() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--transaction-timeout=1"]);
    let mut first = Client::register(server.connect(0), "1");
    first.commit(1, Tid::ZERO, b"data");
    let mut second = Client::register(server.connect(0), "1");
    assert_eq!(second.vote(2, Tid::ZERO, b"data"), Reply::Voted);
    assert_eq!(second.ask(&Request::Abort { transaction: TRANSACTION }), Reply::Done);
    // When this one's time is over, theirs would be, too.
    let mut late = Client::register(server.connect(0), "1");
    assert_eq!(late.vote(3, Tid::ZERO, b"data"), Reply::Voted);
    assert!(late.is_closed());
    assert_eq!(first.ask(&Request::Ping), Reply::Done);
    assert_eq!(second.ask(&Request::Ping), Reply::Done);
    server.stop();
}
