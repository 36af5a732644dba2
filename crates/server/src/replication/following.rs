//! A thread that makes a storage follow its primary, for as long as the server runs.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use protocol::{Failure, Oid, Tid, TransactionRecord};
use replication::limits::ALIVE_INTERVAL;
use replication::secondary::{Action, Ended, Event, NotApplied, Purpose, Settings, Stopped};
use replication::{Follower, Item, Record, Refusal, ToSecondary};
use storage::Upload;
use storage::replica::{Digest, Incoming};
use tracing::{error, info, warn};

use super::channel::{Bell, Channel};
use super::node::{Node, position};
use super::peer::{Peer, Source};
use super::{Stop, software};

/// Follows until the server stops. `limits`: the longest message, in bytes; and whether blobs come
/// along.
pub(super) fn run(node: &Arc<Node>, source: &Source, limits: (usize, bool), stop: &Stop) {
    let peer = &source.peer;
    let bell = match Bell::new() {
        Ok(bell) => bell,
        Err(error) => return error!("cannot follow {peer}: {error}"),
    };
    stop.tell(&bell);
    let (message_bytes_max, replicates_blobs) = limits;
    let wants_blobs = replicates_blobs && node.replica.has_blobs();
    let settings = Settings {
        purpose: Purpose::Follow,
        storage: node.name.clone(),
        node: node.node.clone(),
        software: software(),
        wants_blobs,
        alive_interval: ALIVE_INTERVAL,
    };
    let began = Instant::now();
    let standing = node.standing();
    let follower = Follower::new(settings, &standing, node.position(), began.elapsed());
    let following = Following {
        node,
        source,
        peer,
        message_bytes_max,
        bell,
        began,
        follower,
        channel: None,
        incoming: None,
        tid: Tid::ZERO,
        upload: None,
    };
    following.run(stop);
}

struct Following<'a> {
    node: &'a Arc<Node>,
    source: &'a Source,
    peer: &'a Peer,
    message_bytes_max: usize,
    bell: Arc<Bell>,
    began: Instant,
    follower: Follower,
    channel: Option<Channel>,
    incoming: Option<Incoming>,
    /// Of the transaction that is coming.
    tid: Tid,
    upload: Option<(Oid, Upload)>,
}

