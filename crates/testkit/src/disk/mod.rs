//! A disk in memory that can fail, and that remembers what it was asked in which order.
//!
//! [`SimDisk`] implements the storage's [`storage::disk::Disk`]. Every change is one [`Op`] in one
//! global order; [`SimDisk::op_count`] tells how many there were, [`SimDisk::power_cut`] and
//! [`SimDisk::killed`] build the disk as it may look if everything had stopped after the first
//! `ops` of them.
//!
//! A power cut **may**, independently for each file and directory:
//! - lose, keep or tear each write that was not followed by a completed sync of its file: at any
//!   byte (the rest of the write is missing), or at any set of 512-byte sectors (a later write
//!   may be there and an earlier one not; a sector shows one of the states it went through);
//! - keep the length of an extended file without its bytes, which are zeros then, or the other
//!   way round, any part of the extension, and likewise for a cut (`set_len`) that was not synced;
//! - lose or keep each creation, rename and removal that was not followed by a `sync_dir` of its
//!   directory, in any combination; a directory that is lost takes its files with it;
//! - after a failed sync, lose any part of what was written before it *for good*: a later sync
//!   does not bring it back.
//!
//! On demand ([`SimDisk::inject`], [`SimDisk::set_capacity_bytes`], [`SimDisk::corrupt`]) calls
//! fail, writes stop half-way, space ends, and stored bits flip.
//!
//! It **never**: loses or changes what was synced (unless told to by `corrupt`), tears a rename,
//! mixes two states within one sector (except where a write is cut off at a byte), shows bytes of
//! another file, returns something else than what was last written while running, reorders a
//! change and a sync that followed it.

mod fault;
mod file;
mod op;
mod replay;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use storage::disk::{Disk, File, Lock, Open};

pub use fault::{Call, Fault, Held};
pub use op::{Change, FileId, Op};

use file::SimFile;
use replay::Replay;
use state::{State, Tree};

/// A simulated disk; clones are the same disk.
///
/// It has a root directory (`/`) and nothing else at first. All methods may be called from any
/// thread, also while a storage works on it.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

