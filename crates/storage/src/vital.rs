//! Threads without which the storage cannot go on.

use std::{process, thread};

/// Does `work`, which is all that a thread does. A panic ends the process after its message:
/// nobody could say what is on disk then, and those who wait for this thread would wait for ever.
/// The next start recovers.
pub(crate) fn vital(work: impl FnOnce()) {
    let _guard = EndOnPanic;
    work();
}

struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("a storage thread panicked: the process ends");
            process::abort();
        }
    }
}
