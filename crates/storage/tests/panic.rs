//! A panic of one of the storage's threads: nobody waits for ever for what it would have answered.

#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/report.rs"]
mod report;
mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use protocol::{Oid, Tid};
use storage::{Clock, SystemClock};
use testkit::{Call, Fault, Inbox, SimDisk};

use support::small;

const TEST: &str = "a_panic_of_a_thread_ends_the_process";
/// Set in the process that is to panic: the name of the thread.
const THREAD: &str = "STORAGE_TEST_THREAD";
const SIGABRT: i32 = 6;

/// Panics when that thread asks for the time.
struct Panicking {
    thread: String,
}

impl Clock for Panicking {
    fn now(&self) -> Duration {
        assert_ne!(thread::current().name(), Some(&*self.thread), "a bug in the storage");
        SystemClock.now()
    }
}

#[test]
fn a_panic_of_a_thread_ends_the_process() {
    if let Ok(thread) = std::env::var(THREAD) {
        let disk = SimDisk::new();
        let clock = Arc::new(Panicking { thread });
        let storage = support::open_with(&disk, small(), clock).unwrap();
        // One of the pool's threads notices that there is no space, and releases the locks.
        disk.inject(Fault::full(Call::Reserve).forever());
        let reports = report::all_reports();
        let inbox = Inbox::new();
        assert!(inbox.commit(&*storage, &[(Oid(1), Tid::ZERO, b"no space")]).is_err());
        let reports = reports.lock().unwrap().join("\n");
        assert!(reports.contains("no space for the transaction"), "{reports}");
        disk.clear_faults();
        inbox.commit(&*storage, &[(Oid(1), Tid::ZERO, b"never answered")]).unwrap();
        return;
    }
    for thread in ["storage-pool", "storage-committer"] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", TEST, "--nocapture"]).env(THREAD, thread);
        let output = child.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(SIGABRT), "{thread}: {}: {said}", output.status);
        assert!(said.contains("a bug in the storage") && said.contains(thread), "{thread}: {said}");
    }
}
