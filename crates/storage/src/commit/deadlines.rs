//! How long transactions may hold their locks, and how long others wait before the log says so.
//!
//! One thread per storage waits for the next deadline; a transaction that is finished or aborted
//! in time costs two short looks into a map, which nobody holds while he does anything else.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::api::LockState;
use crate::commit::transaction::{Pending, Stage};
use crate::core::Core;
use crate::mailbox::{Cut, Mailbox};
use crate::sync::{Condvar, Mutex, MutexGuard};

/// The transactions that hold locks, in the order in which they got them: all may hold them for
/// the same time, so that is the order of their deadlines.
///
/// The time is the system's monotonic one: a clock that is put right ends no transaction.
#[derive(Debug)]
pub(crate) struct Deadlines {
    /// `None`: any time.
    timeout: Option<Duration>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: BTreeMap<u64, Watched>,
    /// When to look whether votes wait for long; `None`: none waits.
    look_at: Option<Instant>,
    /// Names the next one.
    next: u64,
    /// The thread waits until then; `None`: for ever. It is not told of what comes later.
    wakes_at: Option<Instant>,
    closed: bool,
}

/// A transaction that holds locks.
#[derive(Debug)]
pub(crate) struct Watched {
    deadline: Instant,
    pending: Weak<Pending>,
    mailbox: Weak<Mailbox>,
}

/// A place among those that are watched. Dropped, it is given up.
#[derive(Debug)]
pub(crate) struct Watch {
    deadlines: Arc<Deadlines>,
    number: u64,
}

