//! Threads for what would block a session: reads from the disk, allocation, index files.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that run jobs, first come first served.
///
/// The queue has no bound of its own: sessions limit what they ask for.
#[derive(Debug)]
pub(crate) struct Pool {
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        let (sender, receiver) = unbounded::<Job>();
        let start = |_| {
            let receiver = receiver.clone();
            thread::Builder::new()
                .name("storage-pool".to_owned())
                .spawn(move || receiver.into_iter().for_each(|job| job()))
        };
        let threads = (0..threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Mutex::new(Some(sender)), threads: Mutex::new(threads) })
    }

    /// Runs `job` soon; after [`Self::close`], drops it.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = &*jobs {
            // The receivers live until the sender is gone.
            let _ = jobs.send(Box::new(job));
        }
    }

    /// Waits for all jobs.
    pub(crate) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a storage thread panicked");
            }
        }
    }
}
