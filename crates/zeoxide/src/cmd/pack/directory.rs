//! A pack of a storage that no server has open.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use protocol::Tid;
use storage::disk::{Disk, RealDisk};
use storage::{
    Completion, Event, Kind, Location, Mailbox, OpenError, ReplyTo, Storage, SystemClock, Ticket,
    Wake,
};

use crate::End;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::text::{size, time};

pub(crate) fn run(
    directory: &Path,
    blobs: Option<&Path>,
    before: Tid,
    interrupt: &Interrupt,
) -> Result<End> {
    let storage = open(directory, blobs)?;
    let bytes = storage.extent().bytes;
    let packed = Pack::new(&storage, &|| interrupt.is_set()).run(before);
    // A pack under way stops at the end of what it is at.
    storage.close();
    if packed? == End::Interrupted {
        eprintln!(
            "{}: what was packed stays so; the rest follows with the next start of a server, or of \
             this command",
            directory.display()
        );
        return Ok(End::Interrupted);
    }
    let (to, bytes, now) = (time(before), size(bytes), size(storage.extent().bytes));
    println!("{}: packed to {to}: {bytes} before, {now} now", directory.display());
    Ok(End::Good)
}

fn open(directory: &Path, blobs: Option<&Path>) -> Result<Arc<dyn Storage>> {
    let location =
        Location { kind: Kind::File(directory.to_owned()), blobs: blobs.map(Path::to_owned) };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let prepared = storage::prepare(&location, storage::Options::default(), &disk);
    let prepared = prepared.map_err(|error| match error {
        OpenError::Locked(_) => anyhow!(error)
            .context("a server has it open, which packs it while it serves: `zeoxide pack URL`"),
        error => anyhow!(error),
    })?;
    if prepared.is_new() {
        bail!("{}: there is no storage", directory.display());
    }
    Ok(prepared.start(Arc::new(SystemClock))?)
}

/// A storage that is packed, and where it tells how that ends.
struct Pack<'a> {
    storage: &'a Arc<dyn Storage>,
    is_interrupted: &'a dyn Fn() -> bool,
    mailbox: Arc<Mailbox>,
    woken: Receiver<()>,
}

impl<'a> Pack<'a> {
    fn new(storage: &'a Arc<dyn Storage>, is_interrupted: &'a dyn Fn() -> bool) -> Self {
        let (wake, woken) = sync_channel(1);
        let mailbox = Mailbox::new(usize::MAX, Arc::new(Waker(wake)));
        Self { storage, is_interrupted, mailbox, woken }
    }

    /// [`End::Interrupted`] leaves the pack running.
    fn run(&self, before: Tid) -> Result<End> {
        // One that an earlier process has begun goes on with the start, and there is one at a time.
        let unfinished = || (!self.storage.measures().pack.is_running).then_some(());
        if self.wait("going on with an unfinished pack", unfinished).is_none() {
            return Ok(End::Interrupted);
        }
        let reply = ReplyTo { mailbox: Arc::clone(&self.mailbox), ticket: Ticket(0) };
        self.storage.pack(before, reply);
        match self.wait("packing", || self.answer()) {
            None => Ok(End::Interrupted),
            Some(packed) => packed.map(|()| End::Good).context("the pack stopped"),
        }
    }

    fn answer(&self) -> Option<Result<()>> {
        let mut events = VecDeque::new();
        if let Err(cut) = self.mailbox.drain(&mut events) {
            return Some(Err(cut.into()));
        }
        events.into_iter().find_map(|event| match event {
            Event::Completed { completion: Completion::Packed(packed), .. } => {
                Some(packed.map_err(|failure| anyhow!("{failure}")))
            }
            _ => None,
        })
    }

    /// `None`: interrupted.
    fn wait<T>(&self, what: &'static str, mut is_over: impl FnMut() -> Option<T>) -> Option<T> {
        let mut progress = Progress::of_pack(what);
        let result = loop {
            if let Some(result) = is_over() {
                break Some(result);
            }
            if (self.is_interrupted)() {
                break None;
            }
            progress.tell_pack(self.storage.measures().pack.into());
            // Whether woken or not, there is something to look at.
            _ = self.woken.recv_timeout(LOOK_EVERY);
        };
        progress.end();
        result
    }
}

struct Waker(SyncSender<()>);

impl Wake for Waker {
    fn wake(&self) {
        // If it is full, there is a wake-up already.
        _ = self.0.try_send(());
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use protocol::Oid;
    use testkit::inbox::Inbox;
    use testkit::{Call, SimDisk};

    use super::*;

    fn open(disk: &SimDisk) -> Arc<dyn Storage> {
        let location = "file:/data".parse().unwrap();
        // So that each transaction is a part.
        let options = storage::Options { segment_bytes: 1, ..storage::Options::default() };
        storage::open(&location, options, &disk.handle(), Arc::new(SystemClock)).unwrap()
    }

    #[test]
    fn an_interrupted_pack_goes_on_next_time() {
        let disk = SimDisk::new();
        let (storage, inbox) = (open(&disk), Inbox::new());
        let mut last = Tid::ZERO;
        for _ in 0..5 {
            last = inbox.commit(&*storage, &[(Oid(1), last, &[b'x'; 1000])]).unwrap();
        }
        let held = disk.hold(Call::Rename);
        // As soon as the pack stands still.
        let is_interrupted = || {
            held.wait_for(1);
            true
        };
        let end = Pack::new(&storage, &is_interrupted).run(last).unwrap();
        assert_eq!(end, End::Interrupted);
        assert!(storage.measures().pack.is_running);
        drop(held);
        storage.close();
        drop(storage);
        let storage = open(&disk);
        assert_eq!(Pack::new(&storage, &|| false).run(last).unwrap(), End::Good);
        let pack = storage.measures().pack;
        assert_eq!((pack.is_running, pack.finished_to), (false, last));
        storage.close();
    }
}
