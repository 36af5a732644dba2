//! Where secondaries come in, and one thread for each.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use protocol::{Oid, Tid};
use replication::limits::{ALIVE_INTERVAL, BLOB_PART_BYTES, SMALL_FRAME_BYTES_MAX};
use replication::primary::{Action, Event, Fed, Found, Link, Now, Settings};
use replication::{Head, Item, Reason, Record, Refusal};
use rustix::event::{PollFd, PollFlags};
use rustls::{ServerConfig, ServerConnection};
use socket2::Socket;
use storage::replica::{Feed, Step};
use storage::{BlobFile, Clock as _, SystemClock, Wake};
use tracing::{debug, info, warn};

use super::channel::{Bell, Channel};
use super::node::{Change, Node};
use super::peer::Peer;
use super::sync::Membership;
use super::{Nodes, Stop, software};

/// A listener for secondaries.
#[derive(Debug)]
pub(super) struct Door {
    socket: Socket,
    /// With its real port.
    pub(super) url: Peer,
    tls: Option<Arc<ServerConfig>>,
}

impl Door {
    pub(super) fn open(peer: &Peer, tls: Option<Arc<ServerConfig>>) -> anyhow::Result<Self> {
        let context = || format!("cannot listen on {peer}");
        let socket = crate::listen::bind_tcp(&peer.host, peer.port).with_context(context)?;
        socket.set_nonblocking(true).with_context(context)?;
        let address = socket.local_addr().with_context(context)?.as_socket();
        let port = address.map_or(peer.port, |address| address.port());
        Ok(Self { socket, url: Peer { port, ..peer.clone() }, tls })
    }

    /// Accepts secondaries until the server stops, and then waits for the end of all of them.
    pub(super) fn serve(&self, nodes: &Arc<Nodes>, stop: &Arc<Stop>) {
        let bell = match Bell::new() {
            Ok(bell) => bell,
            Err(error) => return warn!("cannot accept secondaries: {error}"),
        };
        stop.tell(&bell);
        let mut threads = Vec::new();
        while !stop.is_stopping() {
            match self.socket.accept() {
                Ok((socket, address)) => {
                    threads.retain(|thread: &JoinHandle<()>| !thread.is_finished());
                    if threads.len() >= LINKS_MAX {
                        warn!("there are {LINKS_MAX} links to secondaries: one more is closed");
                        continue;
                    }
                    let peer = crate::listen::peer_name(&address);
                    let (nodes, stop) = (Arc::clone(nodes), Arc::clone(stop));
                    let tls = self.tls.clone();
                    let serve = move || {
                        let channel = channel(socket, tls);
                        let served =
                            channel.and_then(|channel| serve(channel, &peer, &nodes, &stop));
                        if let Err(error) = served {
                            warn!(peer, "cannot serve a secondary: {error}");
                        }
                    };
                    match super::spawn("link", serve) {
                        Ok(thread) => threads.push(thread),
                        Err(error) => warn!("cannot start the thread of a link: {error}"),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN);
                    if let Err(error) = bell.wait_with(socket) {
                        return warn!("cannot wait for secondaries: {error}");
                    }
                }
                Err(error) => {
                    warn!("cannot accept a secondary: {error}");
                    // So that it is not tried again at once.
                    let _waited = bell.wait(Some(ACCEPT_PAUSE));
                }
            }
        }
        for thread in threads {
            if thread.join().is_err() {
                warn!("the thread of a link has panicked");
            }
        }
    }
}

/// Each is a thread. Far more than secondaries that anybody has.
const LINKS_MAX: usize = 256;

/// A pause after what may go on failing, such as a want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

fn channel(socket: Socket, tls: Option<Arc<ServerConfig>>) -> io::Result<Channel> {
    let tls = tls.map(ServerConnection::new).transpose().map_err(io::Error::other)?;
    Channel::new(socket, tls.map(Into::into), SMALL_FRAME_BYTES_MAX)
}

