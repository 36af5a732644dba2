//! Packs between all that else happens.

use proptest::sample::Index;
use protocol::Tid;
use storage::{Completion, Event};

use super::World;

impl World {
    /// Packs as of some transaction, of the past or of the future.
    pub(super) fn pack(&mut self, to: &Index) {
        let tids: Vec<_> = self.model.tids().chain([Tid::ZERO, Tid::MAX]).collect();
        let to = *to.get(&tids);
        let storage = self.storage();
        let answer = self.inbox.ask(|reply| storage.pack(to, reply));
        assert!(matches!(answer, Completion::Packed(Ok(()))), "{answer:?}");
        self.model.pack(to);
        let told = self.watcher.next().event;
        assert!(matches!(told, Event::ExtentChanged), "{told:?}");
    }
}