impl Deadlines {
    pub(crate) fn new(timeout: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { timeout, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Whether who holds locks for too long is aborted.
    pub(crate) fn is_limited(&self) -> bool {
        self.timeout.is_some()
    }

    /// Watches a transaction that has got its locks. `mailbox` is cut when its time is over.
    pub(crate) fn watch(
        self: &Arc<Self>,
        pending: &Arc<Pending>,
        mailbox: &Arc<Mailbox>,
    ) -> Option<Watch> {
        // Without a limit not even the time is asked for.
        self.timeout?;
        self.watch_from(Instant::now(), pending, mailbox)
    }

    fn watch_from(
        self: &Arc<Self>,
        now: Instant,
        pending: &Arc<Pending>,
        mailbox: &Arc<Mailbox>,
    ) -> Option<Watch> {
        // No deadline can be told that is too far away.
        let deadline = now.checked_add(self.timeout?)?;
        let (pending, mailbox) = (Arc::downgrade(pending), Arc::downgrade(mailbox));
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.watched.insert(number, Watched { deadline, pending, mailbox });
        self.wake_for(deadline, state);
        Some(Watch { deadlines: Arc::clone(self), number })
    }

    /// Somebody waits for locks from now on.
    pub(crate) fn expect_waiting(&self, now: Instant) {
        let mut state = self.lock();
        if state.look_at.is_none() {
            let look_at = now + LONG;
            state.look_at = Some(look_at);
            self.wake_for(look_at, state);
        }
    }

    /// Sees to it that the thread wakes at `deadline` or before. A notification is a system call.
    fn wake_for(&self, deadline: Instant, mut state: MutexGuard<'_, State>) {
        if state.wakes_at.is_none_or(|wakes_at| deadline < wakes_at) {
            state.wakes_at = Some(deadline);
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Whether it is time to look for votes that wait for long; then says, by `look`, whether any
    /// does, and so when to look again.
    fn take_look(&self, now: Instant, look: impl FnOnce() -> Waiting) {
        if self.lock().look_at.is_none_or(|look_at| now < look_at) {
            return;
        }
        // Who begins to wait after this is told of by the next look.
        let next = match look() {
            Waiting::None => None,
            Waiting::Short => Some(now + LONG),
            Waiting::Told => Some(now + AGAIN),
        };
        self.lock().look_at = next;
    }

    /// Takes out those whose time is over.
    fn take_due(&self, now: Instant) -> Vec<Watched> {
        let mut state = self.lock();
        let mut due = Vec::new();
        while let Some(first) = state.watched.first_entry()
            && first.get().deadline <= now
        {
            due.push(first.remove());
        }
        due
    }

    /// Waits until the next deadline may be over; `false` when closed.
    fn wait(&self) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        let first = state.watched.first_key_value().map(|(_, watched)| watched.deadline);
        state.wakes_at = [first, state.look_at].into_iter().flatten().min();
        let state = match state.wakes_at {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let woken = self.changed.wait_timeout(state, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        !state.closed
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn forget(&self, number: u64) {
        let forgotten = self.lock().watched.remove(&number);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.deadlines.forget(self.number);
    }
}

/// The thread that waits for deadlines.
pub(crate) fn run(core: &Arc<Core>) {
    let deadlines = &core.deadlines;
    while deadlines.wait() {
        let now = Instant::now();
        for watched in deadlines.take_due(now) {
            if let (Some(pending), Some(after)) = (watched.pending.upgrade(), deadlines.timeout) {
                core.expire(&pending, &watched.mailbox, after);
            }
        }
        deadlines.take_look(now, || core.tell_who_waits());
    }
}

/// What a look at the locks finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// No vote waits.
    None,
    /// Some do, and nobody holds his locks for long.
    Short,
    /// Some do, and the log says it.
    Told,
}

impl Waiting {
    /// What to say of `locks`, besides.
    fn of(locks: &LockState, now: Duration) -> (Self, Duration) {
        let held = locks.held_since.and_then(|since| Duration::try_from_secs_f64(since).ok());
        // The clock may have been set back.
        let held = held.map_or(Duration::ZERO, |since| now.saturating_sub(since));
        match locks.waiting {
            0 => (Self::None, held),
            _ if held < LONG => (Self::Short, held),
            _ => (Self::Told, held),
        }
    }
}

/// Who holds locks for so long, while others wait, is told of.
const LONG: Duration = Duration::from_secs(10);

/// And again after this time.
const AGAIN: Duration = Duration::from_secs(60);

impl Core {
    /// Aborts a transaction that has held its locks for too long, unless its finish was asked or it
    /// was aborted: whoever is first to change its stage decides.
    fn expire(self: &Arc<Self>, pending: &Arc<Pending>, mailbox: &Weak<Mailbox>, after: Duration) {
        let state = pending.lock();
        if !matches!(state.stage, Stage::Voted) {
            return;
        }
        self.timings.timeouts.add(1);
        // Before anybody can see the stage: what the client hears of it is the end, and no answer.
        if let Some(mailbox) = mailbox.upgrade() {
            mailbox.cut(Cut::TimedOut { after });
        }
        self.abandon(pending, state);
    }

    fn tell_who_waits(&self) -> Waiting {
        let locks = self.locks.state();
        let (waiting, held) = Waiting::of(&locks, self.clock.now());
        if waiting == Waiting::Told {
            tracing::warn!(
                "{}: {} votes wait, and a transaction has held its locks for {} s",
                self.log.name(),
                locks.waiting,
                held.as_secs()
            );
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Meta;
    use crate::locks::Owner;
    use crate::mailbox::Wake;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn each_is_due_after_its_own_time_and_no_one_who_left() {
        let deadlines = Deadlines::new(Some(TIMEOUT));
        let mailbox = Mailbox::new(0, Arc::new(Nobody));
        let pending: Vec<_> =
            (0..4).map(|n| Arc::new(Pending::new(Owner(n), Meta::default()))).collect();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut watches: Vec<_> = (0..4)
            .map(|n| deadlines.watch_from(start + n * second, &pending[n as usize], &mailbox))
            .collect();
        let due = |now| -> Vec<_> {
            let taken = deadlines.take_due(now).into_iter();
            taken.map(|watched| watched.pending.upgrade().map(|one| one.owner)).collect()
        };
        drop(watches.remove(1));
        assert_eq!(due(start + TIMEOUT - second), []);
        assert_eq!(due(start + TIMEOUT), [Some(Owner(0))]);
        assert_eq!(due(start + TIMEOUT + second), [], "it left, and nobody is due twice");
        assert_eq!(due(start + TIMEOUT + 3 * second), [Some(Owner(2)), Some(Owner(3))]);
        drop(watches);
        assert_eq!(deadlines.lock().watched.len(), 0);
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let deadlines = Deadlines::new(Some(TIMEOUT));
        let mailbox = Mailbox::new(0, Arc::new(Nobody));
        for n in 0..1000 {
            let pending = Arc::new(Pending::new(Owner(n), Meta::default()));
            drop(deadlines.watch(&pending, &mailbox));
            assert_eq!(Arc::weak_count(&pending), 0);
        }
        assert_eq!(deadlines.lock().watched.len(), 0);
    }

    #[test]
    fn no_timeout_is_none_and_one_beyond_all_time_is_none_either() {
        let mailbox = Mailbox::new(0, Arc::new(Nobody));
        let pending = Arc::new(Pending::new(Owner(1), Meta::default()));
        for timeout in [None, Some(Duration::MAX)] {
            let deadlines = Deadlines::new(timeout);
            assert!(deadlines.watch(&pending, &mailbox).is_none());
        }
    }

    #[test]
    fn the_thread_is_told_of_what_comes_before_it_wakes_and_of_nothing_else() {
        let deadlines = Deadlines::new(Some(TIMEOUT + TIMEOUT));
        let mailbox = Mailbox::new(0, Arc::new(Nobody));
        let pending = Arc::new(Pending::new(Owner(1), Meta::default()));
        let start = Instant::now();
        let wakes_at = || deadlines.lock().wakes_at;
        assert_eq!(wakes_at(), None);
        let _first = deadlines.watch_from(start, &pending, &mailbox);
        let _second = deadlines.watch_from(start + TIMEOUT, &pending, &mailbox);
        assert_eq!(wakes_at(), Some(start + TIMEOUT + TIMEOUT));
        deadlines.expect_waiting(start);
        deadlines.expect_waiting(start + LONG);
        assert_eq!(wakes_at(), Some(start + LONG));
    }

    #[test]
    fn who_waits_is_looked_at_after_a_while_and_then_now_and_then() {
        let deadlines = Deadlines::new(None);
        let start = Instant::now();
        let look = |after, waiting| {
            let mut looked = false;
            deadlines.take_look(start + after, || {
                looked = true;
                waiting
            });
            looked
        };
        assert!(!look(LONG, Waiting::Told), "nobody waits");
        deadlines.expect_waiting(start);
        assert!(!look(LONG / 2, Waiting::Told));
        assert!(look(LONG, Waiting::Short));
        assert!(look(2 * LONG, Waiting::Told));
        assert!(!look(2 * LONG + AGAIN / 2, Waiting::Told));
        assert!(look(2 * LONG + AGAIN, Waiting::None));
        assert!(!look(10 * AGAIN, Waiting::Told), "nobody waits any more");
    }

    #[test]
    fn only_locks_that_are_held_for_long_are_told_of() {
        let now = Duration::from_secs(1_000_000);
        let of = |waiting, held: u64| {
            let held_since = Some((now.as_secs() - held) as f64);
            Waiting::of(&LockState { waiting, held_since, ..LockState::default() }, now)
        };
        let seconds = Duration::from_secs;
        assert_eq!(of(0, 100), (Waiting::None, seconds(100)));
        assert_eq!(of(1, 9), (Waiting::Short, seconds(9)));
        assert_eq!(of(1, 10), (Waiting::Told, seconds(10)));
        let set_back = LockState { waiting: 1, held_since: Some(2e6), is_limited: false };
        assert_eq!(Waiting::of(&set_back, now), (Waiting::Short, Duration::ZERO));
    }
}