/// What all handles of a disk share.
struct Shared {
    state: Mutex<State>,
    /// Signalled when the number of held calls, or what is held, changes.
    holding: Condvar,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::of(Tree::empty())
    }

    fn of(tree: Tree) -> Self {
        Self {
            shared: Arc::new(Shared { state: State::new(tree).into(), holding: Condvar::new() }),
        }
    }

    /// The same disk, as a storage wants it.
    pub fn handle(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// How many changes there have been.
    pub fn op_count(&self) -> usize {
        self.shared.lock().ops.len()
    }

    /// All changes so far.
    pub fn ops(&self) -> Vec<Op> {
        self.shared.lock().ops.clone()
    }

    /// The disk after a power cut that came when the first `ops` changes were done. What was not
    /// synced then is lost, kept or torn as `seed` decides.
    pub fn power_cut(&self, ops: usize, seed: u64) -> Self {
        let state = self.shared.lock();
        let mut replay = Replay::new(state.base.clone(), seed);
        state.ops.iter().take(ops).for_each(|op| replay.apply(op));
        drop(state);
        Self::of(replay.power_cut())
    }

    /// The disk after the first `ops` changes, with nothing lost: what the next process finds
    /// when this one is killed. What was not synced still is not, so [`Self::op_count`] goes on
    /// from `ops`, and a power cut may lose it yet.
    pub fn killed(&self, ops: usize) -> Self {
        let state = self.shared.lock();
        let mut next = State::new(state.base.clone());
        next.ops = state.ops.iter().take(ops).cloned().collect();
        drop(state);
        next.ops.iter().for_each(|op| next.tree.apply(op));
        Self { shared: Arc::new(Shared { state: next.into(), holding: Condvar::new() }) }
    }

    /// Limits the sum of the files' sizes and reservations; `None` for no limit. A limit below
    /// what is used only stops growth.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        self.shared.lock().capacity_bytes = capacity_bytes;
    }

    /// Sum of the files' sizes and of what is reserved beyond them.
    pub fn used_bytes(&self) -> u64 {
        self.shared.lock().used_bytes()
    }

    /// With `false`, reads behave as if no byte were in the page cache. It is `true` at first.
    pub fn set_cached(&self, cached: bool) {
        self.shared.lock().cached = cached;
    }

    /// Makes calls fail from now on.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.push(fault);
    }

    /// Ends all that [`Self::inject`] began.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Makes calls of one kind wait until the returned value is dropped.
    pub fn hold(&self, call: Call) -> Held {
        Held::new(&self.shared, call)
    }

    /// Flips one bit of a stored file, durably; panics if there is no such byte.
    pub fn corrupt(&self, path: impl AsRef<Path>, offset: usize) {
        let mut state = self.shared.lock();
        let file = state.tree.file(path.as_ref()).expect("the file exists");
        assert!(offset < state.tree.bytes(file).len(), "the file has a byte {offset}");
        let mask = 1 << (offset % 8);
        state.record(path.as_ref(), Change::Damaged { file, offset, mask });
    }

    /// The bytes of a file.
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.shared.lock();
        state.tree.file(path.as_ref()).map(|file| state.tree.bytes(file).to_vec())
    }

    /// How many bytes were read of a file, over all opens of this path.
    pub fn read_bytes(&self, path: impl AsRef<Path>) -> u64 {
        self.shared.lock().read_bytes.get(path.as_ref()).copied().unwrap_or(0)
    }

    /// All files and their bytes; directories end with `/` and have none.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.shared.lock().tree.contents()
    }

    /// The paths of all files below `directory` that end with `suffix`.
    pub fn files(&self, directory: impl AsRef<Path>, suffix: &str) -> Vec<PathBuf> {
        let state = self.shared.lock();
        let wanted = |path: &&PathBuf| {
            path.starts_with(&directory) && path.to_string_lossy().ends_with(suffix)
        };
        state.tree.names.keys().filter(wanted).cloned().collect()
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").field("op_count", &self.op_count()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics while it holds the state is over anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let (mut state, _) = self.shared.enter(Call::Open, path)?;
        let found = state.tree.file(path);
        let file = match (found, how) {
            (None, Open::Existing | Open::ReadOnly) => return Err(state.tree.missing(path)),
            (Some(_), Open::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), Open::Existing | Open::ReadOnly) => file,
            (Some(file), Open::Truncated) => {
                state.record(path, Change::SetLen { file, len: 0 });
                file
            }
            (None, Open::New | Open::Truncated) => state.create(path)?,
        };
        drop(state);
        Ok(Arc::new(SimFile::new(Arc::clone(&self.shared), path, file)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::CreateDir, path)?;
        let mut missing: Vec<_> =
            path.ancestors().take_while(|path| !state.tree.is_dir(path)).collect();
        while let Some(directory) = missing.pop() {
            if state.tree.file(directory).is_some() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            state.record(directory, Change::CreateDir);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let (state, _) = self.shared.enter(Call::List, path)?;
        if !state.tree.is_dir(path) {
            return Err(state.tree.missing(path));
        }
        let name = |entry: &PathBuf| entry.file_name().map(|name| name.to_string_lossy().into());
        Ok(state.tree.entries(path).filter_map(name).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::Rename, from)?;
        if state.tree.file(from).is_none() {
            return Err(state.tree.missing(from));
        }
        state.tree.check_parent(to)?;
        if state.tree.is_dir(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        state.record(from, Change::Rename { to: to.to_owned() });
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::Link, from)?;
        if state.tree.file(from).is_none() {
            return Err(state.tree.missing(from));
        }
        state.tree.check_parent(to)?;
        if state.tree.is_dir(to) || state.tree.file(to).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.record(from, Change::Link { to: to.to_owned() });
        Ok(())
    }

    fn is_file(&self, path: &Path) -> io::Result<bool> {
        let state = self.shared.lock();
        if state.tree.file(path).is_some() {
            return Ok(true);
        }
        if state.tree.is_dir(path) { Ok(false) } else { Err(state.tree.missing(path)) }
    }

    fn make_read_only(&self, path: &Path, like: &Path) -> io::Result<()> {
        let (state, _) = self.shared.enter(Call::MakeReadOnly, path)?;
        if state.tree.file(path).is_none() {
            return Err(state.tree.missing(path));
        }
        if state.tree.is_dir(like) { Ok(()) } else { Err(state.tree.missing(like)) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::Remove, path)?;
        if state.tree.file(path).is_none() {
            return Err(state.tree.missing(path));
        }
        state.record(path, Change::Remove);
        Ok(())
    }

    fn check_writable(&self, path: &Path) -> io::Result<()> {
        let (state, _) = self.shared.enter(Call::CheckWritable, path)?;
        if state.tree.is_dir(path) { Ok(()) } else { Err(state.tree.missing(path)) }
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let state = self.shared.lock();
        Ok(state.capacity_bytes.map_or(u64::MAX, |all| all.saturating_sub(state.used_bytes())))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.shared.enter(Call::SyncDir, path)?;
        if !state.tree.is_dir(path) {
            return Err(state.tree.missing(path));
        }
        state.record(path, Change::SyncDir);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let (mut state, _) = self.shared.enter(Call::Lock, path)?;
        if state.tree.file(path).is_none() {
            state.create(path)?;
        }
        if !state.locked.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { shared: Arc::clone(&self.shared), path: path.to_owned() }))
    }
}

struct SimLock {
    shared: Arc<Shared>,
    path: PathBuf,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.shared.lock().locked.remove(&self.path);
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").field("path", &self.path).finish_non_exhaustive()
    }
}
