//! A server: the machines of its links over a store, as a shell with sockets would drive them.

mod following;
mod serving;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use protocol::Tid;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use replication::primary::{self, Now};
use replication::secondary::{self, Purpose};
use replication::{Epoch, Gate, Head, Message, Position, Refusal, Role, Standing, frame};

use crate::network::{ConnId, End, Network, NodeId};
use crate::store::Store;
use following::Following;
use serving::Serving;

/// What is around a node while it runs.
pub(crate) struct Around<'a> {
    pub(crate) now: Duration,
    pub(crate) net: &'a mut Network,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) is_up: &'a [bool],
    /// Commits that were answered.
    pub(crate) answered: Vec<Answer>,
    /// Whether the node may crash in the middle of something.
    pub(crate) may_crash: bool,
}

/// A commit that was answered, and in which epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) epoch: Epoch,
    pub(crate) at: Position,
}

/// It stopped in the middle of something.
#[derive(Debug)]
pub(crate) struct Crashed;

pub(crate) struct Node {
    id: NodeId,
    pub(crate) store: Box<dyn Store>,
    pub(crate) standing: Standing,
    pub(crate) is_up: bool,
    pub(crate) is_paused: bool,
    /// Added to the time for its wall clock.
    pub(crate) clock: Duration,
    pub(crate) upstream: Option<NodeId>,
    following: Option<Following>,
    /// Why it does not follow any more.
    pub(crate) refused: Option<Refusal>,
    links: BTreeMap<ConnId, Serving>,
    replicas: usize,
    gate: Gate,
    /// Commits that wait for their answer.
    pending: VecDeque<Tid>,
}

impl Node {
    pub(crate) fn new(id: NodeId, store: Box<dyn Store>, replicas: usize) -> Self {
        let (standing, durable) = (store.standing(), store.position().tid);
        Self {
            id,
            store,
            standing,
            is_up: true,
            is_paused: false,
            clock: Duration::from_secs(1000),
            upstream: None,
            following: None,
            refused: None,
            links: BTreeMap::new(),
            replicas,
            gate: Gate::new(replicas, None, durable),
            pending: VecDeque::new(),
        }
    }

    /// Whether it has to do with a connection.
    pub(crate) fn uses(&self, conn: ConnId) -> bool {
        self.links.contains_key(&conn)
            || self.following.as_ref().is_some_and(|following| following.conn == Some(conn))
    }

    pub(crate) fn crash(&mut self, net: &mut Network, rng: &mut StdRng) {
        self.is_up = false;
        self.is_paused = false;
        net.lose_all_of(self.id, rng);
        (self.following, self.refused) = (None, None);
        self.links.clear();
        self.pending.clear();
        self.store.crash();
    }

    pub(crate) fn start(&mut self, now: Duration) {
        self.is_up = true;
        self.standing = self.store.standing();
        self.gate = Gate::new(self.replicas, None, self.store.position().tid);
        if let (Role::Secondary, Some(upstream)) = (self.standing.role(), self.upstream) {
            self.connect_to(upstream, Purpose::Follow, now);
        }
    }

    /// Follows another server from now on.
    pub(crate) fn follow(&mut self, upstream: NodeId, around: &mut Around<'_>) {
        self.end_following(around);
        self.connect_to(upstream, Purpose::Follow, around.now);
    }

    /// Takes over, if it does not lack what another primary had, or with that.
    pub(crate) fn promote(&mut self, insists: bool, around: &mut Around<'_>) -> Option<Epoch> {
        let position = self.store.position();
        let mut unique = [0; 16];
        around.rng.fill_bytes(&mut unique);
        let epoch = self.standing.promote(position, unique, insists).ok()?;
        self.store.save(&self.standing);
        self.end_following(around);
        if let Some(upstream) = self.upstream {
            self.connect_to(upstream, Purpose::Tell, around.now);
        }
        self.gate = Gate::new(self.replicas, None, position.tid);
        let start = *self.standing.history().starts().last().unwrap();
        self.tell_links(around, || primary::Event::EpochStarts(start));
        Some(epoch)
    }

