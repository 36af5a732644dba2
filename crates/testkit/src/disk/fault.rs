//! Calls that fail or wait because a test says so.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Shared;
use super::state::State;

/// The calls that can fail or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the methods of Disk and File")]
pub enum Call {
    Open,
    CreateDir,
    List,
    Rename,
    Link,
    MakeReadOnly,
    Remove,
    CheckWritable,
    SyncDir,
    Lock,
    /// Both ways to read; nothing is read, and nothing fails, where nothing is cached.
    Read,
    Write,
    Sync,
    SetLen,
    Reserve,
    Map,
}

/// A failure to come: by default of the next call, once, without any effect of the call.
#[derive(Clone, Debug)]
pub struct Fault {
    call: Call,
    path: String,
    error: i32,
    skip: usize,
    torn: bool,
    forever: bool,
}

impl Fault {
    /// The medium fails (`EIO`).
    pub fn io(call: Call) -> Self {
        let path = String::new();
        Self { call, path, error: IO_ERROR, skip: 0, torn: false, forever: false }
    }

    /// There is no space (`ENOSPC`, which is [`io::ErrorKind::StorageFull`]).
    pub fn full(call: Call) -> Self {
        Self { error: NO_SPACE, ..Self::io(call) }
    }

    /// The user's share of the space is used up (`EDQUOT`).
    pub fn quota(call: Call) -> Self {
        Self { error: QUOTA, ..Self::io(call) }
    }

    /// Only for paths that contain `part`.
    pub fn on(self, part: &str) -> Self {
        Self { path: part.to_owned(), ..self }
    }

    /// Only after so many calls that it could have hit.
    pub fn after(self, calls: usize) -> Self {
        Self { skip: calls, ..self }
    }

    /// The first half of the bytes is written all the same.
    pub fn torn(self) -> Self {
        assert_eq!(self.call, Call::Write, "only writes tear");
        Self { torn: true, ..self }
    }

    /// All later calls fail as well.
    pub fn forever(self) -> Self {
        Self { forever: true, ..self }
    }

    fn hits(&mut self, call: Call, path: &Path) -> bool {
        if self.call != call || !path.to_string_lossy().contains(&self.path) {
            return false;
        }
        let hits = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        hits
    }
}

impl Shared {
    /// Waits while such calls are held, then gives the state to work on, or the error to answer.
    /// A torn write gets both.
    pub(super) fn enter(
        &self,
        call: Call,
        path: &Path,
    ) -> io::Result<(MutexGuard<'_, State>, Option<io::Error>)> {
        let mut state = self.lock();
        while state.held.get(&call).is_some_and(|held| held.holders > 0) {
            state.held.entry(call).or_default().waiting += 1;
            self.holding.notify_all();
            state = self.holding.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.held.entry(call).or_default().waiting -= 1;
        }
        // Each fault counts the calls, so `any` would not do.
        let mut first = None;
        for (index, fault) in state.faults.iter_mut().enumerate() {
            if fault.hits(call, path) && first.is_none() {
                first = Some(index);
            }
        }
        let Some(index) = first else {
            return Ok((state, None));
        };
        let fault = state.faults.get(index).cloned().expect("it was just found there");
        if !fault.forever {
            state.faults.remove(index);
        }
        let error = io::Error::from_raw_os_error(fault.error);
        if fault.torn { Ok((state, Some(error))) } else { Err(error) }
    }
}

/// Calls of one kind wait as long as this lives.
pub struct Held {
    shared: Arc<Shared>,
    call: Call,
}

impl Held {
    pub(super) fn new(shared: &Arc<Shared>, call: Call) -> Self {
        shared.lock().held.entry(call).or_default().holders += 1;
        Self { shared: Arc::clone(shared), call }
    }

    /// Returns when so many calls wait; panics if that takes too long.
    pub fn wait_for(&self, calls: usize) {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.shared.lock();
        while state.held.get(&self.call).is_none_or(|held| held.waiting < calls) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {calls} calls of {:?} in {DEADLINE:?}", self.call);
            let wait = self.shared.holding.wait_timeout(state, left);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.lock().held.entry(self.call).or_default().holders -= 1;
        self.shared.holding.notify_all();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("call", &self.call).finish_non_exhaustive()
    }
}

const DEADLINE: Duration = Duration::from_secs(30);
const IO_ERROR: i32 = 5;
pub(super) const NO_SPACE: i32 = 28;
const QUOTA: i32 = 122;
