//! Makes committed transactions visible and tells everybody, in one order.
//!
//! The rule behind it: when anybody can see that a transaction finished, its invalidation is
//! before everything that any other connection sends from then on. So the events of a batch are
//! first put into all mailboxes, hidden, and then shown in all of them by one atomic store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{Oid, Tid};

use crate::commit::committer::Committing;
use crate::mailbox::{Completion, Event, Gate, Invalidation, Mailbox};

/// The last tid, the last transactions, and who wants to know of the next.
#[derive(Debug)]
pub(crate) struct Publisher {
    state: Mutex<State>,
    gate: Arc<Gate>,
    /// That of `state`, for those who need no subscription with it.
    last_tid: AtomicU64,
}

#[derive(Debug)]
struct State {
    subscribers: Vec<Arc<Mailbox>>,
    last_tid: Tid,
    /// Oldest first; all transactions above `complete_above` that wrote something.
    recent: VecDeque<Invalidation>,
    complete_above: Tid,
    remember: usize,
    batch: u64,
}

impl Publisher {
    /// `recent` is oldest first and has all transactions above `complete_above`.
    pub(crate) fn new(
        last_tid: Tid,
        recent: VecDeque<(Tid, Vec<Oid>)>,
        complete_above: Tid,
        remember: usize,
    ) -> Self {
        let recent = recent.into_iter();
        let state = State {
            subscribers: Vec::new(),
            last_tid,
            recent: recent.map(|(tid, oids)| Invalidation { tid, oids: oids.into() }).collect(),
            complete_above,
            remember,
            batch: 0,
        };
        Self {
            state: Mutex::new(state),
            gate: Arc::default(),
            last_tid: AtomicU64::new(last_tid.0),
        }
    }

    /// The newest tid that is visible.
    pub(crate) fn last_tid(&self) -> Tid {
        Tid(self.last_tid.load(Ordering::Acquire))
    }

    /// See [`crate::Storage::subscribe`].
    pub(crate) fn subscribe(&self, mailbox: &Arc<Mailbox>) -> Tid {
        let mut state = self.lock();
        mailbox.attach(Arc::clone(&self.gate));
        state.subscribers.push(Arc::clone(mailbox));
        state.last_tid
    }

    pub(crate) fn unsubscribe(&self, mailbox: &Arc<Mailbox>) {
        self.lock().subscribers.retain(|subscriber| !Arc::ptr_eq(subscriber, mailbox));
    }

    /// See [`crate::Storage::invalidations`].
    pub(crate) fn invalidations(&self, since: Tid, until: Tid) -> Option<Vec<Oid>> {
        let state = self.lock();
        if since < state.complete_above {
            return None;
        }
        let asked = state.recent.iter().filter(|one| since < one.tid && one.tid <= until);
        let mut oids: Vec<Oid> = asked.flat_map(|one| one.oids.iter().copied()).collect();
        drop(state);
        oids.sort_unstable();
        oids.dedup();
        Some(oids)
    }

    /// Tells all that how much there is has changed.
    pub(crate) fn tell_extent(&self) {
        for subscriber in &self.lock().subscribers {
            subscriber.push([Event::ExtentChanged]);
        }
    }

    /// Publishes a durable batch: `make_visible` changes the index.
    pub(crate) fn publish(&self, batch: &[Committing], make_visible: impl FnOnce()) {
        let mut state = self.lock();
        make_visible();
        let invalidations: Vec<_> = batch.iter().map(Committing::invalidation).collect();
        for invalidation in &invalidations {
            state.remember(invalidation.clone());
        }
        self.last_tid.store(state.last_tid.0, Ordering::Release);
        state.batch += 1;
        for subscriber in &state.subscribers {
            let events = batch
                .iter()
                .zip(&invalidations)
                .map(|(committing, invalidation)| committing.event_for(subscriber, invalidation));
            subscriber.push_hidden(state.batch, events);
        }
        self.gate.open_up_to(state.batch);
        for subscriber in &state.subscribers {
            subscriber.wake();
        }
        let subscribed = |mailbox| state.subscribers.iter().any(|one| Arc::ptr_eq(one, mailbox));
        for committing in batch {
            if let Some(reply) = &committing.finish.reply
                && !subscribed(&reply.mailbox)
            {
                reply.send(Completion::Finished(Ok(committing.tid)));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in `publish` can panic half way but for want of memory, which aborts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, invalidation: Invalidation) {
        self.last_tid = invalidation.tid;
        self.recent.push_back(invalidation);
        while self.recent.len() > self.remember {
            if let Some(forgotten) = self.recent.pop_front() {
                self.complete_above = forgotten.tid;
            }
        }
    }
}

impl Committing {
    fn invalidation(&self) -> Invalidation {
        let oids = self.finish.records.iter().map(|record| record.oid).collect();
        Invalidation { tid: self.tid, oids }
    }

    /// The committer hears that it is done, in the place where others get the invalidation.
    fn event_for(&self, mailbox: &Arc<Mailbox>, invalidation: &Invalidation) -> Event {
        match &self.finish.reply {
            Some(reply) if Arc::ptr_eq(&reply.mailbox, mailbox) => {
                reply.completed(Completion::Finished(Ok(self.tid)))
            }
            _ => Event::Invalidated(invalidation.clone()),
        }
    }
}