fn serve(channel: Channel, peer: &str, nodes: &Nodes, stop: &Stop) -> io::Result<()> {
    let bell = Bell::new()?;
    stop.tell(&bell);
    let settings =
        Settings { node: super::host_name(), software: software(), alive_interval: ALIVE_INTERVAL };
    let began = Instant::now();
    let link = Link::new(settings, now(began));
    let mut serving = Serving { peer, nodes, bell, began, link, channel, followed: None };
    if let Err(error) = serving.run(stop) {
        if serving.followed.is_some() {
            info!(peer, "the link to a secondary has ended: {error}");
        } else {
            // A health check, or whoever looks what is here.
            debug!(peer, "a connection to the port for secondaries has ended: {error}");
        }
    }
    Ok(())
}

fn now(began: Instant) -> Now {
    Now { monotonic: began.elapsed(), unix: SystemClock.now() }
}

struct Serving<'a> {
    peer: &'a str,
    nodes: &'a Nodes,
    bell: Arc<Bell>,
    began: Instant,
    link: Link,
    channel: Channel,
    followed: Option<Followed>,
}

/// The storage that the secondary follows.
struct Followed {
    node: Arc<Node>,
    /// Of the node, so many were told.
    changes: usize,
    /// `None`: what comes next is packed.
    feed: Option<Feed>,
    blob: Option<(Oid, Tid, BlobFile)>,
    /// If commits wait for secondaries.
    membership: Option<Membership>,
    /// In the figures.
    number: u64,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.node.figures().leave(self.number);
    }
}

