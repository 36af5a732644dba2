//! The protocols of transactions: `client`'s session, any codec.

use std::collections::HashMap;

use anyhow::bail;
use bytes::{Bytes, BytesMut};
use client::Session;
use protocol::{
    Begin, Codec, Failure, Incoming, Limits, Oid, Push, Reply, Request, Tid, TransactionId,
};

use super::{Event, Wire};
use crate::data;
use crate::sizes::Sizes;

pub(super) struct SessionWire<C> {
    session: Session<C>,
    stage: Stage,
    transaction: TransactionId,
    /// What this connection writes, and what it knows of that.
    known: HashMap<Oid, Known>,
    commit: Commit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Registration is under way, with this number.
    Registering(u64),
    Open,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    serial: Tid,
    revision: u64,
}

/// The transaction under way.
#[derive(Debug, Default)]
struct Commit {
    oids: Vec<Oid>,
    sizes: Sizes,
    /// Vote and wait.
    stalls: bool,
    /// Objects whose current revision is being loaded after a conflict, by the calls' numbers.
    reloads: HashMap<u64, Oid>,
}

impl<C: Codec> SessionWire<C> {
    pub(super) fn new() -> Self {
        let mut session = Session::new(Limits::of_client());
        let register = Request::Register { storage: "1".to_owned(), read_only: false };
        let number = session.handle_request(&register).ok().flatten().unwrap_or_default();
        Self {
            session,
            stage: Stage::Registering(number),
            transaction: TransactionId(0),
            known: HashMap::new(),
            commit: Commit::default(),
        }
    }

    /// Sends the transaction up to its vote.
    fn ask_vote(&mut self) -> anyhow::Result<()> {
        self.transaction.0 += 1;
        let transaction = self.transaction;
        self.session.handle_request(&Request::Begin(Begin {
            transaction,
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Bytes::new(),
            tid: None,
            status: b' ',
        }))?;
        for &oid in &self.commit.oids {
            let Known { serial, revision } = self.known.get(&oid).copied().unwrap_or_default();
            let bytes = self.commit.sizes.bytes(oid, revision + 1);
            let mut record = Vec::with_capacity(bytes);
            data::append(oid, revision + 1, bytes, &mut record);
            let data = record.into();
            self.session.handle_request(&Request::Store { transaction, oid, serial, data })?;
        }
        self.session.handle_request(&Request::Vote { transaction })?;
        Ok(())
    }

    /// Gives up, and looks at what others have made of the objects.
    fn reload(&mut self, oids: impl IntoIterator<Item = Oid>) -> anyhow::Result<Event> {
        self.session.handle_request(&Request::Abort { transaction: self.transaction })?;
        for oid in oids {
            let request = Request::LoadBefore { oid, before: Tid::MAX };
            let number = self.session.handle_request(&request)?;
            self.commit.reloads.extend(number.map(|number| (number, oid)));
        }
        Ok(Event::Step)
    }

    fn reloaded(&mut self, oid: Oid, serial: Tid, record: &[u8]) -> anyhow::Result<Event> {
        let Some(revision) = data::check(oid, record) else {
            bail!("object {oid}: a record that nobody has written");
        };
        self.known.insert(oid, Known { serial, revision });
        if self.commit.reloads.is_empty() {
            self.ask_vote()?;
        }
        Ok(Event::Step)
    }

    fn finished(&mut self, tid: Tid) -> anyhow::Result<Event> {
        for oid in &self.commit.oids {
            let known = self.known.entry(*oid).or_default();
            if tid <= known.serial {
                bail!("object {oid}: tid {tid} came after {}", known.serial);
            }
            *known = Known { serial: tid, revision: known.revision + 1 };
        }
        Ok(Event::Committed)
    }

    fn reply(&mut self, number: u64, reply: Reply) -> anyhow::Result<Event> {
        if self.stage == Stage::Registering(number) {
            return match reply {
                Reply::Tid(_) | Reply::Done => {
                    self.stage = Stage::Open;
                    Ok(Event::Step)
                }
                other => bail!("registration: {other:?}"),
            };
        }
        let reload = self.commit.reloads.remove(&number);
        match (reply, reload) {
            (Reply::Loaded(Some(loaded)), Some(oid)) => {
                self.reloaded(oid, loaded.tid, &loaded.data)
            }
            (Reply::Loaded(loaded), None) => {
                Ok(Event::Loaded { ticket: number, data: loaded.map(|loaded| loaded.data) })
            }
            (Reply::Failed(Failure::UnknownOid(_)), None) => {
                Ok(Event::Loaded { ticket: number, data: None })
            }
            (Reply::Voted, None) if self.commit.stalls => Ok(Event::Voted),
            (Reply::Voted, None) => {
                self.session.handle_request(&Request::Finish { transaction: self.transaction })?;
                Ok(Event::Step)
            }
            (Reply::Conflicts(conflicts), None) => {
                self.reload(conflicts.into_iter().map(|conflict| conflict.oid))
            }
            // A server that tries to resolve conflicts itself tells of the first that it cannot.
            (Reply::Failed(Failure::Conflict { oid, .. }), None) => self.reload([oid]),
            (Reply::Tid(tid), None) => self.finished(tid),
            // Of an abort.
            (Reply::Done, None) => Ok(Event::Step),
            (other, _) => bail!("an answer that cannot be: {other:.200?}"),
        }
    }
}

impl<C: Codec> Wire for SessionWire<C> {
    fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    fn load(&mut self, oid: Oid) -> anyhow::Result<u64> {
        let number = self.session.handle_request(&Request::LoadBefore { oid, before: Tid::MAX })?;
        Ok(number.unwrap_or_default())
    }

    fn commit(&mut self, oids: &[Oid], sizes: Sizes) -> anyhow::Result<()> {
        self.commit.oids.clear();
        self.commit.oids.extend_from_slice(oids);
        self.commit.sizes = sizes;
        self.ask_vote()
    }

    fn vote(&mut self, oid: Oid, sizes: Sizes) -> anyhow::Result<()> {
        self.commit.stalls = true;
        self.commit(&[oid], sizes)
    }

    fn handle_input(&mut self, input: &mut BytesMut) -> anyhow::Result<Option<Event>> {
        match self.session.handle_input(input)? {
            None => Ok(None),
            Some(Incoming::Reply { number, reply }) => self.reply(number, reply).map(Some),
            Some(Incoming::Push(Push::Invalidate { oids, .. })) => {
                Ok(Some(Event::Invalidated { oids }))
            }
            Some(Incoming::Push(_)) => Ok(Some(Event::Step)),
        }
    }

    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        self.session.poll_transmit(written)
    }

    fn revision(&self, oid: Oid) -> u64 {
        self.known.get(&oid).map_or(0, |known| known.revision)
    }
}
