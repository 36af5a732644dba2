//! A thread that makes a storage follow a primary of zc.zrs.
//!
//! Such a primary knows no epochs and checks nothing: so what it sends first is the last transaction
//! that is here already, and has to be the same.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Failure, Oid, Tid, TransactionHead, TransactionRecord};
use replication::Backoff;
use replication::limits::TAKEN_BYTES_MAX;
use storage::Upload;
use storage::replica::{Feed, Incoming, Step};
use tracing::{error, info, warn};
use zrs::{Blob, Event, Extension, Follower, KEEP_ALIVE, Record, Status, Version};

use super::Stop;
use super::channel::{Bell, Channel};
use super::node::Node;
use super::peer::Peer;

/// Follows until the server stops, or an operator has to do something. `message_bytes_max`: the
/// longest record.
pub(super) fn run(
    node: &Arc<Node>,
    peer: &Peer,
    version: Version,
    message_bytes_max: usize,
    stop: &Stop,
) {
    let bell = match Bell::new() {
        Ok(bell) => bell,
        Err(error) => return error!("cannot follow {peer}: {error}"),
    };
    stop.tell(&bell);
    let began = Instant::now();
    let mut backoff = Backoff::default();
    while !stop.is_stopping() {
        let link = Link::open(node, peer, version, message_bytes_max);
        let ended = link.and_then(|mut link| {
            let ended = link.run(&bell, stop);
            if link.has_applied {
                backoff.reset();
            }
            ended
        });
        node.figures().source.get_or_insert_default().note(false, None);
        match ended {
            Ok(()) => return,
            Err(Trouble::Retry(why)) => warn!("the link to {peer} ends: {why}"),
            Err(Trouble::Stop(why)) => {
                return error!(name = node.name, "does not follow {peer} any more: {why}");
            }
        }
        let random = super::random().map_or(0, u64::from_ne_bytes);
        let until = began.elapsed() + backoff.fail(random);
        while !stop.is_stopping() && began.elapsed() < until {
            let _waited = bell.wait(Some(until.saturating_sub(began.elapsed())));
            bell.take();
        }
    }
}

/// Why a connection ended.
enum Trouble {
    /// Another try may do better.
    Retry(String),
    /// An operator has to do something.
    Stop(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Retry(error.to_string())
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Retry(failure.to_string())
    }
}

/// One connection.
struct Link<'a> {
    node: &'a Arc<Node>,
    follower: Follower,
    channel: Channel,
    incoming: Incoming,
    /// What is here already and comes once more.
    known: Option<Feed>,
    /// Of the transaction that is coming.
    tid: Tid,
    /// The blob that is coming; no upload where no blobs are kept.
    blob: Option<(Oid, Option<Upload>)>,
    has_applied: bool,
}

impl<'a> Link<'a> {
    fn open(
        node: &'a Arc<Node>,
        peer: &Peer,
        version: Version,
        message_bytes_max: usize,
    ) -> Result<Self, Trouble> {
        let replica = &node.replica;
        let last = replica.position().tid;
        let start = replica.tid_before(last)?.unwrap_or(Tid::ZERO);
        let known = if last == Tid::ZERO { None } else { replica.feed(start)? };
        if last > Tid::ZERO && known.is_none() {
            let text = "all that is here was packed, so that it cannot be compared with what comes";
            return Err(Trouble::Stop(text.to_owned()));
        }
        let mut channel = Channel::new(peer.connect()?, None, message_bytes_max)?;
        let follower = Follower::new(version, start, message_bytes_max);
        channel.send_bytes(&follower.greeting());
        channel.flush()?;
        info!(name = node.name, "follows {peer}, after {last}");
        node.figures().source.get_or_insert_default().note(true, None);
        let (incoming, tid) = (replica.incoming(), Tid::ZERO);
        Ok(Self { node, follower, channel, incoming, known, tid, blob: None, has_applied: false })
    }