    /// Sets aside all after `common` and follows.
    pub(crate) fn rejoin(&mut self, common: Tid, upstream: NodeId, around: &mut Around<'_>) {
        self.gate.close();
        self.pending.clear();
        self.refuse_links(around, "it rejoins");
        self.standing.rejoin(common);
        self.store.save(&self.standing);
        self.store.cut_after(common);
        self.follow(upstream, around);
    }

    /// Commits, if it is a primary.
    pub(crate) fn commit(&mut self, now: Duration, content: u64) {
        if self.standing.may_write().is_ok() && self.pending.len() < PENDING_MAX {
            let clock = Tid(((now + self.clock).as_millis() / TID_MILLIS) as u64);
            self.pending.push_back(self.store.commit(clock, content));
        }
    }

    /// Takes notice of an epoch.
    pub(crate) fn hear(&mut self, epoch: Epoch, around: &mut Around<'_>) {
        if !self.standing.hear(epoch) {
            return;
        }
        self.store.save(&self.standing);
        if let Some(following) = &mut self.following {
            following.machine.handle(secondary::Event::Heard(epoch), around.now);
        }
        if matches!(self.standing.role(), Role::Fenced { .. }) {
            self.gate.close();
            self.pending.clear();
            self.refuse_links(around, "it is fenced");
        }
    }

    /// Does all that can be done now.
    pub(crate) fn run(&mut self, around: &mut Around<'_>) -> Result<(), Crashed> {
        self.accept(around);
        if around.rng.random_bool(0.7) {
            self.store.sync();
        }
        self.run_following(around)?;
        let head = Head { position: self.store.position(), ..Head::default() };
        self.tell_links(around, || primary::Event::Appended(head));
        let conns: Vec<ConnId> = self.links.keys().copied().collect();
        for conn in conns {
            self.run_link(conn, around);
        }
        self.answer(around);
        Ok(())
    }

    fn answer(&mut self, around: &mut Around<'_>) {
        self.gate.durable(self.store.position().tid, around.now);
        let approved = self.gate.approved(around.now);
        while let Some(tid) = self.pending.pop_front_if(|tid| *tid <= approved) {
            let Role::Primary { epoch } = self.standing.role() else {
                panic!("node {} answered a commit as {:?}", self.id, self.standing.role())
            };
            let digest = self.store.digest_at(tid).expect("what was answered is synced");
            around.answered.push(Answer { epoch, at: Position { tid, digest } });
        }
    }

    fn now(&self, around: &Around<'_>) -> Now {
        Now { monotonic: around.now, unix: around.now + self.clock }
    }
}

enum Heard {
    Bytes,
    Nothing,
    End,
}

/// A piece is a frame or a part of one: there is one frame more at most.
fn hears(around: &mut Around<'_>, conn: ConnId, to: End, input: &mut BytesMut) -> Heard {
    match around.net.receive(conn, to, around.now) {
        None => Heard::End,
        Some(bytes) if bytes.is_empty() => Heard::Nothing,
        Some(bytes) => {
            input.extend_from_slice(&bytes);
            Heard::Bytes
        }
    }
}

/// Sends in one piece or two.
fn send(around: &mut Around<'_>, conn: ConnId, from: End, message: &impl Message) {
    let mut bytes = Vec::new();
    assert!(frame::write(message, &mut bytes));
    let rest = bytes.split_off(around.rng.random_range(0..=bytes.len()));
    for piece in [bytes, rest].into_iter().filter(|piece| !piece.is_empty()) {
        let slow = if around.rng.random_bool(0.02) { 800 } else { 20 };
        let delay = Duration::from_millis(around.rng.random_range(0..slow));
        around.net.send(conn, from, piece, around.now + delay);
    }
}

const ALIVE_INTERVAL: Duration = Duration::from_millis(500);
const FRAME_BYTES_MAX: usize = 1 << 20;
const PENDING_MAX: usize = 10;
/// Coarse, so that two primaries often make the same tid.
const TID_MILLIS: u128 = 200;
