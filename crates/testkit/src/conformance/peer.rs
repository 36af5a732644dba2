//! A connection that does one thing after the other, and looks at everything that comes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use client::{Session, SessionError};
use codecs::{Dialect, WithCodec, dispatch};
use protocol::{
    Begin, Codec, Failure, Incoming, Limits, Loaded, Oid, Push, Reply, Request, Status, Tid,
    TransactionId,
};

use super::bench::Door;
use super::downloads::Downloads;
use crate::server::{PATIENCE, Socket};

/// One connection without a cache or a thread. What is wrong with the order of tids is found
/// whatever the test is about.
pub(crate) struct Peer {
    wire: Box<dyn Wire>,
    socket: Box<dyn Socket>,
    pub(crate) dialect: Dialect,
    input: BytesMut,
    /// Answers that came while another one was waited for.
    answers: BTreeMap<u64, Reply>,
    finishes: BTreeSet<u64>,
    transactions: i128,
    /// How many objects there are, as it was told last.
    pub(crate) length: Option<u64>,
    /// Invalidations that were received.
    pub(crate) heard: Vec<(Tid, Vec<Oid>)>,
    pub(crate) blobs: Downloads,
    /// The newest tid that this connection was told of, in whatever way.
    pub(crate) last: Tid,
}

/// What comes from a server.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    Invalidated(Tid, Vec<Oid>),
    /// The answer to a call.
    Answered(u64, Reply),
    /// The connection is closed.
    Closed,
}

impl Peer {
    /// A connection that has not chosen a storage.
    pub(crate) fn connect(door: &Door) -> Self {
        let dialect = door.endpoint.dialect;
        Self {
            wire: dispatch(dialect, NewSession),
            socket: door.connect(),
            dialect,
            input: BytesMut::new(),
            answers: BTreeMap::new(),
            finishes: BTreeSet::new(),
            transactions: 0,
            length: None,
            heard: Vec::new(),
            blobs: Downloads::default(),
            last: Tid::ZERO,
        }
    }

    pub(crate) fn registered(door: &Door, read_only: bool) -> Self {
        let mut peer = Self::connect(door);
        let reply = peer.register("1", read_only);
        assert!(matches!(reply, Reply::Tid(_)), "registered: {reply:?}");
        peer
    }

    pub(crate) fn register(&mut self, storage: &str, read_only: bool) -> Reply {
        let reply = self.call(&Request::Register { storage: storage.to_owned(), read_only });
        if let Reply::Tid(tid) = reply {
            self.last = tid;
        }
        reply
    }

    /// Queues a request; the next [`Self::flush`] sends it.
    pub(crate) fn post(&mut self, request: &Request) -> Option<u64> {
        let number = self.wire.handle_request(request);
        if let (Some(number), Request::Finish { .. }) = (number, request) {
            self.finishes.insert(number);
        }
        number
    }

    /// Sends what is queued. A connection that the server has closed is found by the next read.
    pub(crate) fn flush(&mut self) {
        if let Some(bytes) = self.wire.poll_transmit() {
            self.send_bytes(&bytes);
        }
    }

