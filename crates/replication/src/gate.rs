//! Which commits may be answered, where that waits for secondaries.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::Tid;

/// Holds answers to commits back until enough secondaries have synced them.
///
/// A transaction is approved when it is durable here and [`Self::ack`]ed by so many nodes. A node counts once,
/// whatever links it has. What was approved stays approved. After waiting for longer than its
/// patience a gate falls back: it approves all that is durable here, until the secondaries have
/// caught up. A closed gate approves nothing more.
#[derive(Debug)]
pub struct Gate {
    replicas: usize,
    patience: Option<Duration>,
    nodes: BTreeMap<String, Node>,
    /// The last durable transaction.
    durable: Tid,
    approved: Tid,
    mode: Mode,
    news: VecDeque<News>,
}

/// A link to a secondary; the gate's owner numbers them.
pub type LinkNumber = u64;

/// What an operator should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Commits are answered without the secondaries from now on.
    FellBack {
        /// The transaction that had waited for too long.
        tid: Tid,
        /// How many nodes are there, of those that are needed.
        nodes: usize,
    },
    /// They wait for the secondaries again.
    Strict,
}

#[derive(Debug)]
struct Node {
    link: LinkNumber,
    acked: Tid,
}

#[derive(Debug)]
enum Mode {
    /// Transactions wait; the oldest first, each with the time since when.
    Strict(VecDeque<(Tid, Duration)>),
    /// Nothing waits.
    FallenBack {
        /// Where the secondaries have to be soon, to be relied on again.
        mark: Tid,
        since: Duration,
    },
    Closed,
}

impl Gate {
    /// Waits for `replicas` nodes, for `patience` at most (`None`: for ever). All up to `durable` is
    /// here, and was answered.
    pub fn new(replicas: usize, patience: Option<Duration>, durable: Tid) -> Self {
        Self {
            replicas,
            patience,
            nodes: BTreeMap::new(),
            durable,
            approved: durable,
            mode: Mode::Strict(VecDeque::new()),
            news: VecDeque::new(),
        }
    }

    /// A secondary named `node` has all up to `acked`, by its new link.
    pub fn join(&mut self, link: LinkNumber, node: &str, acked: Tid, now: Duration) {
        self.nodes.insert(node.to_owned(), Node { link, acked });
        self.raise(now);
    }

    /// The secondary of a link has synced all up to `tid`. An old link of a node that has a newer one
    /// says nothing any more.
    pub fn ack(&mut self, link: LinkNumber, tid: Tid, now: Duration) {
        if let Some(node) = self.nodes.values_mut().find(|node| node.link == link) {
            node.acked = node.acked.max(tid);
            self.raise(now);
        }
    }

    /// A link has ended.
    pub fn leave(&mut self, link: LinkNumber) {
        self.nodes.retain(|_, node| node.link != link);
    }

    /// All up to `tid` is durable here.
    pub fn durable(&mut self, tid: Tid, now: Duration) {
        if tid <= self.durable {
            return;
        }
        self.durable = tid;
        if let Mode::Strict(waiting) = &mut self.mode {
            waiting.push_back((tid, now));
        }
        self.raise(now);
    }

    /// Nothing more is approved: another primary has taken over.
    pub fn close(&mut self) {
        self.mode = Mode::Closed;
    }

    /// Up to where commits may be answered and published.
    pub fn approved(&mut self, now: Duration) -> Tid {
        if let (Mode::Strict(waiting), Some(patience)) = (&self.mode, self.patience)
            && let Some(&(tid, since)) = waiting.front()
            && now.saturating_sub(since) >= patience
        {
            self.news.push_back(News::FellBack { tid, nodes: self.nodes.len() });
            self.mode = Mode::FallenBack { mark: self.durable, since: now };
            self.raise(now);
        }
        self.approved
    }

    /// When [`Self::approved`] changes by time alone; `None`: never.
    pub fn deadline(&self) -> Option<Duration> {
        match &self.mode {
            Mode::Strict(waiting) => waiting.front()?.1.checked_add(self.patience?),
            Mode::FallenBack { .. } | Mode::Closed => None,
        }
    }

    /// The next thing that an operator should be told.
    pub fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// The secondaries, and up to where each has synced, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Tid)> {
        self.nodes.iter().map(|(name, node)| (name.as_str(), node.acked))
    }

    fn raise(&mut self, now: Duration) {
        let synced = self.synced();
        let approved = match &mut self.mode {
            Mode::Closed => return,
            Mode::Strict(waiting) => {
                while waiting.pop_front_if(|(tid, _)| *tid <= synced).is_some() {}
                synced
            }
            Mode::FallenBack { mark, since } => {
                if synced >= *mark {
                    let is_close = now.saturating_sub(*since) <= CATCH_UP;
                    (*mark, *since) = (self.durable, now);
                    if is_close || synced == self.durable {
                        self.become_strict(synced, now);
                    }
                }
                self.durable
            }
        };
        self.approved = self.approved.max(approved);
    }

    /// What was approved meanwhile does not wait any more.
    fn become_strict(&mut self, synced: Tid, now: Duration) {
        let mut waiting = VecDeque::new();
        if synced < self.durable {
            waiting.push_back((self.durable, now));
        }
        self.mode = Mode::Strict(waiting);
        self.news.push_back(News::Strict);
    }

    /// Up to where enough nodes have synced.
    fn synced(&self) -> Tid {
        let Some(others) = self.replicas.checked_sub(1) else { return self.durable };
        let mut acked: Vec<Tid> = self.nodes.values().map(|node| node.acked).collect();
        acked.sort_unstable_by(|a, b| b.cmp(a));
        acked.get(others).map_or(Tid::ZERO, |&tid| tid.min(self.durable))
    }
}

/// Secondaries that need no longer than this for what is committed meanwhile are relied on again.
const CATCH_UP: Duration = Duration::from_secs(1);
