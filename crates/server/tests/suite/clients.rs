//! The first messages of a connection, and clients that go wrong beside clients that do not.

use protocol::{Reply, Request, Tid};
use testkit::server::{read_frame, write_frame};

use super::zeo::Client;
use super::{ANYWHERE, IN_MEMORY, serve};

#[test]
fn both_encodings_are_announced_and_either_is_taken() {
    let (server, _directory) = serve(&["--listen=zeo://127.0.0.1:0", ANYWHERE, IN_MEMORY]);
    for (listener, greeting) in [(0, b"Z5"), (1, b"M5")] {
        let mut socket = server.connect(listener);
        assert_eq!(read_frame(&mut *socket).unwrap(), greeting);
        let mut client = Client::register(server.connect(listener), "1");
        assert_eq!(client.ask(&Request::Ping), Reply::Done);
    }
    // A pickled register call, as ZEO's client sends it, at the MessagePack listener.
    let mut socket = server.connect(1);
    assert!(read_frame(&mut *socket).is_some());
    write_frame(&mut *socket, b"Z5");
    write_frame(&mut *socket, b"\x80\x03(K\x01\x89X\x08\0\0\0registerX\x01\0\0\x001\x89\x86t.");
    assert_eq!(
        read_frame(&mut *socket).unwrap(),
        b"\x80\x03(K\x01K\0X\x06\0\0\0.replyC\x08\0\0\0\0\0\0\0\0t.",
    );
    server.stop();
}

#[test]
fn ruok_is_answered_with_the_status_of_all_storages() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--storage=other \"one\"=memory:"]);
    let mut client = Client::register(server.connect(0), "1");
    client.commit(1, Tid::ZERO, b"data");
    let mut socket = server.connect(0);
    assert_eq!(read_frame(&mut *socket).unwrap(), b"M5");
    write_frame(&mut *socket, b"ruok");
    let status = String::from_utf8(read_frame(&mut *socket).unwrap()).unwrap();
    assert!(
        status.starts_with(r#"{"1": {"connections": 1, "loads": 0, "stores": 1, "#),
        "{status}"
    );
    assert!(status.contains(r#""other \"one\"": {"connections": 0, "#), "{status}");
    assert!(status.contains(r#""last-transaction": "0000000000000000"}}"#), "{status}");
    assert_eq!(read_frame(&mut *socket), None);
    let log = server.stop();
    assert_eq!(warnings(&log), 0, "{log:?}");
}

#[test]
fn a_client_that_goes_wrong_is_closed_with_one_line_and_others_notice_nothing() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--max-message=64K"]);
    let mut good = Client::register(server.connect(0), "1");
    let answer_and = |bytes: &[u8]| [b"\0\0\0\x02M5", bytes].concat();
    for (bytes, why) in [
        (b"\0\0\0\x02M4".to_vec(), "'M4' is not an answer"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "not an answer to the greeting"),
        (answer_and(b"\0\x01\0\x01"), "a message of 65537 bytes is announced"),
        (answer_and(b"\0\0\0\x01\xc1"), "malformed"),
        (answer_and(b"\0\0\0\x0b\x94\x01\xc2\xa4none\x90\xc0\xc0"), "WARN"),
    ] {
        let mut bad = server.connect(0);
        assert!(read_frame(&mut *bad).is_some());
        bad.write_all(&bytes).unwrap();
        assert_eq!(read_frame(&mut *bad), None, "{why}");
        server.wait_for_log(why);
        assert_eq!(good.ask(&Request::Ping), Reply::Done);
    }
    drop(good);
    let log = server.stop();
    assert_eq!(warnings(&log), 5, "{log:?}");
}

#[test]
fn who_says_nothing_leaves_no_line() {
    let (server, _directory) = serve(&[ANYWHERE, "--listen=zeo://127.0.0.1:0", IN_MEMORY]);
    for listener in [0, 1] {
        for _ in 0..100 {
            // Gone before the greeting, after it, and with a reset.
            drop(server.connect(listener));
            let mut socket = server.connect(listener);
            assert!(read_frame(&mut *socket).is_some());
            let socket = server.connect(listener);
            socket.hang_up();
            drop(socket);
        }
        let _flood: Vec<_> = (0..100).map(|_| server.connect(listener)).collect();
    }
    // Whoever came before these has been seen off before they are.
    for listener in [0, 1] {
        let mut client = Client::register(server.connect(listener), "1");
        assert_eq!(client.ask(&Request::Ping), Reply::Done);
    }
    let mut lines = server.stop();
    assert_eq!(warnings(&lines), 0, "{lines:?}");
    lines.retain(|line| line.contains("127.0.0.1:"));
    assert!(lines.iter().all(|line| line.contains("disconnected")), "{lines:?}");
    assert_eq!(lines.len(), 2, "of those two: {lines:?}");
}

#[test]
fn a_client_that_leaves_is_told_by_its_label() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY]);
    let mut client = Client::register(server.connect(0), "1");
    client.tell(&Request::Label("the client".to_owned()));
    assert_eq!(client.ask(&Request::Ping), Reply::Done);
    drop(client);
    let line = server.wait_for_log("disconnected");
    assert!(line.contains("INFO") && line.contains("the client 127.0.0.1:"), "{line}");
    assert!(!line.contains("transaction"), "{line}");

    let mut client = Client::register(server.connect(0), "1");
    client.tell(&Request::Label("the busy one".to_owned()));
    assert_eq!(client.vote(1, Tid::ZERO, b"given up"), Reply::Voted);
    drop(client);
    let line = server.wait_for_log("the busy one");
    assert!(line.contains("disconnected during a transaction"), "{line}");
    server.stop();
}

