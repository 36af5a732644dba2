//! The wake-up of a connection that is a task of an async runtime, whichever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use storage::Wake;

/// Has a task look into its connection's mailbox.
///
/// A call is seen by the next [`Self::take_call`], which a task asks after each
/// [`Self::register`]: so none is lost, whenever it comes.
#[derive(Debug, Default)]
pub struct TaskWake {
    called: AtomicBool,
    waker: AtomicWaker,
}

impl TaskWake {
    /// Says which task is woken from now on.
    pub fn register(&self, task: &Waker) {
        self.waker.register(task);
    }

    /// Whether there was a call since the last time.
    pub fn take_call(&self) -> bool {
        self.called.swap(false, Ordering::AcqRel)
    }
}

impl Wake for TaskWake {
    fn wake(&self) {
        self.called.store(true, Ordering::Release);
        self.waker.wake();
    }
}