impl Serving<'_> {
    fn run(&mut self, stop: &Stop) -> io::Result<()> {
        let mut is_told = false;
        loop {
            while let Some(action) = self.link.poll(self.channel.unsent(), now(self.began)) {
                if let Action::End(text) = action {
                    info!(peer = self.peer, "the link to a secondary ends: {text}");
                    return self.say_goodbye();
                }
                self.act(action)?;
            }
            self.channel.flush()?;
            let patience = self.link.deadline().saturating_sub(self.began.elapsed());
            self.channel.wait(&self.bell, true, patience)?;
            if self.bell.take() {
                self.look();
            }
            if stop.is_stopping() && !std::mem::replace(&mut is_told, true) {
                let refusal = Refusal::new(Reason::CannotServe, "this server stops", None);
                self.link.handle(Event::Refuse(refusal), now(self.began));
                continue;
            }
            if self.channel.receive()? {
                self.link.handle(Event::Received, now(self.began));
            }
            self.take_messages();
        }
    }

    fn take_messages(&mut self) {
        loop {
            let event = match self.channel.message() {
                Ok(None) => return,
                Ok(Some(message)) => Event::Message(message),
                Err(error) => Event::Malformed(error.to_string()),
            };
            let is_over = matches!(event, Event::Malformed(_));
            self.link.handle(event, now(self.began));
            if is_over {
                return;
            }
        }
    }

    /// What was said last is sent, if that is possible soon.
    fn say_goodbye(&mut self) -> io::Result<()> {
        let until = Instant::now() + GOODBYE_PATIENCE;
        self.channel.flush()?;
        while self.channel.unsent() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.channel.wait(&self.bell, false, left)?;
            self.channel.flush()?;
        }
        Ok(())
    }

    /// Tells the link what is new about the storage.
    fn look(&mut self) {
        let Some(followed) = &mut self.followed else { return };
        let changes = followed.node.changes(followed.changes);
        followed.changes += changes.len();
        for change in changes {
            let event = match change {
                Change::EpochStarts(start) => Event::EpochStarts(start),
                Change::Ends(refusal) => Event::Refuse(refusal),
            };
            self.link.handle(event, now(self.began));
        }
        let head = Head { position: followed.node.position(), ..Head::default() };
        self.link.handle(Event::Appended(head), now(self.began));
    }

    fn act(&mut self, action: Action) -> io::Result<()> {
        let event = match action {
            Action::Send(message) => {
                self.channel.send(&message)?;
                return self.channel.flush();
            }
            Action::Find { storage, tid } => self.find(&storage, tid),
            Action::Next => self.next(),
            Action::ReadBlob { oid, tid, offset } => self.read_blob(oid, tid, offset),
            Action::Heard(epoch) => {
                if let Some(followed) = &self.followed {
                    followed.node.hear(epoch).map_err(io::Error::other)?;
                }
                return Ok(());
            }
            Action::Joined { node, tid } => {
                info!(peer = self.peer, node, "a secondary follows, after {tid}");
                if let Some(followed) = &mut self.followed {
                    let gate = followed.node.gate.as_ref();
                    followed.membership = gate.map(|gate| gate.join(&node, tid));
                    followed.number = followed.node.figures().join(node, tid);
                }
                return Ok(());
            }
            Action::Acked(tid) => {
                if let Some(followed) = &self.followed {
                    followed.membership.iter().for_each(|membership| membership.ack(tid));
                    followed.node.figures().ack(followed.number, tid);
                }
                return Ok(());
            }
            // The feed was opened by `find`, so that it is packed no further than was said.
            Action::Feed { .. } | Action::End(_) => return Ok(()),
        };
        self.link.handle(event, now(self.began));
        Ok(())
    }

    fn find(&mut self, storage: &str, tid: Tid) -> Event {
        let Some(node) = self.nodes.get(storage) else {
            let text = format!("there is no storage '{storage}' to follow here");
            return Event::NotFound(Refusal::new(Reason::UnknownStorage, text, None));
        };
        let changes = node.listen(&self.bell);
        let watcher = Arc::clone(&self.bell) as Arc<dyn Wake>;
        node.replica.watch(&watcher);
        let standing = node.standing();
        let read = || -> Result<_, protocol::Failure> {
            let feed = node.replica.feed(tid)?;
            let digest = if tid == Tid::ZERO { None } else { node.replica.digest_at(tid)? };
            Ok((feed, digest.map(|digest| digest.0)))
        };
        let (feed, digest) = match read() {
            Ok(read) => read,
            Err(failure) => {
                let text = format!("the storage cannot be read: {failure}");
                return Event::NotFound(Refusal::new(Reason::CannotServe, text, None));
            }
        };
        let packed_to = feed.as_ref().map_or_else(|| node.replica.packed_to(), Feed::packed_to);
        let found = Found { standing, position: node.position(), packed_to, digest };
        let node = Arc::clone(node);
        let (blob, membership, number) = (None, None, 0);
        self.followed = Some(Followed { node, changes, feed, blob, membership, number });
        Event::Found(found)
    }

    fn next(&mut self) -> Event {
        let feed = self.followed.as_mut().and_then(|followed| followed.feed.as_mut());
        Event::Fed(match feed.map(Feed::next) {
            None | Some(Ok(Step::Packed)) => Fed::Packed,
            Some(Ok(Step::AtEnd)) => Fed::AtEnd,
            Some(Ok(Step::Begin(head))) => Fed::Item(Item::Begin(head)),
            Some(Ok(Step::Record(record))) => Fed::Item(Item::Record(Record {
                oid: record.oid,
                data: record.data,
                origin: record.origin,
                has_blob: record.has_blob,
            })),
            Some(Ok(Step::End(digest))) => Fed::Item(Item::End { digest: digest.0 }),
            Some(Err(failure)) => Fed::Failed(failure.to_string()),
        })
    }

    fn read_blob(&mut self, oid: Oid, tid: Tid, offset: u64) -> Event {
        let Some(followed) = &mut self.followed else {
            return Event::BlobFailed("nothing is followed".to_owned());
        };
        let mut read = || -> Result<Option<Bytes>, String> {
            let known = followed.blob.take().filter(|(of, at, _)| (*of, *at) == (oid, tid));
            let opened = match known {
                Some((_, _, file)) => Some(file),
                None => followed.node.replica.blob(oid, tid).map_err(|error| error.to_string())?,
            };
            let Some(file) = opened else { return Ok(None) };
            let left = file.len().saturating_sub(offset).min(BLOB_PART_BYTES as u64);
            let part = file.read(offset, left as usize)?;
            followed.blob = Some((oid, tid, file));
            Ok(Some(part))
        };
        match read() {
            Ok(Some(part)) => Event::BlobRead(part),
            Ok(None) => Event::BlobGone,
            Err(text) => {
                warn!(peer = self.peer, "a secondary cannot be given a blob: {text}");
                Event::BlobFailed(text)
            }
        }
    }
}

/// How long the last message may take.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);