    /// Takes what is queued, instead of sending it.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.wire.poll_transmit().expect("something is queued, and the server has greeted")
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        _ = self.socket.write_all(bytes);
    }

    /// Sends a call and does not wait. Gives its number.
    pub(crate) fn send(&mut self, request: &Request) -> u64 {
        let number = self.post(request).expect("a call");
        self.flush();
        number
    }

    /// Sends a call and waits for its answer.
    pub(crate) fn call(&mut self, request: &Request) -> Reply {
        let number = self.send(request);
        self.answer(number)
    }

    /// Waits for the answer to a call; invalidations are kept in [`Self::heard`].
    pub(crate) fn answer(&mut self, wanted: u64) -> Reply {
        loop {
            if let Some(reply) = self.answers.remove(&wanted) {
                return reply;
            }
            match self.event() {
                Event::Answered(number, reply) => _ = self.answers.insert(number, reply),
                Event::Invalidated(..) => {}
                Event::Closed => panic!("the server closed the connection"),
            }
        }
    }

    /// Waits for what comes next, but for the parts of a blob.
    pub(crate) fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.step() {
                return event;
            }
        }
    }

    /// Waits until a part of a blob has come, and nothing else.
    pub(crate) fn wait_for_blob(&mut self) {
        while !self.blobs.is_under_way() {
            assert_eq!(self.step(), None);
        }
    }

    /// Handles one message, or waits for bytes.
    fn step(&mut self) -> Option<Event> {
        match self.wire.handle_input(&mut self.input).expect("the server speaks the protocol") {
            Some(Incoming::Push(Push::Info { length, .. })) => {
                self.length = Some(length);
                None
            }
            Some(Incoming::Push(Push::Invalidate { tid, oids })) => {
                self.advance(tid);
                self.heard.push((tid, oids.to_vec()));
                Some(Event::Invalidated(tid, oids.to_vec()))
            }
            Some(Incoming::Push(blob)) => {
                self.blobs.handle(blob);
                None
            }
            Some(Incoming::Reply { number, reply }) => {
                if let (true, Reply::Tid(tid)) = (self.finishes.remove(&number), &reply) {
                    self.advance(*tid);
                }
                Some(Event::Answered(number, reply))
            }
            None => {
                // What was held back until the greeting came.
                self.flush();
                (!self.receive()).then_some(Event::Closed)
            }
        }
    }

    /// Waits until the server closes the connection; what comes before is lost.
    pub(crate) fn wait_until_closed(&mut self) {
        while self.event() != Event::Closed {}
    }

    fn advance(&mut self, tid: Tid) {
        assert!(self.last < tid, "{tid} is told after {}", self.last);
        self.last = tid;
    }

    fn receive(&mut self) -> bool {
        let mut buffer = [0; 1 << 16];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(buffer.get(..count).expect("that many were read"));
                true
            }
            // Whoever was stopped and goes on (a machine that sleeps) has read nothing yet.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            // The second one: without a farewell of TLS, as a server ends that had a bad client.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
                ) =>
            {
                false
            }
            Err(error) => panic!("nothing comes from the server: {error}"),
        }
    }

    /// Ends the sending direction, as a client that goes in the middle of something.
    pub(crate) fn hang_up(&self) {
        self.socket.hang_up();
    }

    pub(crate) fn begin(&mut self) -> TransactionId {
        self.begin_with(None)
    }

    pub(crate) fn begin_with(&mut self, tid: Option<Tid>) -> TransactionId {
        self.transactions += 1;
        let transaction = TransactionId(self.transactions);
        self.post(&begin(transaction, tid));
        transaction
    }

    pub(crate) fn store(&mut self, to: TransactionId, oid: Oid, serial: Tid, data: &[u8]) {
        let data = Bytes::copy_from_slice(data);
        self.post(&Request::Store { transaction: to, oid, serial, data });
    }

    pub(crate) fn vote(&mut self, transaction: TransactionId) -> Reply {
        self.call(&Request::Vote { transaction })
    }

    /// Votes, which has to succeed.
    pub(crate) fn must_vote(&mut self, transaction: TransactionId) {
        assert_eq!(self.vote(transaction), Reply::Voted);
    }

    /// Finishes, which has to succeed.
    pub(crate) fn finish(&mut self, transaction: TransactionId) -> Tid {
        match self.call(&Request::Finish { transaction }) {
            Reply::Tid(tid) => tid,
            reply => panic!("finish is answered {reply:?}"),
        }
    }

    pub(crate) fn abort(&mut self, transaction: TransactionId) {
        assert_eq!(self.call(&Request::Abort { transaction }), Reply::Done);
    }

    /// A whole transaction, which has to succeed.
    pub(crate) fn commit(&mut self, changes: &[(Oid, Tid, &[u8])]) -> Tid {
        let transaction = self.begin();
        for (oid, serial, data) in changes {
            self.store(transaction, *oid, *serial, data);
        }
        self.must_vote(transaction);
        self.finish(transaction)
    }

    /// A transaction that has voted for one change.
    pub(crate) fn voted(&mut self, oid: Oid, serial: Tid, data: &[u8]) -> TransactionId {
        let transaction = self.begin();
        self.store(transaction, oid, serial, data);
        self.must_vote(transaction);
        transaction
    }

    pub(crate) fn load_before(
        &mut self,
        oid: Oid,
        before: Tid,
    ) -> Result<Option<Loaded<Bytes>>, Failure> {
        match self.call(&Request::LoadBefore { oid, before }) {
            Reply::Loaded(loaded) => Ok(loaded),
            Reply::Failed(failure) => Err(failure),
            reply => panic!("a load is answered {reply:?}"),
        }
    }

    /// The current data, which have to be there.
    pub(crate) fn load(&mut self, oid: Oid) -> Bytes {
        let loaded = self.load_before(oid, Tid::MAX).expect("loaded").expect("a revision");
        assert_eq!(loaded.end, None, "the current revision has no end");
        loaded.data
    }

    pub(crate) fn ping(&mut self) {
        assert_eq!(self.call(&Request::Ping), Reply::Done);
    }

    pub(crate) fn status(&mut self) -> Status {
        match self.call(&Request::Status) {
            Reply::Status(status) => *status,
            reply => panic!("status is answered {reply:?}"),
        }
    }

    /// Asks until the status is as wanted: each answer is news, so this is no busy loop.
    pub(crate) fn wait_for_status(&mut self, what: &str, is_there: impl Fn(&Status) -> bool) {
        let start = Instant::now();
        while !is_there(&self.status()) {
            assert!(start.elapsed() < PATIENCE, "{what} does not come about");
        }
    }

    pub(crate) fn new_oids(&mut self, count: u32) -> Vec<Oid> {
        match self.call(&Request::NewOids { count }) {
            Reply::Oids(oids) => oids,
            reply => panic!("new oids are answered {reply:?}"),
        }
    }
}

/// The request that begins a transaction.
pub(crate) fn begin(transaction: TransactionId, tid: Option<Tid>) -> Request {
    let (user, description, extension) = (Bytes::from("user"), Bytes::new(), Bytes::new());
    Request::Begin(Begin { transaction, user, description, extension, tid, status: b' ' })
}

/// [`Session`] without its type parameter.
trait Wire: Send {
    fn handle_request(&mut self, request: &Request) -> Option<u64>;
    fn handle_input(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, SessionError>;
    fn poll_transmit(&mut self) -> Option<Vec<u8>>;
}

impl<C: Codec> Wire for Session<C> {
    fn handle_request(&mut self, request: &Request) -> Option<u64> {
        self.handle_request(request).expect("no request of a test is that long")
    }

    fn handle_input(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, SessionError> {
        self.handle_input(input)
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.poll_transmit(&mut bytes).then_some(bytes)
    }
}

struct NewSession;

impl WithCodec for NewSession {
    type Out = Box<dyn Wire>;

    fn call<C: Codec>(self) -> Box<dyn Wire> {
        Box::new(Session::<C>::new(Limits::default()))
    }
}
