//! Threads for what would block a session: reads from the disk, allocation, index files.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

use crate::vital::vital;

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
                .spawn(move || vital(|| receiver.into_iter().for_each(|job| job())))
        };
        let threads = (0..threads.max(1)).map(start).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Mutex::new(Some(sender)), threads: Mutex::new(threads) })
    }

    /// Runs `job` soon; after [`Self::close`], at once, since somebody may wait for what it does.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match &*jobs {
            // The receivers live until the sender is gone.
            Some(jobs) => drop(jobs.send(Box::new(job))),
            None => {
                drop(jobs);
                job();
            }
        }
    }

    /// How many jobs wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().map_or(0, Sender::len)
    }

    /// Waits for all jobs.
    pub(crate) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic would have ended the process.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_whenever_it_comes() {
        let (sender, done) = unbounded();
        let pool = Pool::new(2).unwrap();
        let run = |number| {
            let sender = sender.clone();
            pool.run(move || sender.send(number).unwrap());
        };
        (0..10).for_each(run);
        pool.close();
        run(10);
        let mut done: Vec<_> = done.try_iter().collect();
        done.sort_unstable();
        assert_eq!(done, Vec::from_iter(0..=10));
    }
}
