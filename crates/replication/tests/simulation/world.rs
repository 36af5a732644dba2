//! Nodes, what happens to them, and the operator who repairs them.

use std::time::Duration;

use protocol::Tid;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use replication::{Role, Standing};

use crate::checker::Checker;
use crate::network::{Network, NodeId};
use crate::node::{Around, Crashed, Node};
use crate::store::Model;

/// All of one run.
pub(crate) struct World {
    rng: StdRng,
    now: Duration,
    net: Network,
    nodes: Vec<Node>,
    /// Whom the operator wants to be the primary.
    primary: NodeId,
    /// Former primaries that do not follow yet: others do not wait for them.
    is_out: Vec<bool>,
    replicas: usize,
    checker: Checker,
    /// How often a secondary has taken over, and how often transactions were set aside.
    pub(crate) takeovers: usize,
    pub(crate) cuts: usize,
    contents: u64,
    /// Whether to print what happens.
    tells: bool,
}

impl World {
    pub(crate) fn new(seed: u64, tells: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let replicas = rng.random_range(0..=2);
        let nodes = (0..NODES).map(|id| {
            let standing = if id == 0 { Standing::found([7; 16]) } else { Standing::follow() };
            Node::new(id, Box::new(Model::new(&standing)), replicas)
        });
        let nodes = nodes.collect();
        let mut world = Self {
            rng,
            now: Duration::from_secs(1),
            net: Network::default(),
            nodes,
            primary: 0,
            is_out: vec![false; NODES],
            replicas,
            checker: Checker::default(),
            takeovers: 0,
            cuts: 0,
            contents: 0,
            tells,
        };
        for id in 1..NODES {
            world.with(id, |node, around| node.follow(0, around));
        }
        world
    }

    pub(crate) fn answers(&self) -> usize {
        self.checker.answers()
    }

