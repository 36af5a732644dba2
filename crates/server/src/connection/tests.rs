use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser as _;
use protocol::{Begin, Codec as _, Limits, Oid, Request, Tid, TransactionId};
use protocol_msgpack::MsgPack;
use protocol_proto::Proto;
use session::Host;

use super::*;
use crate::options::Options;
use crate::storages;

/// Counts wake-ups, as a runtime would act on them.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection and what its client has received.
struct Pair {
    connection: Connection,
    received: Vec<u8>,
    calls: Mutex<u64>,
}

fn server(arguments: &[&str]) -> Arc<Server> {
    let arguments = ["server", "--storage=1=memory:"].iter().chain(arguments);
    let options = Options::try_parse_from(arguments).unwrap();
    let storages = storages::open(&options).unwrap();
    let host = Host { storages, read_only: false, started: "today".to_owned() };
    Server::new(host, options.limits(), options.max_outgoing, 10)
}

fn frame_of(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    assert!(frame::write(&mut frame, |out| out.extend_from_slice(message)));
    frame
}

impl Pair {
    fn new(server: &Arc<Server>) -> Self {
        let wake = Arc::new(Calls::default());
        let connection =
            Connection::new(server, &Dialect::MsgPack.into(), "me".to_owned(), wake).unwrap();
        Self { connection, received: Vec::new(), calls: Mutex::new(0) }
    }

    /// After the handshake and `register`.
    fn registered(server: &Arc<Server>) -> Self {
        let mut pair = Self::new(server);
        pair.send(&frame_of(b"M5")).unwrap();
        pair.ask(&Request::Register { storage: "1".to_owned(), read_only: false }).unwrap();
        pair
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.connection.read_buffer().extend_from_slice(bytes);
        self.connection.handle()
    }

    fn encode(&self, request: &Request) -> Vec<u8> {
        let mut calls = self.calls.lock().unwrap();
        *calls += 1;
        let mut message = Vec::new();
        MsgPack::new(Limits::default()).encode_request(*calls, request, &mut message);
        frame_of(&message)
    }

    fn ask(&mut self, request: &Request) -> Result<(), Closed> {
        let message = self.encode(request);
        self.send(&message)
    }

    /// Takes what waits to be written.
    fn receive(&mut self) -> Result<(), Closed> {
        self.received.extend_from_slice(self.connection.output());
        self.connection.consume(self.connection.output().len())
    }

    fn begin_and_vote(&mut self, oids: RangeInclusive<u64>, data: &[u8]) {
        let transaction = TransactionId(1);
        self.ask(&Request::Begin(Begin {
            transaction,
            user: bytes::Bytes::new(),
            description: bytes::Bytes::new(),
            extension: bytes::Bytes::new(),
            tid: None,
            status: b' ',
        }))
        .unwrap();
        for oid in oids.map(Oid) {
            let data = bytes::Bytes::copy_from_slice(data);
            self.ask(&Request::Store { transaction, oid, serial: Tid::ZERO, data }).unwrap();
        }
        self.receive().unwrap();
        self.received.clear();
        self.ask(&Request::Vote { transaction }).unwrap();
        self.wait_for_reply();
    }

    /// The storage works in its own threads, so this waits for it.
    fn commit(&mut self, oid: u64, data: &[u8]) {
        self.commit_all(oid..=oid, data);
    }

    fn commit_all(&mut self, oids: RangeInclusive<u64>, data: &[u8]) {
        self.begin_and_vote(oids, data);
        self.ask(&Request::Finish { transaction: TransactionId(1) }).unwrap();
        self.wait_for_reply();
    }

    /// Receives until there is an answer, and forgets it.
    fn wait_for_reply(&mut self) {
        while self.replies() == 0 {
            self.connection.handle().unwrap();
            self.receive().unwrap();
            std::thread::yield_now();
        }
        self.received.clear();
    }

    /// How many answers were received.
    fn replies(&self) -> usize {
        self.received.windows(6).filter(|window| window == b".reply").count()
    }
}

