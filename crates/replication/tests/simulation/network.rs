//! Connections: bytes stay in order, take their time, and stop anywhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// A node's number.
pub(crate) type NodeId = usize;
/// A connection's number.
pub(crate) type ConnId = u64;

/// All connections, and which nodes cannot reach each other.
#[derive(Debug, Default)]
pub(crate) struct Network {
    conns: BTreeMap<ConnId, Conn>,
    next: ConnId,
    cut: BTreeSet<(NodeId, NodeId)>,
}

#[derive(Debug)]
struct Conn {
    client: NodeId,
    server: NodeId,
    is_accepted: bool,
    /// From the client, and from the server.
    pipes: [Pipe; 2],
}

#[derive(Debug, Default)]
struct Pipe {
    /// Each with the time when it arrives.
    pieces: VecDeque<(Duration, Vec<u8>)>,
    is_closed: bool,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Server,
}

impl Network {
    pub(crate) fn connect(&mut self, client: NodeId, server: NodeId) -> ConnId {
        self.next += 1;
        let pipes = Default::default();
        self.conns.insert(self.next, Conn { client, server, is_accepted: false, pipes });
        self.next
    }

    /// Connections to `server` that it has not seen yet.
    pub(crate) fn accept(&mut self, server: NodeId) -> Vec<ConnId> {
        let cut = &self.cut;
        let fresh = self.conns.iter_mut().filter(|(_, conn)| {
            conn.server == server && !conn.is_accepted && !is_cut(cut, conn.client, server)
        });
        fresh
            .map(|(id, conn)| {
                conn.is_accepted = true;
                *id
            })
            .collect()
    }

    pub(crate) fn send(&mut self, id: ConnId, from: End, bytes: Vec<u8>, at: Duration) {
        if let Some(conn) = self.conns.get_mut(&id) {
            let pipe = &mut conn.pipes[from as usize];
            // Nothing overtakes.
            let at = pipe.pieces.back().map_or(at, |(before, _)| at.max(*before));
            if !pipe.is_closed {
                pipe.pieces.push_back((at, bytes));
            }
        }
    }

    /// Bytes that were sent from that end and have not arrived.
    pub(crate) fn unsent(&self, id: ConnId, from: End) -> usize {
        let pieces = self.conns.get(&id).map(|conn| &conn.pipes[from as usize].pieces);
        pieces.map_or(0, |pieces| pieces.iter().map(|(_, bytes)| bytes.len()).sum())
    }

    /// The next bytes for that end, `None`: the connection has ended.
    pub(crate) fn receive(&mut self, id: ConnId, to: End, now: Duration) -> Option<Vec<u8>> {
        let conn = self.conns.get_mut(&id)?;
        if is_cut(&self.cut, conn.client, conn.server) {
            return Some(Vec::new());
        }
        let pipe = &mut conn.pipes[1 - to as usize];
        if pipe.pieces.front().is_some_and(|(at, _)| *at <= now) {
            return pipe.pieces.pop_front().map(|(_, bytes)| bytes);
        }
        (!pipe.is_closed || !pipe.pieces.is_empty()).then(Vec::new)
    }

    /// One end closes: the other one gets what is under way.
    pub(crate) fn close(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.pipes.iter_mut().for_each(|pipe| pipe.is_closed = true);
        }
    }

    /// The connection is lost: of what is under way, some bytes still arrive.
    pub(crate) fn lose(&mut self, id: ConnId, rng: &mut StdRng) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        for pipe in &mut conn.pipes {
            pipe.is_closed = true;
            pipe.pieces.truncate(rng.random_range(0..=pipe.pieces.len()));
            if let Some((_, bytes)) = pipe.pieces.back_mut() {
                bytes.truncate(rng.random_range(0..=bytes.len()));
            }
        }
    }

    /// A node has stopped.
    pub(crate) fn lose_all_of(&mut self, node: NodeId, rng: &mut StdRng) {
        let of_node = |conn: &Conn| conn.client == node || conn.server == node;
        let ids: Vec<ConnId> =
            self.conns.iter().filter(|(_, conn)| of_node(conn)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.lose(id, rng));
    }

    /// Some connection that is open.
    pub(crate) fn any(&self, rng: &mut impl Rng) -> Option<ConnId> {
        let open: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.pipes.iter().all(|pipe| !pipe.is_closed))
            .map(|(id, _)| *id)
            .collect();
        open.get(rng.random_range(0..open.len().max(1))).copied()
    }

    /// Forgets connections that both ends have left.
    pub(crate) fn forget(&mut self, in_use: impl Fn(ConnId) -> bool) {
        self.conns.retain(|id, conn| in_use(*id) || !conn.is_accepted);
    }

    pub(crate) fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cut.insert((a.min(b), a.max(b)));
    }

    pub(crate) fn heal_all(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn is_cut(&self, a: NodeId, b: NodeId) -> bool {
        is_cut(&self.cut, a, b)
    }
}

fn is_cut(cut: &BTreeSet<(NodeId, NodeId)>, a: NodeId, b: NodeId) -> bool {
    cut.contains(&(a.min(b), a.max(b)))
}