    /// A while with everything that can go wrong.
    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.pass(true)?;
        if self.rng.random_bool(0.1) {
            self.something_happens()?;
        }
        for id in 0..NODES {
            if self.runs(id) && self.rng.random_bool(0.3) {
                self.contents += 1;
                let content = self.contents;
                self.nodes[id].commit(self.now, content);
            }
        }
        Ok(())
    }

    /// Everything is repaired; then all have to have the same in the end.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.net.heal_all();
        for id in 0..NODES {
            self.nodes[id].is_paused = false;
            self.restart(id);
        }
        let primary = self.primary;
        for id in (0..NODES).filter(|id| *id != primary) {
            self.return_out(id);
            self.with(id, |node, around| node.follow(primary, around));
        }
        for _ in 0..SETTLE_STEPS {
            self.pass(false)?;
            (0..NODES).for_each(|id| self.repair(id));
            let wanted = self.nodes[self.primary].store.position();
            let history = self.nodes[self.primary].standing.history();
            if self
                .nodes
                .iter()
                .all(|node| node.store.position() == wanted && node.standing.history() == history)
            {
                return self.judge(self.primary);
            }
        }
        let state = |node: &Node| {
            (node.standing.role(), node.store.position(), node.upstream, node.refused.clone())
        };
        let states: Vec<_> = self.nodes.iter().map(state).collect();
        Err(format!("the nodes do not come together under {}: {states:#?}", self.primary))
    }

    /// Some time passes, and every node that can runs.
    fn pass(&mut self, may_crash: bool) -> Result<(), String> {
        let longest = if self.rng.random_bool(0.02) { 3000 } else { 40 };
        self.now += Duration::from_millis(self.rng.random_range(0..longest));
        let mut ids: Vec<NodeId> = (0..NODES).filter(|id| self.runs(*id)).collect();
        ids.shuffle(&mut self.rng);
        for id in ids {
            let answers = self.checker.answers();
            let run = self.around(id, may_crash, |node, around| node.run(around));
            if let Err(Crashed) = run {
                self.crash(id);
            }
            // What a former primary still answers must be what the present one has.
            if self.checker.answers() > answers && id != self.primary {
                self.judge(self.primary)?;
            }
            self.checker.look(id, &self.nodes[id])?;
        }
        let nodes = &self.nodes;
        self.net.forget(|conn| nodes.iter().any(|node| node.uses(conn)));
        Ok(())
    }

    fn something_happens(&mut self) -> Result<(), String> {
        let (a, b) = (self.rng.random_range(0..NODES), self.rng.random_range(0..NODES));
        match self.rng.random_range(0..12) {
            0 => self.crash(a),
            1 => (0..NODES).for_each(|id| self.restart(id)),
            2 => self.nodes[a].is_paused = true,
            3 => self.nodes.iter_mut().for_each(|node| node.is_paused = false),
            4 if a != b => self.net.cut(a, b),
            4 | 5 => self.net.heal_all(),
            6 => {
                if let Some(conn) = self.net.any(&mut self.rng) {
                    self.net.lose(conn, &mut self.rng);
                }
            }
            7 => self.nodes[a].clock = Duration::from_millis(self.rng.random_range(0..20_000)),
            8 => self.change_upstream(a, b),
            9 => self.take_over()?,
            _ if self.runs(a) => {
                self.return_out(a);
                self.repair(a);
            }
            _ => {}
        }
        Ok(())
    }

    /// A secondary follows another node: the primary, another secondary, or a former primary, if it
    /// knows better than that one.
    fn change_upstream(&mut self, id: NodeId, upstream: NodeId) {
        let current = self.nodes[self.primary].standing.history().last();
        let knows = self.nodes[id].standing.highest() >= current;
        if id != upstream
            && self.runs(id)
            && self.nodes[id].standing.role() == Role::Secondary
            && (!self.is_out[upstream] || knows)
        {
            self.tell(|| format!("{id} is to follow {upstream}"));
            self.with(id, |node, around| node.follow(upstream, around));
        }
    }

    /// The primary fails, or is taken for failed; the operator makes the most advanced of the other
    /// nodes the primary, if all but this one are there, and tells all of them. Where nothing may be
    /// lost, that node must have got into the epoch of the old primary.
    fn take_over(&mut self) -> Result<(), String> {
        let old = self.primary;
        let (rest, absent): (Vec<NodeId>, Vec<NodeId>) =
            (0..NODES).filter(|id| *id != old && !self.is_out[*id]).partition(|id| self.runs(*id));
        let advance = |id: &NodeId| {
            let node = &self.nodes[*id];
            (node.standing.history().last(), node.store.position().tid)
        };
        let Some(best) = rest.iter().copied().max_by_key(advance).filter(|_| absent.is_empty())
        else {
            return Ok(());
        };
        let insists = self.replicas == 0;
        let before = self.nodes[old].standing.history().last().expect("a primary has one");
        let promoted = self.with(best, |node, around| {
            node.hear(before, around);
            node.promote(insists, around)
        });
        let Some(epoch) = promoted else { return Ok(()) };
        match self.rng.random_range(0..4) {
            0 => self.crash(old),
            1 => self.nodes[old].is_paused = true,
            2 => (0..NODES).for_each(|id| self.net.cut(old, id)),
            _ => {}
        }
        self.is_out[old] = true;
        self.primary = best;
        self.takeovers += 1;
        self.tell(|| format!("{best} takes over from {old} with {epoch}"));
        for id in rest.into_iter().filter(|id| *id != best) {
            // An operator may forget that a server still follows the old primary.
            let upstream = if self.rng.random_bool(0.3) { old } else { best };
            self.with(id, |node, around| {
                node.hear(epoch, around);
                node.follow(upstream, around);
            });
        }
        self.judge(best)
    }

    /// What was answered is still there, if secondaries had to have it.
    fn judge(&self, primary: NodeId) -> Result<(), String> {
        if self.replicas == 0 {
            return Ok(());
        }
        self.checker.has_all_answered(&self.nodes[primary]).map_err(|lost| {
            format!("{} replicas, node {primary} is primary: {lost}", self.replicas)
        })
    }

    /// A former primary follows the present one; who asks it to has to know which epoch that one has.
    fn return_out(&mut self, id: NodeId) {
        if std::mem::take(&mut self.is_out[id]) {
            let (last, primary) = (self.nodes[id].store.position().tid, self.primary);
            let epoch = self.nodes[primary].standing.history().last();
            self.tell(|| format!("{id}, which ends at {last}, is to follow {primary}"));
            self.with(id, |node, around| {
                node.hear(epoch.expect("a primary has one"), around);
                node.rejoin(last, primary, around);
            });
        }
    }

    /// What a secondary has that its primary lacks is set aside.
    fn repair(&mut self, id: NodeId) {
        if let Some(refusal) = self.nodes[id].refused.clone() {
            self.cuts += 1;
            let common = refusal.common.map_or(Tid::ZERO, |common| common.tid);
            let primary = self.primary;
            self.with(id, |node, around| node.rejoin(common, primary, around));
            self.tell(|| format!("{id} rejoins {primary} with all up to {common}: {refusal}"));
        }
    }

    fn crash(&mut self, id: NodeId) {
        self.tell(|| format!("{id} crashes"));
        self.nodes[id].crash(&mut self.net, &mut self.rng);
    }

    fn restart(&mut self, id: NodeId) {
        if !self.nodes[id].is_up {
            self.tell(|| format!("{id} starts"));
            self.nodes[id].start(self.now);
        }
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            let state = |node: &Node| (node.store.position().tid.0, node.standing.role());
            let states: Vec<_> = self.nodes.iter().map(state).collect();
            println!("{:?}: {}; {states:x?}", self.now, what());
        }
    }

    fn runs(&self, id: NodeId) -> bool {
        self.nodes[id].is_up && !self.nodes[id].is_paused
    }

    fn with<T>(&mut self, id: NodeId, work: impl FnOnce(&mut Node, &mut Around<'_>) -> T) -> T {
        self.around(id, false, work)
    }

    fn around<T>(
        &mut self,
        id: NodeId,
        may_crash: bool,
        work: impl FnOnce(&mut Node, &mut Around<'_>) -> T,
    ) -> T {
        let is_up: Vec<bool> = self.nodes.iter().map(|node| node.is_up).collect();
        let mut around = Around {
            now: self.now,
            net: &mut self.net,
            rng: &mut self.rng,
            is_up: &is_up,
            answered: Vec::new(),
            may_crash,
        };
        let done = work(&mut self.nodes[id], &mut around);
        self.checker.answered(around.answered);
        done
    }
}

const NODES: usize = 4;
const SETTLE_STEPS: usize = 3000;
