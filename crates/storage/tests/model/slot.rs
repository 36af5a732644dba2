//! A transaction of the test, and how far it has come.

use protocol::Tid;
use storage::{Ticket, Transaction};
use testkit::Draft;

pub(crate) struct Slot {
    pub(crate) transaction: Box<dyn Transaction>,
    pub(crate) draft: Draft,
    pub(crate) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// With the last tid at the time of the vote.
    Voting(Ticket, Tid),
    Promised,
    /// It can only be aborted.
    Failed,
}

impl Slot {
    /// The vote's ticket, and the last tid at its time, while it is not answered.
    pub(crate) fn vote(&self) -> Option<(Ticket, Tid)> {
        match self.phase {
            Phase::Voting(ticket, since) => Some((ticket, since)),
            _ => None,
        }
    }
}