#[test]
fn nothing_but_the_greeting_is_said_before_the_answer() {
    let server = server(&[]);
    let mut pair = Pair::new(&server);
    pair.receive().unwrap();
    assert_eq!(pair.received, b"\0\0\0\x02M5");
    for byte in frame_of(b"Z5") {
        assert!(pair.connection.output().is_empty());
        pair.send(&[byte]).unwrap();
    }
    assert!(pair.connection.wants_input());
}

#[test]
fn memory_is_lent_one_read_and_one_write_at_a_time() {
    let server = server(&[]);
    let mut pair = Pair::new(&server);
    let greeting = pair.connection.lend_output().unwrap();
    assert_eq!(greeting, b"\0\0\0\x02M5");
    let mut input = pair.connection.lend_input().unwrap();
    assert!(pair.connection.lend_input().is_none());
    input.extend_from_slice(&frame_of(b"ruok"));
    pair.connection.return_input(input);
    assert!(pair.connection.lend_input().is_none(), "there is a message to be handled");
    pair.connection.handle().unwrap();
    assert!(pair.connection.lend_output().is_none(), "the greeting is not written");
    pair.connection.return_output(greeting).unwrap();
    let status = pair.connection.lend_output().unwrap();
    // It has the last word, which must not be cut off.
    pair.connection.handle().unwrap();
    assert!(matches!(pair.connection.return_output(status), Err(Closed::Finished)));
}

