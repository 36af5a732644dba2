//! Hands out oids, none of them twice, not even after a crash.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::{Failure, Oid};

use crate::disk::{self, Disk, Open};
use crate::mailbox::{Completion, ReplyTo};
use crate::open::OpenError;

/// Most oids in one answer, as in ZEO.
pub(crate) const MAX_COUNT: u32 = 100;

/// A crash loses at most this many oids, and one file write makes this many available.
const BLOCK: u64 = 1 << 16;

/// Object 0 is the root of a ZODB, which every client knows without asking.
const FIRST: u64 = 1;

/// All oids are below this. ZODB itself never makes others; a client that stored the highest one
/// would leave none to be handed out.
pub(crate) const LIMIT: u64 = 1 << 63;

/// See the module. All oids below `bound`, which is at most [`LIMIT`], may be handed out; the file
/// says so.
#[derive(Debug)]
pub(crate) struct Oids {
    state: Mutex<State>,
    file: Option<BoundFile>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    next: u64,
    bound: u64,
    /// Somebody runs [`Oids::extend`], or will.
    extending: bool,
    waiting: Vec<(u32, ReplyTo)>,
    closed: bool,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Taken {
    Now(Vec<Oid>),
    /// The answer comes, or came, by the caller's [`ReplyTo`].
    Later,
}

/// `DIR/next-oid`: a bound that all oids handed out are below, in decimal.
#[derive(Clone, Debug)]
pub(crate) struct BoundFile {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
}

impl Oids {
    /// Nothing survives the process.
    pub(crate) fn in_memory() -> Self {
        Self::new(FIRST, LIMIT, None)
    }

    /// `stored`: the largest oid in the log.
    pub(crate) fn open(stored: Option<Oid>, file: BoundFile) -> Result<Self, OpenError> {
        let bound = file.read()?;
        let next = stored.map_or(FIRST, |oid| oid.0.saturating_add(1)).max(bound);
        Ok(Self::new(next.min(LIMIT), bound.min(LIMIT), Some(file)))
    }

    fn new(next: u64, bound: u64, file: Option<BoundFile>) -> Self {
        let waiting = Vec::new();
        let state = State { next, bound, extending: false, waiting, closed: false };
        Self { state: Mutex::new(state), file, writing: Mutex::default() }
    }

    /// Never hands out `oid`, which is below [`LIMIT`], or smaller ones: somebody stores it.
    pub(crate) fn raise_above(&self, oid: Oid) {
        let mut state = self.lock();
        state.next = state.next.max(oid.0.saturating_add(1)).min(LIMIT);
    }

    /// Takes `count` oids; the second result says that [`Self::extend`] should be run soon.
    pub(crate) fn take(&self, count: u32, reply: ReplyTo) -> (Taken, bool) {
        let count = count.clamp(1, MAX_COUNT);
        let mut state = self.lock();
        let taken = match state.take(count) {
            Some(Ok(oids)) => Taken::Now(oids),
            Some(Err(failure)) => {
                reply.send(Completion::Oids(Err(failure)));
                Taken::Later
            }
            None => {
                state.waiting.push((count, reply));
                Taken::Later
            }
        };
        let low = state.bound.saturating_sub(state.next) < BLOCK / 2 && state.bound < LIMIT;
        let extend = low && !state.extending && !state.closed;
        state.extending |= extend;
        (taken, extend)
    }

