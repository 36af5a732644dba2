//! A client of ZEO's protocol that does what it is told, and no more: it can also misbehave.

use std::ops::RangeInclusive;

use bytes::Bytes;
use protocol::{
    Begin, Codec as _, Expect, Failure, Incoming, Limits, Oid, Push, Reply, Request, Tid,
    TransactionId,
};
use protocol_msgpack::MsgPack;
use testkit::server::{Socket, read_frame, write_frame};

pub(crate) struct Client {
    socket: Box<dyn Socket>,
    codec: MsgPack,
    /// What the calls expect that were not answered, oldest first.
    asked: Vec<(u64, Expect)>,
    calls: u64,
}

impl Client {
    pub(crate) fn register(socket: Box<dyn Socket>, storage: &str) -> Self {
        Self::try_register(socket, storage, false).unwrap().0
    }

    /// A client, and the last tid that it is told; or why it may not be one.
    pub(crate) fn try_register(
        mut socket: Box<dyn Socket>,
        storage: &str,
        read_only: bool,
    ) -> Result<(Self, Tid), Failure> {
        assert!(read_frame(&mut *socket).is_some(), "the server greets");
        write_frame(&mut *socket, b"M5");
        let codec = MsgPack::new(Limits::default());
        let mut client = Self { socket, codec, asked: Vec::new(), calls: 0 };
        let register = Request::Register { storage: storage.to_owned(), read_only };
        match client.ask(&register) {
            Reply::Tid(tid) => Ok((client, tid)),
            Reply::Failed(failure) => Err(failure),
            reply => panic!("a register is answered {reply:?}"),
        }
    }

    /// The next invalidation.
    pub(crate) fn invalidation(&mut self) -> (Tid, Vec<Oid>) {
        loop {
            let frame = read_frame(&mut *self.socket).expect("the server tells");
            let nothing_asked = &mut |_| None;
            match self.codec.decode_incoming(&Bytes::from(frame), nothing_asked).unwrap() {
                Incoming::Push(Push::Invalidate { tid, oids }) => return (tid, oids.to_vec()),
                other => assert!(matches!(other, Incoming::Push(_)), "{other:?}"),
            }
        }
    }

    /// Sends a request that is not answered.
    pub(crate) fn tell(&mut self, request: &Request) {
        self.send(request);
    }

    /// Sends a request whose answer is read later.
    pub(crate) fn send(&mut self, request: &Request) {
        let message = self.encode(request);
        write_frame(&mut *self.socket, &message);
    }

    /// Sends a request byte by byte, so that the server reads it in whatever pieces.
    pub(crate) fn send_slowly(&mut self, request: &Request) {
        let message = self.encode(request);
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        for byte in length.iter().chain(&message) {
            self.socket.write_all(&[*byte]).unwrap();
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Reply {
        self.send(request);
        self.answer()
    }

    /// The answer to the oldest call that has none, which is the next one to come.
    pub(crate) fn answer(&mut self) -> Reply {
        let oldest = self.asked.first().map(|call| call.0);
        let (number, reply) = self.any_answer();
        assert_eq!(Some(number), oldest, "answered out of order: {reply:?}");
        reply
    }

    /// The next answer, to whichever call; pushes are passed over.
    pub(crate) fn any_answer(&mut self) -> (u64, Reply) {
        self.answer_or_end().expect("the server answers")
    }

    /// The next answer; `None`: the server has closed the connection.
    pub(crate) fn answer_or_end(&mut self) -> Option<(u64, Reply)> {
        loop {
            let frame = read_frame(&mut *self.socket)?;
            let asked = &self.asked;
            let call = |number| asked.iter().find(|call| call.0 == number).map(|call| call.1);
            let incoming = self.codec.decode_incoming(&Bytes::from(frame), &mut { call }).unwrap();
            if let Incoming::Reply { number, reply } = incoming {
                self.asked.retain(|call| call.0 != number);
                return Some((number, reply));
            }
        }
    }

    /// Commits one object.
    pub(crate) fn commit(&mut self, oid: u64, serial: Tid, data: &[u8]) -> Tid {
        self.try_commit(oid, serial, data).expect("it is finished")
    }

    /// Commits one object, or does not.
    pub(crate) fn try_commit(
        &mut self,
        oid: u64,
        serial: Tid,
        data: &[u8],
    ) -> Result<Tid, Failure> {
        match self.vote(oid, serial, data) {
            Reply::Voted => (),
            Reply::Failed(failure) => return Err(failure),
            reply => panic!("a vote is answered {reply:?}"),
        }
        match self.ask(&Request::Finish { transaction: TRANSACTION }) {
            Reply::Tid(tid) => Ok(tid),
            Reply::Failed(failure) => Err(failure),
            reply => panic!("a finish is answered {reply:?}"),
        }
    }

    /// The first phase of a commit.
    pub(crate) fn vote(&mut self, oid: u64, serial: Tid, data: &[u8]) -> Reply {
        self.vote_for(oid..=oid, serial, data)
    }

    /// The first phase of a commit of many objects.
    pub(crate) fn vote_for(
        &mut self,
        oids: RangeInclusive<u64>,
        serial: Tid,
        data: &[u8],
    ) -> Reply {
        self.tell(&Request::Begin(Begin {
            transaction: TRANSACTION,
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Bytes::new(),
            tid: None,
            status: b' ',
        }));
        for oid in oids.map(Oid) {
            let data = Bytes::copy_from_slice(data);
            self.tell(&Request::Store { transaction: TRANSACTION, oid, serial, data });
        }
        self.ask(&Request::Vote { transaction: TRANSACTION })
    }

    /// Whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        while read_frame(&mut *self.socket).is_some() {}
        true
    }

    fn encode(&mut self, request: &Request) -> Vec<u8> {
        self.calls += 1;
        self.asked.extend(request.expects().map(|expects| (self.calls, expects)));
        let mut message = Vec::new();
        self.codec.encode_request(self.calls, request, &mut message);
        message
    }
}

pub(crate) const TRANSACTION: TransactionId = TransactionId(1);
