//! The protocols of transactions: `client`'s session, any codec.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use client::Session;
use protocol::{
    Begin, Codec, Failure, Incoming, Limits, Oid, Push, Reply, Request, Tid, TransactionId,
};

use super::{Event, Wire};
use crate::data::{self, BlobCheck};
use crate::sizes::Sizes;

pub(super) struct SessionWire<C> {
    session: Session<C>,
    stage: Stage,
    transaction: TransactionId,
    /// What this connection writes, and what it knows of that.
    known: HashMap<Oid, Known>,
    commit: Commit,
    download: Option<Download>,
    /// The number of a pack under way.
    pack: Option<u64>,
}

/// A load of an object and its blob.
#[derive(Debug)]
struct Download {
    oid: Oid,
    /// Of the call that is waited for: first the load's, then the blob's.
    number: u64,
    check: Option<BlobCheck>,
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
    /// Each object gets a blob of so many bytes.
    blob_bytes: Option<usize>,
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
            download: None,
            pack: None,
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
            let request = match self.commit.blob_bytes {
                None => Request::Store { transaction, oid, serial, data },
                Some(bytes) => {
                    upload(&mut self.session, oid, revision + 1, bytes)?;
                    Request::BlobEnd { transaction, oid, serial, data }
                }
            };
            self.session.handle_request(&request)?;
        }
        self.session.handle_request(&Request::Vote { transaction })?;
        Ok(())
    }

    /// An answer in a download.
    fn downloaded(&mut self, mut download: Download, reply: Reply) -> anyhow::Result<Event> {
        let oid = download.oid;
        match (reply, download.check.take()) {
            (Reply::Loaded(Some(loaded)), None) => {
                let Some(revision) = data::check(oid, &loaded.data) else {
                    bail!("object {oid}: a record that nobody has written");
                };
                let request = Request::LoadBlob { oid, serial: loaded.tid };
                download.number = self.session.handle_request(&request)?.unwrap_or_default();
                download.check = Some(BlobCheck::new(oid, revision));
                self.download = Some(download);
                Ok(Event::Step)
            }
            (Reply::Done, Some(check)) => {
                let bytes = check.finish();
                let bytes = bytes.with_context(|| format!("object {oid}: a wrong blob"))?;
                Ok(Event::BlobLoaded { bytes })
            }
            (other, _) => bail!("object {oid}: its blob cannot be loaded: {other:.200?}"),
        }
    }

    fn blob_chunk(&mut self, oid: Oid, data: &[u8]) -> anyhow::Result<Event> {
        let check = self.download.as_mut().filter(|download| download.oid == oid);
        match check.and_then(|download| download.check.as_mut()) {
            Some(check) => {
                if !check.take(data) {
                    bail!("object {oid}: wrong bytes in its blob");
                }
                Ok(Event::Step)
            }
            None => bail!("object {oid}: a part of a blob that nobody asked for"),
        }
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
        if let Some(download) = self.download.take_if(|download| download.number == number) {
            return self.downloaded(download, reply);
        }
        if self.pack.take_if(|pack| *pack == number).is_some() {
            return match reply {
                Reply::Done => Ok(Event::Packed),
                other => bail!("a pack: {other:.200?}"),
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

/// Sends a blob's file.
fn upload<C: Codec>(
    session: &mut Session<C>,
    oid: Oid,
    revision: u64,
    bytes: usize,
) -> anyhow::Result<()> {
    session.handle_request(&Request::BlobStart { oid: Some(oid) })?;
    for piece in data::blob_pieces(oid, revision, bytes) {
        let chunk = Request::BlobChunk { oid: Some(oid), data: piece.into() };
        session.handle_request(&chunk)?;
    }
    Ok(())
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
        self.commit.blob_bytes = None;
        self.ask_vote()
    }

    fn store_blob(&mut self, oid: Oid, sizes: Sizes, bytes: usize) -> anyhow::Result<()> {
        self.commit.oids = vec![oid];
        self.commit.sizes = sizes;
        self.commit.blob_bytes = Some(bytes);
        self.ask_vote()
    }

    fn load_blob(&mut self, oid: Oid) -> anyhow::Result<()> {
        let number = self.load(oid)?;
        self.download = Some(Download { oid, number, check: None });
        Ok(())
    }

    fn pack(&mut self) -> anyhow::Result<()> {
        let before = Tid::from_unix(SystemTime::now().duration_since(UNIX_EPOCH)?);
        self.pack = self.session.handle_request(&Request::Pack { before, wait: true })?;
        Ok(())
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
            Some(Incoming::Push(Push::BlobChunk { oid, data, .. })) => {
                self.blob_chunk(oid, &data).map(Some)
            }
            Some(Incoming::Push(
                Push::Info { .. } | Push::BlobStart { .. } | Push::BlobStop { .. },
            )) => Ok(Some(Event::Step)),
        }
    }

    fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        self.session.poll_transmit(written)
    }

    fn revision(&self, oid: Oid) -> u64 {
        self.known.get(&oid).map_or(0, |known| known.revision)
    }
}