    /// Makes more oids available, durably; blocks.
    pub(crate) fn extend(&self) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let bound = {
                let state = self.lock();
                state.next.max(state.bound).saturating_add(BLOCK).min(LIMIT)
            };
            let written = self.file.as_ref().map_or(Ok(()), |file| file.write(bound));
            let mut state = self.lock();
            match written {
                Ok(()) => state.bound = bound,
                Err(error) => {
                    tracing::error!("cannot reserve oids: {error}");
                    state.extending = false;
                    let what = format!("cannot reserve oids: {error}");
                    state.fail_waiting(&Failure::Storage(what));
                    return;
                }
            }
            // Somebody may have stored an oid above the bound meanwhile.
            if state.serve_waiting() {
                state.extending = false;
                return;
            }
        }
    }

    /// Makes durable that no oid is handed out up to the highest one that was stored, before the log
    /// forgets that one; blocks.
    pub(crate) fn secure(&self) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let State { next, bound, .. } = *self.lock();
        if let Some(file) = self.file.as_ref().filter(|_| bound < next) {
            file.write(next)?;
            self.lock().bound = next;
        }
        Ok(())
    }

    /// Forgets what was reserved and not handed out; from now on nothing is.
    pub(crate) fn close(&self) {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = {
            let mut state = self.lock();
            state.closed = true;
            state.fail_waiting(&closed());
            state.next
        };
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.write(next)) {
            tracing::warn!("cannot write the next oid: {error}; some oids stay unused");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// At most `count` oids, or why there are none; `None`: they must be reserved first.
    fn take(&mut self, count: u32) -> Option<Result<Vec<Oid>, Failure>> {
        if self.closed {
            return Some(Err(closed()));
        }
        if self.next >= LIMIT {
            return Some(Err(Failure::Storage("all oids are used up".to_owned())));
        }
        let end = self.next.saturating_add(u64::from(count)).min(LIMIT);
        if end > self.bound {
            return None;
        }
        let oids = (self.next..end).map(Oid).collect();
        self.next = end;
        Some(Ok(oids))
    }

    /// Answers those who wait, as long as what is reserved suffices; whether that is for all.
    fn serve_waiting(&mut self) -> bool {
        for (count, reply) in std::mem::take(&mut self.waiting) {
            match self.take(count) {
                Some(answer) => reply.send(Completion::Oids(answer)),
                None => self.waiting.push((count, reply)),
            }
        }
        self.waiting.is_empty()
    }

    fn fail_waiting(&mut self, failure: &Failure) {
        for (_, reply) in self.waiting.drain(..) {
            reply.send(Completion::Oids(Err(failure.clone())));
        }
    }
}

fn closed() -> Failure {
    Failure::Storage("the storage is closed".to_owned())
}

impl BoundFile {
    pub(crate) const NAME: &'static str = "next-oid";

    /// No bound has more digits.
    pub(crate) const MAX_BYTES: usize = 32;

    /// Makes the file of a new storage.
    pub(crate) fn create(&self) -> io::Result<()> {
        self.write(FIRST)
    }

    /// Whether the file is as [`Self::create`] leaves it.
    pub(crate) fn is_new(&self) -> io::Result<bool> {
        let bytes = disk::read_start(&*self.disk, &self.path(), Self::MAX_BYTES)?;
        Ok(bytes == Self::text(FIRST).as_bytes())
    }

    fn text(bound: u64) -> String {
        format!("{bound}\n")
    }

    fn path(&self) -> PathBuf {
        self.dir.join(Self::NAME)
    }

    /// The bound; a file that is absent or not ours would mean oids given out twice.
    fn read(&self) -> Result<u64, OpenError> {
        let path = self.path();
        let text = disk::read_start(&*self.disk, &path, Self::MAX_BYTES);
        let text = text.map_err(OpenError::io(&path))?;
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or(OpenError::Damaged { path, offset: 0, what: "not a number" })
    }

    fn write(&self, bound: u64) -> io::Result<()> {
        replace(&*self.disk, &self.dir, Self::NAME, Self::text(bound).as_bytes())
    }
}

/// Puts a file in place of another one, durably, so that a crash leaves one of the two.
pub(crate) fn replace(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let file = disk.open(&new, Open::Truncated)?;
    file.write_all_at(&[IoSlice::new(bytes)], 0)?;
    file.sync()?;
    disk.rename(&new, &dir.join(name))?;
    disk.sync_dir(dir)
}
