//! Reads that go to the disk, as if there were far more data than memory.
//!
//! A limit on the server's memory would need a control group, and so the right to make one, and a
//! data set as large as many times that limit. Here the pages of the server's files are dropped from
//! the page cache instead, before and all the while. So nearly every read finds nothing there, as it
//! does where data are many times as large as memory, and it is the same on every machine. What a
//! server keeps in memory of its own it keeps. That reads did come from the disk is measured, and a
//! point of which most did not has failed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use measure::{Outcome, Verdict};
use rustix::fs::{Advice, fadvise};

use crate::sizes::Sizes;

/// Pages stay for so long at most. At 20,000 reads a second these are 4 MiB.
const EVERY: Duration = Duration::from_millis(50);

/// The disk is read in pages.
const PAGE_BYTES: f64 = 4096.0;

/// Does `work` while nothing of the files in `folder`, as they are now, stays in the page cache.
pub(crate) fn keep<T>(folder: &Path, work: impl FnOnce() -> T) -> anyhow::Result<T> {
    let mut files = Vec::new();
    find(folder, &mut files).context("looking for the server's files")?;
    if files.is_empty() {
        bail!("the server has no files, so its reads cannot come from the disk");
    }
    for file in &files {
        // What is not written yet cannot be dropped.
        file.sync_all().context("syncing the server's files")?;
    }
    drop_pages(&files)?;
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let dropper = scope.spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                drop_pages(&files)?;
            }
            Ok(())
        });
        let done = work();
        drop(stop);
        dropper.join().unwrap_or_else(|_| bail!("the thread that drops pages failed"))?;
        Ok(done)
    })
}

fn drop_pages(files: &[File]) -> anyhow::Result<()> {
    files.iter().try_for_each(|file| {
        fadvise(file, 0, None, Advice::DontNeed).context("dropping pages from the page cache")
    })
}

fn find(folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        let kind = entry?;
        if kind.is_dir() {
            find(&path, files)?;
        } else if kind.is_file() {
            files.push(File::open(path)?);
        }
    }
    Ok(())
}

/// Refuses the point if less came from the disk than half of its operations must have read.
pub(crate) fn check(outcome: &mut Outcome, objects: u64, sizes: Sizes) {
    if matches!(outcome.verdict, Verdict::Failed(_)) {
        return;
    }
    let some = objects.clamp(1, 1000);
    let bytes: usize = (0..some).map(|n| sizes.bytes(crate::engine::read_oid(n), 1)).sum();
    let needed = (bytes as f64 / some as f64).max(PAGE_BYTES) / 2.0;
    let why = match outcome.disk_read_per_operation() {
        Some(read) if read >= needed => return,
        Some(read) => format!(
            "most reads did not come from the disk: {read:.0} bytes of each did, and {needed:.0} \
             would be half. Take more objects than the server keeps itself, and have TMPDIR on a disk"
        ),
        None => "the system does not tell how much came from the disk (/proc/PID/io)".to_owned(),
    };
    outcome.verdict = Verdict::Failed(why);
}

#[cfg(test)]
mod tests {
    use measure::{Histogram, Usage};

    use super::*;

    fn verdict(disk_read_bytes: Option<u64>, bytes: usize) -> Verdict {
        let mut outcome = Outcome {
            verdict: Verdict::Valid,
            operations: 100,
            completed: None,
            seconds: 1.0,
            response: Histogram::default(),
            service: Histogram::default(),
            lag: Histogram::default(),
            intervals: Vec::new(),
            server: Usage { disk_read_bytes, ..Usage::default() },
            generator: Usage::default(),
            spun_seconds: 0.0,
            bytes: (0, 0),
            means_ns: Vec::new(),
            trials: Vec::new(),
            steal_seconds: None,
            idle: None,
        };
        check(&mut outcome, 10, Sizes::Fixed(bytes));
        outcome.verdict
    }

    #[test]
    fn reads_from_memory_are_no_result() {
        assert_eq!(verdict(Some(400_000), 1024), Verdict::Valid);
        assert_eq!(verdict(Some(400_000), 8000), Verdict::Valid);
        let failed = |verdict| matches!(verdict, Verdict::Failed(_));
        assert!(failed(verdict(Some(200_000), 1024)));
        assert!(failed(verdict(Some(390_000), 8000)));
        assert!(failed(verdict(None, 1024)));
    }

    #[test]
    fn a_server_without_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(keep(folder.path(), || ()).is_err());
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), [7; 10_000]).unwrap();
        assert_eq!(keep(folder.path(), || 7).unwrap(), 7);
    }
}
