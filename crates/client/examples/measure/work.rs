//! What connections do.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use client::Session;
use codecs::{Address, Endpoint};
use protocol::{Begin, Codec, Failure, Incoming, Limits, Oid, Reply, Request, Tid, TransactionId};

use crate::Failed;

pub(crate) const RECORD_BYTES: usize = 1024;
pub(crate) const FIRST_LOADED: u64 = 1_000_000;
/// How many objects are loaded.
pub(crate) const LOADED: u64 = 10_000;
const FIRST_COMMITTED: u64 = 3_000_000;
const STALLED: Oid = Oid(FIRST_COMMITTED - 1);

/// What a connection does, over and over.
pub(crate) enum Work {
    Load(Loads),
    Commit(Commits),
}

/// Loads of random objects.
pub(crate) struct Loads {
    random: u64,
    asked: Oid,
}

/// Commits of one object.
pub(crate) struct Commits {
    oid: Oid,
    serial: Tid,
    transaction: TransactionId,
}

impl Work {
    /// Starts the next unit of work.
    pub(crate) fn ask<C: Codec>(&mut self, session: &mut Session<C>) -> Result<(), Failed> {
        match self {
            Self::Load(loads) => {
                let random = loads.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                loads.random = random;
                loads.asked = Oid(FIRST_LOADED + (random >> 33) % LOADED);
                let request = Request::LoadBefore { oid: loads.asked, before: Tid::MAX };
                session.handle_request(&request)?;
            }
            Self::Commit(commits) => {
                commits.transaction.0 += 1;
                let store = [(commits.oid, commits.serial)].into_iter();
                ask_vote(session, commits.transaction, store, RECORD_BYTES)?;
            }
        }
        Ok(())
    }

    /// Takes an answer; whether it ends the unit of work.
    pub(crate) fn answer<C: Codec>(
        &mut self,
        reply: Reply,
        session: &mut Session<C>,
    ) -> Result<bool, Failed> {
        match (self, reply) {
            (Self::Load(Loads { asked, .. }), Reply::Loaded(Some(loaded)))
                if loaded.data == record(*asked, RECORD_BYTES) =>
            {
                Ok(true)
            }
            (Self::Commit(Commits { transaction, .. }), Reply::Voted) => {
                session.handle_request(&Request::Finish { transaction: *transaction })?;
                Ok(false)
            }
            (Self::Commit(commits), Reply::Tid(tid)) if tid > commits.serial => {
                commits.serial = tid;
                Ok(true)
            }
            (_, reply) => Err(format!("a wrong answer: {reply:.200?}").into()),
        }
    }
}

impl Loads {
    pub(crate) fn new(number: u64) -> Self {
        Self { random: number * 0x9e37_79b9 + 1, asked: Oid(0) }
    }
}

impl Commits {
    pub(crate) fn new<C: Codec>(number: u64, connection: &mut Blocking<C>) -> Result<Self, Failed> {
        let oid = Oid(FIRST_COMMITTED + number);
        let serial = connection.current_tid(oid)?;
        Ok(Self { oid, serial, transaction: TransactionId(0) })
    }
}

/// A registered connection that waits for each answer.
pub(crate) struct Blocking<C> {
    pub(crate) stream: TcpStream,
    pub(crate) session: Session<C>,
    pub(crate) input: BytesMut,
    transaction: TransactionId,
}

impl<C: Codec> Blocking<C> {
    pub(crate) fn open(endpoint: &Endpoint) -> Result<Self, Failed> {
        let Address::Tcp { host, port } = &endpoint.address else {
            return Err("only TCP is measured".into());
        };
        let stream = TcpStream::connect((host.as_str(), *port))?;
        stream.set_nodelay(true)?;
        let (session, input) = (Session::new(Limits::default()), BytesMut::new());
        let mut connection = Self { stream, session, input, transaction: TransactionId(0) };
        connection.call(&Request::Register { storage: "1".to_owned(), read_only: false })?;
        Ok(connection)
    }

    /// Zero if there is no such object.
    pub(crate) fn current_tid(&mut self, oid: Oid) -> Result<Tid, Failed> {
        match self.call(&Request::CurrentTid { oid })? {
            Reply::Tid(tid) => Ok(tid),
            Reply::Failed(Failure::UnknownOid(_)) => Ok(Tid::ZERO),
            other => Err(format!("a tid: {other:?}").into()),
        }
    }

    /// Stores `objects` new ones, 100 in a transaction.
    pub(crate) fn fill(&mut self, objects: u64, record_bytes: usize) -> Result<(), Failed> {
        for first in (0..objects).step_by(100) {
            let stores = (first..first + 100).map(|n| (Oid(FIRST_LOADED + n), Tid::ZERO));
            self.vote_on(stores, record_bytes)?;
            self.finish()?;
        }
        Ok(())
    }

    /// Votes on an object that nobody else wants.
    pub(crate) fn vote(&mut self) -> Result<(), Failed> {
        let serial = self.current_tid(STALLED)?;
        self.vote_on([(STALLED, serial)].into_iter(), RECORD_BYTES)
    }

    fn vote_on(
        &mut self,
        stores: impl Iterator<Item = (Oid, Tid)>,
        record_bytes: usize,
    ) -> Result<(), Failed> {
        self.transaction.0 += 1;
        let vote = ask_vote(&mut self.session, self.transaction, stores, record_bytes)?;
        match self.wait(vote)? {
            Reply::Voted => Ok(()),
            other => Err(format!("vote: {other:?}").into()),
        }
    }

    /// Finishes what has voted.
    pub(crate) fn finish(&mut self) -> Result<(), Failed> {
        match self.call(&Request::Finish { transaction: self.transaction })? {
            Reply::Tid(_) => Ok(()),
            other => Err(format!("finish: {other:?}").into()),
        }
    }

    fn call(&mut self, request: &Request) -> Result<Reply, Failed> {
        let asked = self.session.handle_request(request)?.ok_or("a one-way request")?;
        self.wait(asked)
    }

    fn wait(&mut self, asked: u64) -> Result<Reply, Failed> {
        let mut output = Vec::new();
        loop {
            match self.session.handle_input(&mut self.input)? {
                Some(Incoming::Reply { number, reply }) if number == asked => return Ok(reply),
                Some(_) => continue,
                None => (),
            }
            while self.session.poll_transmit(&mut output) {
                self.stream.write_all(&output)?;
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Err("the server closed the connection".into()),
                count => self.input.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        }
    }
}

/// Sends a transaction up to its vote; gives the vote's number.
fn ask_vote<C: Codec>(
    session: &mut Session<C>,
    transaction: TransactionId,
    stores: impl Iterator<Item = (Oid, Tid)>,
    record_bytes: usize,
) -> Result<u64, Failed> {
    session.handle_request(&Request::Begin(Begin {
        transaction,
        user: Bytes::new(),
        description: Bytes::new(),
        extension: Bytes::new(),
        tid: None,
        status: b' ',
    }))?;
    for (oid, serial) in stores {
        let data = record(oid, record_bytes);
        session.handle_request(&Request::Store { transaction, oid, serial, data })?;
    }
    Ok(session.handle_request(&Request::Vote { transaction })?.ok_or("a vote is a call")?)
}

/// The record of an object: its oid, over and over.
fn record(oid: Oid, bytes: usize) -> Bytes {
    oid.to_bytes().repeat(bytes / 8).into()
}