    fn run(&mut self, bell: &Bell, stop: &Stop) -> Result<(), Trouble> {
        let mut sent = Instant::now();
        while !stop.is_stopping() {
            self.channel.flush()?;
            self.channel.wait(bell, true, KEEP_ALIVE_INTERVAL.saturating_sub(sent.elapsed()))?;
            bell.take();
            if sent.elapsed() >= KEEP_ALIVE_INTERVAL {
                sent = Instant::now();
                self.channel.send_bytes(&KEEP_ALIVE);
            }
            match self.channel.receive() {
                Ok(true) => self.take_events()?,
                Ok(false) => {}
                Err(error) => {
                    let end = self.follower.handle_end();
                    return Err(Trouble::Retry(format!("{error} ({end:?})")));
                }
            }
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), Trouble> {
        loop {
            let event = self.follower.poll_event(self.channel.input());
            let event = event.map_err(|error| Trouble::Retry(error.to_string()))?;
            let is_enough = self.incoming.bytes() >= TAKEN_BYTES_MAX as u64;
            if (event.is_none() || is_enough) && self.incoming.transactions() > 0 {
                self.incoming.apply()?;
                self.has_applied = true;
            }
            match event {
                None => return Ok(()),
                Some(event) if self.known.is_some() => self.compare(event)?,
                Some(event) => self.take(event)?,
            }
        }
    }

    /// Takes what is here already.
    fn compare(&mut self, event: Event) -> Result<(), Trouble> {
        let Some(known) = &mut self.known else { return Ok(()) };
        let is_same = match event {
            Event::Begin(transaction) => match known.next()? {
                Step::Begin(head) => {
                    (head.tid, head.user, head.description)
                        == (transaction.tid, transaction.user, transaction.description)
                }
                _ => false,
            },
            Event::Record(record) => match known.next()? {
                Step::Record(here) => (here.oid, here.data) == (record.oid, record.data),
                _ => false,
            },
            Event::BlobPart(_) | Event::BlobEnd => true,
            Event::Commit(_) => {
                let is_whole = matches!(known.next()?, Step::End(_));
                if is_whole {
                    self.known = None;
                }
                is_whole
            }
        };
        if is_same {
            return Ok(());
        }
        Err(Trouble::Stop(format!(
            "its transaction after {} is another one than the last one here, {}: begin with an \
             import of its file, or with an empty storage",
            self.node.replica.tid_before(self.node.position().tid)?.unwrap_or(Tid::ZERO),
            self.node.position().tid
        )))
    }

    fn take(&mut self, event: Event) -> Result<(), Trouble> {
        match event {
            Event::Begin(transaction) => {
                let tid = transaction.tid;
                let extension = match transaction.extension {
                    Extension::Plain(bytes) => bytes,
                    Extension::LeftOut(why) => {
                        warn!("the extension of transaction {tid} is left out: {why}");
                        bytes::Bytes::new()
                    }
                };
                let status = match transaction.status {
                    Status::Complete => b' ',
                    Status::Packed => b'p',
                };
                let zrs::Transaction { user, description, .. } = transaction;
                self.tid = tid;
                let head = TransactionHead { tid, status, user, description, extension };
                Ok(self.incoming.begin(head)?)
            }
            Event::Record(record) => self.record(record),
            Event::BlobPart(part) => {
                if let Some((_, Some(upload))) = &self.blob {
                    upload.write_here(&part);
                }
                Ok(())
            }
            Event::BlobEnd => {
                if let Some((oid, Some(upload))) = self.blob.take() {
                    self.incoming.blob(oid, upload)?;
                }
                Ok(())
            }
            Event::Commit(_) => Ok(self.incoming.end_unchecked()?),
        }
    }

    fn record(&mut self, record: Record) -> Result<(), Trouble> {
        let (tid, Record { oid, data, origin, blob }) = (self.tid, record);
        let has_blob = match blob {
            Blob::None => false,
            Blob::Follows => {
                let replica = &self.node.replica;
                let upload = replica.has_blobs().then(|| replica.upload()).transpose()?;
                self.blob = Some((oid, upload));
                true
            }
            Blob::Lost => {
                error!(
                    "the blob of object {oid} as of {tid} is missing: the primary has not sent it"
                );
                true
            }
        };
        Ok(self.incoming.record(TransactionRecord { oid, tid, data, origin, has_blob })?)
    }
}

/// As zc.zrs's own secondaries do by the recipe that sites use.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