impl Following<'_> {
    fn run(mut self, stop: &Stop) {
        let mut is_told = false;
        loop {
            while let Some(action) = self.follower.poll(self.began.elapsed()) {
                if let Action::Close(ended) = action {
                    let is_over = matches!(ended, Ended::Stopped(_));
                    self.close(&ended);
                    if is_over {
                        return;
                    }
                    continue;
                }
                if let Some(event) = self.act(action) {
                    self.follower.handle(event, self.began.elapsed());
                }
            }
            let (follows, lag) = (self.follower.follows(), self.follower.lag());
            self.node.figures().source.get_or_insert_default().note(follows, lag);
            if let Err(error) = self.wait() {
                self.lose(&error);
            }
            self.bell.take();
            if stop.is_stopping() {
                if self.channel.is_none() || std::mem::replace(&mut is_told, true) {
                    return;
                }
                let text = "this server stops";
                let refusal = Refusal::new(replication::Reason::CannotServe, text, None);
                self.follower.handle(Event::Refuse(refusal), self.began.elapsed());
            }
        }
    }

    /// Moves what can be moved, waits for more, and takes what has come.
    fn wait(&mut self) -> io::Result<()> {
        let deadline = self.follower.deadline();
        let patience = deadline.map(|deadline| deadline.saturating_sub(self.began.elapsed()));
        let Some(channel) = &mut self.channel else { return self.bell.wait(patience) };
        channel.flush()?;
        let wants_input = self.follower.wants_input();
        channel.wait(&self.bell, wants_input, patience.unwrap_or(ALIVE_INTERVAL))?;
        if !wants_input || !channel.receive()? {
            return Ok(());
        }
        let now = self.began.elapsed();
        self.follower.handle(Event::Received, now);
        loop {
            match channel.message() {
                Ok(None) => return Ok(()),
                Ok(Some(message)) => {
                    if let ToSecondary::Welcome(welcome) = &message {
                        let (node, software) = (&welcome.node, &welcome.software);
                        info!(node, software, "{} answers", self.peer);
                    }
                    self.follower.handle(Event::Message(message), now);
                }
                Err(error) => {
                    self.follower.handle(Event::Malformed(error.to_string()), now);
                    return Ok(());
                }
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Connect => Some(match self.connect() {
                Ok(channel) => {
                    self.channel = Some(channel);
                    Event::Connected
                }
                Err(error) => {
                    warn!("cannot connect to {}: {error}", self.peer);
                    disconnected()
                }
            }),
            Action::Send(message) => {
                let channel = self.channel.as_mut()?;
                if let Err(error) = channel.send(&message).and_then(|()| channel.flush()) {
                    self.lose(&error);
                }
                None
            }
            Action::Receive { packed_to } => {
                self.receive(packed_to).err().map(|failure| failed(&failure))
            }
            Action::Take(items) => self.take(items),
            Action::BlobStart(oid) => match self.node.replica.upload() {
                Ok(upload) => {
                    self.upload = Some((oid, upload));
                    None
                }
                Err(failure) => Some(failed(&failure)),
            },
            Action::BlobPart(part) => {
                if let Some((_, upload)) = &self.upload {
                    upload.write_here(&part);
                }
                None
            }
            Action::BlobEnd => {
                let (oid, upload) = self.upload.take()?;
                let kept = self.incoming.as_mut()?.blob(oid, upload);
                kept.err().map(|failure| failed(&failure))
            }
            Action::Apply => Some(match self.incoming.as_mut()?.apply() {
                Ok(applied) => Event::Applied(position(applied)),
                Err(failure) => {
                    error!("cannot apply what {} has committed: {failure}", self.peer);
                    Event::NotApplied(NotApplied::Failed(failure.to_string()))
                }
            }),
            Action::Heard(epoch) => {
                let heard = self.node.hear(epoch);
                heard.err().map(|error| Event::Failed(format!("{error:#}")))
            }
            Action::Adopt { history, start } => Some(match self.node.adopt(history, start) {
                Ok(()) => Event::Adopted,
                Err(error) => Event::Failed(format!("{error:#}")),
            }),
            Action::Close(_) => None,
        }
    }

    fn connect(&self) -> io::Result<Channel> {
        let (socket, tls) = (self.peer.connect()?, self.source.connection()?);
        Channel::new(socket, tls, self.message_bytes_max)
    }

    /// Gets ready for what comes after what is here.
    fn receive(&mut self, packed_to: Tid) -> Result<(), Failure> {
        let replica = &self.node.replica;
        if packed_to > Tid::ZERO && replica.position().tid == Tid::ZERO {
            replica.begin_copy(packed_to)?;
        }
        self.upload = None;
        self.incoming = Some(replica.incoming());
        info!(name = self.node.name, "follows {}, after {}", self.peer, replica.position().tid);
        Ok(())
    }

    fn take(&mut self, items: Vec<Item>) -> Option<Event> {
        let incoming = self.incoming.as_mut()?;
        for item in items {
            let taken = match item {
                Item::Begin(head) => {
                    self.tid = head.tid;
                    incoming.begin(head)
                }
                Item::Record(Record { oid, data, origin, has_blob }) => incoming
                    .record(TransactionRecord { oid, tid: self.tid, data, origin, has_blob }),
                Item::End { digest } => match incoming.end(Digest(digest)) {
                    Ok(true) => Ok(()),
                    Ok(false) => {
                        let text = format!(
                            "transaction {} of the primary does not continue the history here",
                            self.tid
                        );
                        return Some(Event::NotApplied(NotApplied::Diverged(text)));
                    }
                    Err(failure) => Err(failure),
                },
            };
            if let Err(failure) = taken {
                error!("cannot take what {} has committed: {failure}", self.peer);
                return Some(failed(&failure));
            }
        }
        None
    }

    fn lose(&mut self, error: &io::Error) {
        if self.channel.take().is_some() {
            info!("the link to {} is lost: {error}", self.peer);
        }
        self.end_link();
    }

    fn close(&mut self, ended: &Ended) {
        if let Some(channel) = &mut self.channel {
            // What was said last; the peer may be gone.
            let _flushed = channel.flush();
        }
        match ended {
            Ended::Retries(why) => warn!("the link to {} ends: {why}", self.peer),
            Ended::Stopped(Stopped::Refused(refusal)) => {
                error!(name = self.node.name, "does not follow {} any more: {refusal}", self.peer);
            }
            Ended::Stopped(Stopped::Told | Stopped::Knows) => {}
        }
        self.channel = None;
        self.end_link();
    }

    fn end_link(&mut self) {
        (self.incoming, self.upload) = (None, None);
        self.follower.handle(disconnected(), self.began.elapsed());
    }
}

fn failed(failure: &Failure) -> Event {
    Event::Failed(failure.to_string())
}

fn disconnected() -> Event {
    // Without a random number, all come back at the same time.
    let random = super::random().map_or(0, u64::from_ne_bytes);
    Event::Disconnected { random }
}