#[test]
fn what_a_client_says_is_no_line_of_the_log() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY]);
    let forged = "\nFORGED \u{1b}[2J";
    // Not even registered: a one-way `register` that fails closes the connection.
    let mut stranger = server.connect(0);
    assert!(read_frame(&mut *stranger).is_some());
    write_frame(&mut *stranger, b"M5");
    let name = [&[0xd9, forged.len() as u8], forged.as_bytes()].concat();
    let register = [b"\x94\x01\xc3\xa8register\x92", &name[..], b"\xc2"].concat();
    write_frame(&mut *stranger, &register);
    assert_eq!(read_frame(&mut *stranger), None);
    let line = server.wait_for_log("FORGED");
    assert!(line.contains("WARN") && line.contains("unknown storage"), "{line}");

    let mut client = Client::register(server.connect(0), "1");
    for label in [forged, &"x".repeat(10_000), "last\nFORGED"] {
        client.tell(&Request::Label(label.to_owned()));
        assert_eq!(client.ask(&Request::Ping), Reply::Done);
    }
    drop(client);
    let line = server.wait_for_log("disconnected");
    assert!(line.contains(r"last\nFORGED 127.0.0.1:") && line.len() < 200, "{line}");
    let log = server.stop();
    assert_eq!(log.iter().filter(|line| line.contains("FORGED")).count(), 2, "{log:?}");
    assert!(!log.iter().any(|line| line.contains('\u{1b}')), "{log:?}");
}

#[test]
fn requests_in_pieces_and_in_heaps_are_answered_in_order() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY]);
    let mut client = Client::register(server.connect(0), "1");
    let data = vec![7; 3 << 20];
    client.commit(1, Tid::ZERO, &data);
    for _ in 0..500 {
        client.send(&Request::Ping);
    }
    client.send(&Request::LoadBefore { oid: protocol::Oid(1), before: Tid::MAX });
    client.send(&Request::Ping);
    for _ in 0..500 {
        assert_eq!(client.answer(), Reply::Done);
    }
    let Reply::Loaded(Some(loaded)) = client.answer() else { panic!("not loaded") };
    assert_eq!(loaded.data, data);
    assert_eq!(client.answer(), Reply::Done);
    client.send_slowly(&Request::Ping);
    assert_eq!(client.answer(), Reply::Done);
    server.stop();
}

#[test]
fn any_number_of_questions_may_be_asked_before_the_first_answer_is_read() {
    let (server, _directory) = serve(&[ANYWHERE, "--storage=1=file:data"]);
    let mut client = Client::register(server.connect(0), "1");
    // Many need a write of the storage's, and are answered after others that do not.
    let questions = 1000;
    for _ in 0..questions {
        client.send(&Request::NewOids { count: 100_000 });
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..questions {
        let (_, Reply::Oids(oids)) = client.any_answer() else { panic!("no oids") };
        let first = oids.first().copied().unwrap();
        assert!(seen.insert(first), "{first} was given twice");
    }
    server.stop();
}

/// Without what a runtime has to say of the machine.
fn warnings(log: &[String]) -> usize {
    let is_warning = |line: &&String| line.contains(" WARN ") && !line.contains(" WARN zeoxide_");
    log.iter().filter(is_warning).count()
}
