//! The lock manager's state, changed under its mutex.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::{Key, Mode, Owner, Want};
use crate::api::LockState;
use crate::hashing::Hashing;

#[derive(Debug)]
pub(super) struct Table<T> {
    keys: HashMap<Key, Held, Hashing>,
    claims: HashMap<Owner, Claim<T>, Hashing>,
    waiting: u64,
}

/// A key that somebody holds; free keys have no entry.
#[derive(Debug)]
struct Held {
    mode: Mode,
    holders: usize,
    queue: VecDeque<(Owner, Mode)>,
}

/// What an owner wants; the first `held` of it is its already.
#[derive(Debug)]
struct Claim<T> {
    wants: Vec<Want>,
    held: usize,
    /// `None` once all is held and the payload is with whoever goes on.
    payload: Option<T>,
    since: Duration,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { keys: HashMap::default(), claims: HashMap::default(), waiting: 0 }
    }
}

impl<T> Table<T> {
    pub(super) fn acquire(
        &mut self,
        owner: Owner,
        wants: Vec<Want>,
        now: Duration,
        payload: T,
    ) -> Option<T> {
        let claim = Claim { wants, held: 0, payload: Some(payload), since: now };
        let previous = self.claims.insert(owner, claim);
        debug_assert!(previous.is_none(), "an owner claims once");
        self.waiting += 1;
        self.advance(owner, now)
    }

    pub(super) fn release(&mut self, owner: Owner, now: Duration) -> Vec<T> {
        let mut granted = Vec::new();
        let Some(claim) = self.claims.remove(&owner) else {
            return granted;
        };
        if let Some(next) = claim.wants.get(claim.held) {
            self.waiting -= 1;
            self.leave_queue(owner, next.key);
            self.serve(next.key, now, &mut granted);
        }
        for want in claim.wants.iter().take(claim.held) {
            if let Some(held) = self.keys.get_mut(&want.key) {
                held.holders -= 1;
            }
            self.serve(want.key, now, &mut granted);
        }
        granted
    }

    pub(super) fn state(&self) -> LockState {
        let holding = self.claims.values().filter(|claim| claim.payload.is_none());
        let held_since = holding.map(|claim| claim.since).min().map(|since| since.as_secs_f64());
        LockState { waiting: self.waiting, held_since, ..LockState::default() }
    }

    /// Takes what `owner` wants, key by key, until one is taken by others.
    fn advance(&mut self, owner: Owner, now: Duration) -> Option<T> {
        let claim = self.claims.get_mut(&owner)?;
        while let Some(want) = claim.wants.get(claim.held) {
            let free = Held { mode: want.mode, holders: 0, queue: VecDeque::new() };
            let held = self.keys.entry(want.key).or_insert(free);
            if !held.admits(want.mode) || !held.queue.is_empty() {
                held.queue.push_back((owner, want.mode));
                return None;
            }
            held.admit(want.mode);
            claim.held += 1;
        }
        self.waiting -= 1;
        claim.since = now;
        claim.payload.take()
    }

    /// Lets in whoever may hold `key` now, in the order of the queue, and drops a key that is
    /// free.
    fn serve(&mut self, key: Key, now: Duration, granted: &mut Vec<T>) {
        while let Some(held) = self.keys.get_mut(&key) {
            let Some(&(owner, mode)) = held.queue.front() else {
                if held.holders == 0 {
                    self.keys.remove(&key);
                }
                return;
            };
            if !held.admits(mode) {
                return;
            }
            held.queue.pop_front();
            held.admit(mode);
            if let Some(claim) = self.claims.get_mut(&owner) {
                claim.held += 1;
            }
            granted.extend(self.advance(owner, now));
        }
    }

    fn leave_queue(&mut self, owner: Owner, key: Key) {
        if let Some(held) = self.keys.get_mut(&key) {
            held.queue.retain(|(waiting, _)| *waiting != owner);
        }
    }
}

impl Held {
    fn admits(&self, mode: Mode) -> bool {
        self.holders == 0 || (self.mode == Mode::Shared && mode == Mode::Shared)
    }

    fn admit(&mut self, mode: Mode) {
        self.mode = mode;
        self.holders += 1;
    }
}
