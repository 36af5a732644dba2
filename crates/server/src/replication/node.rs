//! A storage as all its links see it: what it is, durably, and who has to hear when that changes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, bail};
use replication::{Epoch, EpochStart, History, Position, Refusal, Role, Standing};
use storage::Storage;
use storage::replica::{self, Replica};
use tracing::{error, info, warn};

use super::channel::Bell;
use super::figures::Figures;
use super::sync::SyncGate;
use crate::options::Options;

/// See the module.
pub(super) struct Node {
    /// The storage's name, for clients and for secondaries.
    pub(super) name: String,
    /// This server's name for it, for people.
    pub(super) node: String,
    pub(super) replica: Replica,
    /// `None`: commits wait for nobody.
    pub(super) gate: Option<Arc<SyncGate>>,
    figures: Mutex<Figures>,
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    /// What has changed since the start, in order.
    changes: Vec<Change>,
    bells: Vec<Weak<Bell>>,
}

/// What links to secondaries have to be told.
#[derive(Clone, Debug)]
pub(super) enum Change {
    EpochStarts(EpochStart),
    Ends(Refusal),
}

impl Node {
    /// Finds out what a storage is, and lets it be that; `None`: it has no part in replication.
    pub(super) fn open(
        name: &str,
        storage: &Arc<dyn Storage>,
        follows: bool,
        options: &Options,
    ) -> anyhow::Result<Option<Self>> {
        let serves = options.replicate_to.is_some();
        let Some(replica) = storage.replica() else {
            if follows || serves {
                bail!("{} cannot be replicated", storage.name());
            }
            return Ok(None);
        };
        let note = replica.note().context("cannot read what it is in replication")?;
        let known = note.map(|note| parse(&note)).transpose()?;
        let standing = match known {
            Some(standing) => standing,
            None if follows => Standing::follow(),
            None if serves => Standing::found(super::random()?),
            None => return Ok(None),
        };
        let role = standing.role();
        if let Role::Primary { epoch } = role
            && follows
        {
            bail!(
                "it is the primary of epoch {epoch} and has committed what others may not have, so \
                 it follows nobody: give --replicate-from to a server with an empty storage, or \
                 with one that has followed before"
            );
        }
        let node = super::node_name(&storage.name());
        let replicas = usize::from(options.sync_replicas);
        let gate = (replicas > 0 && matches!(role, Role::Primary { .. })).then(|| {
            let patience = options.sync_replicas_timeout;
            let patience = patience.map(|seconds| Duration::from_secs(seconds.into()));
            SyncGate::new(name, replicas, patience, replica.position().tid)
        });
        if let Some(gate) = &gate {
            replica.set_approval(Arc::clone(gate) as Arc<dyn replica::Approve>);
        }
        let state = State { standing, changes: Vec::new(), bells: Vec::new() };
        let (state, figures) = (Mutex::new(state), Mutex::default());
        let node = Self { name: name.to_owned(), node, replica, gate, figures, state };
        // One that is to follow is a secondary for good when it has heard of its primary, and not
        // because of an option.
        if let Role::Primary { .. } = role {
            node.save(&node.lock().standing).context("cannot keep what it is in replication")?;
        }
        node.replica.set_role(role_of(role))?;
        Ok(Some(node))
    }

    /// Says in the log what it is.
    pub(super) fn introduce(&self, follows: bool) {
        let (name, tid) = (&self.name, self.position().tid);
        match self.standing().role() {
            Role::Primary { epoch } => info!(name, "is the primary of epoch {epoch}, up to {tid}"),
            Role::Secondary if follows => info!(name, "is a secondary, up to {tid}"),
            Role::Secondary => warn!(
                name,
                "is a secondary, and --replicate-from names nobody to follow: it is served as it is, \
                 up to {tid}, read-only"
            ),
            Role::Fenced { by } => warn!(
                name,
                "was a primary, and another server has taken over with epoch {by}: it is served as \
                 it is, up to {tid}, read-only"
            ),
        }
    }

    pub(super) fn standing(&self) -> Standing {
        self.lock().standing.clone()
    }

    pub(super) fn position(&self) -> Position {
        position(self.replica.position())
    }

    /// What monitoring is told.
    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        // Every change is an assignment.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `bell` rung when something changes; also tells how much has changed so far.
    pub(super) fn listen(&self, bell: &Arc<Bell>) -> usize {
        let mut state = self.lock();
        state.bells.retain(|bell| bell.strong_count() > 0);
        state.bells.push(Arc::downgrade(bell));
        state.changes.len()
    }

    /// What has changed after so many changes.
    pub(super) fn changes(&self, after: usize) -> Vec<Change> {
        self.lock().changes.get(after..).unwrap_or_default().to_vec()
    }

    /// There is this epoch. If that is news, it is kept, and a primary answers no commit any more.
    pub(super) fn hear(&self, epoch: Epoch) -> anyhow::Result<()> {
        let mut state = self.lock();
        let mut standing = state.standing.clone();
        if !standing.hear(epoch) {
            return Ok(());
        }
        if let Role::Fenced { by } = standing.role() {
            if let Some(gate) = &self.gate {
                // The committer may wait there, and nothing else can be done before it goes on.
                gate.end("another server has taken over");
            }
            // First, so that nothing is answered even if this cannot be kept.
            self.replica.set_role(replica::Role::Fenced)?;
            error!(
                name = self.name,
                "another server has taken over with epoch {by}: no writes are taken any more"
            );
        }
        self.save(&standing)?;
        state.standing = standing;
        Ok(())
    }

    /// The epochs of the primary, as far as they are those of what is here.
    pub(super) fn adopt(&self, history: History, start: Option<EpochStart>) -> anyhow::Result<()> {
        let mut state = self.lock();
        let mut standing = state.standing.clone();
        standing.adopt(history);
        self.save(&standing)?;
        state.standing = standing;
        let highest = state.standing.highest();
        let change = match start {
            Some(start) => Change::EpochStarts(start),
            None => {
                let text = "what comes next here is of other epochs than what was sent";
                Change::Ends(Refusal::new(replication::Reason::CannotServe, text, highest))
            }
        };
        state.changes.push(change);
        state.bells.iter().filter_map(Weak::upgrade).for_each(|bell| bell.ring());
        Ok(())
    }

    fn save(&self, standing: &Standing) -> anyhow::Result<()> {
        Ok(self.replica.set_note(standing.to_text().as_bytes())?)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is an assignment or a push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(super) fn position(position: replica::Position) -> Position {
    Position { tid: position.tid, digest: position.digest.0 }
}

fn parse(note: &[u8]) -> anyhow::Result<Standing> {
    let text = String::from_utf8_lossy(note);
    Standing::parse(&text).context("what it is in replication cannot be read (the file 'epochs')")
}

fn role_of(role: Role) -> replica::Role {
    match role {
        Role::Primary { .. } => replica::Role::Primary,
        Role::Secondary => replica::Role::Secondary,
        Role::Fenced { .. } => replica::Role::Fenced,
    }
}