#[test]
fn ruok_is_answered_and_then_all_is_said() {
    let server = server(&[]);
    let mut pair = Pair::new(&server);
    pair.send(&frame_of(b"ruok")).unwrap();
    assert!(!pair.connection.wants_input());
    assert!(matches!(pair.receive(), Err(Closed::Finished)));
    let text = String::from_utf8(pair.received).unwrap();
    assert!(text.contains(r#"{"1": {"connections": 0"#), "{text}");
    assert!(text.contains(r#""start": "today""#), "{text}");
}

#[test]
fn a_client_may_tell_much_of_its_software() {
    let server = server(&[]);
    for (length, is_accepted) in [(4096, true), (4097, false)] {
        let mut answer = Proto::answer(&Dialect::Proto.greeting()).unwrap();
        // The field of the software again, which replaces the first one.
        let software = length - answer.len() - 3;
        answer.extend_from_slice(&[0x1a, 0x80 | (software & 0x7f) as u8, (software >> 7) as u8]);
        answer.resize(length, b'x');
        let wake = Arc::new(Calls::default());
        let connection =
            Connection::new(&server, &Dialect::Proto.into(), "me".to_owned(), wake).unwrap();
        let mut pair = Pair { connection, received: Vec::new(), calls: Mutex::new(0) };
        assert_eq!(pair.send(&frame_of(&answer)).is_ok(), is_accepted);
    }
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let server = server(&[]);
    let error = Pair::new(&server).send(&frame_of(b"Z4\n")).unwrap_err();
    assert_eq!(error.to_string(), "'Z4\\n' is not an answer to the greeting");
    let error = Pair::new(&server).send(b"SSH-2.0-x").unwrap_err();
    assert!(matches!(error, Closed::AnswerTooLong(_)));
    assert_eq!(server.wait_until_empty(Duration::ZERO), 0);
}

#[test]
fn requests_wait_while_the_client_does_not_take_the_answers() {
    let server = server(&[]);
    let mut pair = Pair::registered(&server);
    pair.commit(1, &[7; 1 << 20]);
    let load = Request::LoadBefore { oid: Oid(1), before: Tid::MAX };
    let two = [pair.encode(&load), pair.encode(&load)].concat();
    pair.send(&two).unwrap();
    assert!(!pair.connection.wants_input());
    assert!(!pair.connection.has_work(), "the output comes first");
    pair.receive().unwrap();
    let first = pair.received.len();
    assert!((1 << 20..2 << 20).contains(&first));
    assert!(pair.connection.has_work());
    pair.connection.handle().unwrap();
    pair.receive().unwrap();
    assert_eq!(pair.received.len(), 2 * first);
    assert!(!pair.connection.has_work());
}

#[test]
fn what_comes_while_the_client_does_not_read_is_sent_when_it_does() {
    let server = server(&[]);
    let mut writer = Pair::registered(&server);
    writer.commit(1, &[7; 2 << 20]);
    let mut slow = Pair::registered(&server);
    slow.receive().unwrap();
    slow.ask(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX }).unwrap();
    writer.commit(2, b"x");
    // Woken by the invalidation, which has to stay where it is counted.
    slow.connection.handle().unwrap();
    assert!(!slow.connection.has_work(), "the output comes first");
    slow.connection.consume(slow.connection.output().len() - 10).unwrap();
    assert!(slow.connection.has_work(), "nobody wakes it again");
    slow.connection.handle().unwrap();
    slow.receive().unwrap();
    assert!(slow.received.windows(21).any(|window| window == b"invalidateTransaction"));
    assert!(!slow.connection.has_work());
}

#[test]
fn what_is_pushed_to_a_client_that_does_not_read_is_counted() {
    let server = server(&["--max-outgoing=1K"]);
    let mut writer = Pair::registered(&server);
    writer.commit(1, &[7; 1 << 20]);
    let mut silent = Pair::registered(&server);
    silent.ask(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX }).unwrap();
    for oid in 2..40 {
        writer.commit(oid, b"x");
        if let Err(end) = silent.connection.handle() {
            assert!(matches!(end, Closed::Cut(Cut::Overflowed { .. })), "{end}");
            return;
        }
    }
    panic!("the mailbox grew without limit");
}

#[test]
fn a_client_that_reads_is_told_of_a_transaction_of_any_size() {
    let server = server(&["--max-outgoing=1K"]);
    let mut writer = Pair::registered(&server);
    let mut reader = Pair::registered(&server);
    for round in 0..3 {
        reader.receive().unwrap();
        reader.received.clear();
        writer.commit_all(round * 1000..=round * 1000 + 999, b"x");
        reader.connection.handle().unwrap();
        assert!(reader.connection.output().len() > 8 * 1000);
    }
}

#[test]
fn a_stopping_server_does_not_spin_over_a_client_that_does_not_read() {
    let server = server(&[]);
    let mut pair = Pair::registered(&server);
    pair.commit(1, &[7; 2 << 20]);
    pair.ask(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX }).unwrap();
    pair.connection.handle().unwrap();
    server.enter(Phase::Stopping);
    pair.connection.handle().unwrap();
    pair.connection.consume(pair.connection.output().len() - 10).unwrap();
    assert!(!pair.connection.has_work(), "all that is left is to be written");
    assert!(matches!(pair.receive(), Err(Closed::Stopped)));
}

#[test]
fn a_stopping_server_answers_a_finish_and_nothing_else() {
    let server = server(&[]);
    let mut pair = Pair::registered(&server);
    pair.begin_and_vote(1..=1, b"x");
    pair.ask(&Request::Finish { transaction: TransactionId(1) }).unwrap();
    let mut idle = Pair::registered(&server);
    idle.receive().unwrap();
    server.enter(Phase::Stopping);
    assert!(matches!(idle.connection.handle(), Err(Closed::Stopped)));
    let end = loop {
        if let Err(end) = pair.ask(&Request::Ping).and_then(|()| pair.receive()) {
            break end;
        }
        assert!(!pair.connection.has_work());
        std::thread::yield_now();
    };
    assert!(matches!(end, Closed::Stopped), "{end}");
    assert_eq!(pair.replies(), 1, "the finish, and no ping");
}

#[test]
fn who_does_not_answer_the_greeting_is_let_go() {
    let server = server(&[]);
    let (mut silent, mut slow) = (Pair::new(&server), Pair::new(&server));
    slow.send(&frame_of(b"M5")[..5]).unwrap();
    let mut good = Pair::registered(&server);
    let end_after = |seconds| server.end_unanswered(Instant::now() + Duration::from_secs(seconds));
    end_after(50);
    for pair in [&mut silent, &mut slow, &mut good] {
        pair.connection.handle().unwrap();
    }
    end_after(60);
    for pair in [&mut silent, &mut slow] {
        let end = pair.connection.handle();
        assert!(matches!(end, Err(Closed::Unanswered)), "{end:?}");
    }
    good.ask(&Request::Ping).unwrap();
}

#[test]
fn a_stopped_server_ends_what_is_left() {
    let server = server(&[]);
    let mut pair = Pair::registered(&server);
    server.enter(Phase::Stopped);
    assert!(matches!(pair.connection.handle(), Err(Closed::Stopped)));
}
