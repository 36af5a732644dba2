//! A session and its client.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use protocol::{
    Begin, Codec as _, Expect, Incoming, Limits, Oid, Reply, Request, Tid, TransactionId, frame,
};
use protocol_msgpack::MsgPack;
use session::{Closed, Counters, Host, Hosted, Session};
use storage::{Mailbox, Wake};

use crate::fake::Fake;

pub(crate) const TRANSACTION: TransactionId = TransactionId(1);

/// One connection, both sides.
pub(crate) struct Talk {
    pub(crate) session: Session<MsgPack>,
    pub(crate) storage: Arc<Fake>,
    pub(crate) hosted: Arc<Hosted>,
    codec: MsgPack,
    /// What was sent and is not handled.
    input: BytesMut,
    output: Vec<u8>,
    /// What the calls expect, by number less one.
    expects: Vec<Option<Expect>>,
}

/// The test itself looks into the mailbox.
struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl Talk {
    /// A connection that has not chosen the one storage, `1`.
    pub(crate) fn new() -> Self {
        let storage = Arc::new(Fake::default());
        let counters = Counters::default();
        let hosted = Arc::new(Hosted { storage: Arc::clone(&storage) as _, counters });
        let storages = [("1".to_owned(), Arc::clone(&hosted))].into();
        let host = Arc::new(Host { storages, read_only: false, started: String::new() });
        let mailbox = Mailbox::new(1 << 20, Arc::new(Nobody));
        Self {
            session: Session::new(host, mailbox, Limits::default(), "peer".to_owned()),
            storage,
            hosted,
            codec: MsgPack::new(Limits::default()),
            input: BytesMut::new(),
            output: Vec::new(),
            expects: Vec::new(),
        }
    }

    pub(crate) fn registered(read_only: bool) -> Self {
        let mut talk = Self::new();
        assert!(matches!(talk.register("1", read_only), Reply::Tid(_)));
        talk
    }

    pub(crate) fn register(&mut self, storage: &str, read_only: bool) -> Reply {
        self.ask(&Request::Register { storage: storage.to_owned(), read_only })
    }

    /// Sends a request, which [`Self::turn`] has the session handle. Gives its number.
    pub(crate) fn send(&mut self, request: &Request) -> u64 {
        self.expects.push(request.expects());
        let number = self.expects.len() as u64;
        let mut frame = Vec::new();
        assert!(frame::write(&mut frame, |out| self.codec.encode_request(number, request, out)));
        self.input.extend_from_slice(&frame);
        number
    }

    /// What a connection does after a read or a wake-up.
    pub(crate) fn turn(&mut self) -> Result<(), Closed> {
        self.session.handle_mailbox(&mut self.output)?;
        self.session.handle_input(&mut self.input, &mut self.output)?;
        self.session.handle_mailbox(&mut self.output)
    }

    /// Whether requests are left.
    pub(crate) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// A turn, and what the client gets by it.
    pub(crate) fn exchange(&mut self) -> Vec<Incoming> {
        self.turn().expect("the connection goes on");
        let mut received = BytesMut::from(&std::mem::take(&mut self.output)[..]);
        let mut messages = Vec::new();
        while let Some(message) = frame::split(&mut received, usize::MAX).expect("no limit") {
            let expects = &self.expects;
            let mut expects = |number: u64| *expects.get(usize::try_from(number).ok()? - 1)?;
            messages.push(self.codec.decode_incoming(&message, &mut expects).expect("a message"));
        }
        messages
    }

    /// Sends a call whose answer is all that comes.
    pub(crate) fn ask(&mut self, request: &Request) -> Reply {
        let number = self.send(request);
        match self.exchange().pop() {
            Some(Incoming::Reply { number: answered, reply }) if answered == number => reply,
            other => panic!("{request:?} is answered {other:?}"),
        }
    }

    /// Begins a transaction and writes one object.
    pub(crate) fn begin_and_store(&mut self) {
        self.send(&begin());
        self.send(&store(TRANSACTION));
        assert_eq!(self.exchange(), []);
    }
}

pub(crate) fn begin() -> Request {
    let (user, description, extension) = Default::default();
    let begin =
        Begin { transaction: TRANSACTION, user, description, extension, tid: None, status: b' ' };
    Request::Begin(begin)
}

pub(crate) fn store(transaction: TransactionId) -> Request {
    let data = Bytes::from_static(b"data");
    Request::Store { transaction, oid: Oid(1), serial: Tid::ZERO, data }
}

pub(crate) fn reply(number: u64, reply: Reply) -> Incoming {
    Incoming::Reply { number, reply }
}
