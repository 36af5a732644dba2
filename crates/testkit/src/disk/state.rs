//! A disk's files as a running process sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::fault::{Call, Fault};
use super::op::{Change, FileId, Op};

/// All that a disk knows.
#[derive(Debug)]
pub(super) struct State {
    /// What was there before the first of `ops`, durably.
    pub(super) base: Tree,
    /// What is there now: `base` with `ops` applied.
    pub(super) tree: Tree,
    pub(super) ops: Vec<Op>,
    pub(super) read_bytes: BTreeMap<PathBuf, u64>,
    pub(super) reserved_ends: BTreeMap<FileId, u64>,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) cached: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) held: BTreeMap<Call, HeldCalls>,
    pub(super) locked: BTreeSet<PathBuf>,
}

/// Calls of one kind that are made to wait.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldCalls {
    pub(super) holders: usize,
    pub(super) waiting: usize,
}

impl State {
    pub(super) fn new(base: Tree) -> Self {
        Self {
            tree: base.clone(),
            base,
            ops: Vec::new(),
            read_bytes: BTreeMap::new(),
            reserved_ends: BTreeMap::new(),
            capacity_bytes: None,
            cached: true,
            faults: Vec::new(),
            held: BTreeMap::new(),
            locked: BTreeSet::new(),
        }
    }

    /// Does `change` and remembers it.
    pub(super) fn record(&mut self, path: &Path, change: Change) {
        if let Change::SetLen { file, .. } = &change {
            self.reserved_ends.remove(file);
        }
        let op = Op { path: path.to_owned(), change };
        self.tree.apply(&op);
        self.ops.push(op);
    }

    /// Counts bytes that were read.
    pub(super) fn count_read(&mut self, path: &Path, bytes: usize) {
        *self.read_bytes.entry(path.to_owned()).or_default() += bytes as u64;
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<FileId> {
        self.tree.check_parent(path)?;
        if self.tree.is_dir(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let file = FileId(self.tree.files.keys().next_back().map_or(0, |last| last.0 + 1));
        self.record(path, Change::Create { file });
        Ok(file)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let named: BTreeSet<_> = self.tree.names.values().copied().collect();
        named.into_iter().map(|file| self.taken_bytes(file)).sum()
    }

    fn taken_bytes(&self, file: FileId) -> u64 {
        let reserved_end = self.reserved_ends.get(&file).copied().unwrap_or(0);
        reserved_end.max(self.tree.bytes(file).len() as u64)
    }

    /// Up to where `file` may grow, if less than `end`.
    pub(super) fn limit(&self, file: FileId, end: u64) -> Option<u64> {
        let room = self.capacity_bytes?.saturating_sub(self.used_bytes());
        let limit = self.taken_bytes(file) + room;
        (limit < end).then_some(limit)
    }
}

/// Files and directories.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) names: BTreeMap<PathBuf, FileId>,
    /// Also those that lost their name: they may still be open.
    pub(super) files: BTreeMap<FileId, Vec<u8>>,
}

impl Tree {
    pub(super) fn empty() -> Self {
        Self {
            dirs: [PathBuf::from("/"), PathBuf::new()].into(),
            names: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    /// Does what a process sees of `op`.
    pub(super) fn apply(&mut self, op: &Op) {
        match &op.change {
            Change::Create { file } => {
                self.names.insert(op.path.clone(), *file);
                self.files.insert(*file, Vec::new());
            }
            Change::CreateDir => {
                self.dirs.insert(op.path.clone());
            }
            Change::Rename { to } => {
                let file = self.names.remove(&op.path).expect("checked before it was recorded");
                self.names.insert(to.clone(), file);
            }
            Change::Link { to } => {
                let file = self.file(&op.path).expect("checked before it was recorded");
                self.names.insert(to.clone(), file);
            }
            Change::Remove => {
                self.names.remove(&op.path);
            }
            Change::SyncDir | Change::Sync { .. } | Change::SyncFailed { .. } => (),
            Change::Write { file, offset, data } => write(self.bytes_mut(*file), *offset, data),
            Change::SetLen { file, len } => self.bytes_mut(*file).resize(*len, 0),
            Change::Damaged { file, offset, mask } => {
                if let Some(byte) = self.bytes_mut(*file).get_mut(*offset) {
                    *byte ^= mask;
                }
            }
        }
    }

    pub(super) fn file(&self, path: &Path) -> Option<FileId> {
        self.names.get(path).copied()
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        self.dirs.contains(path) || path == Path::new(".")
    }

    pub(super) fn bytes(&self, file: FileId) -> &[u8] {
        self.files.get(&file).expect("files are never forgotten")
    }

    pub(super) fn bytes_mut(&mut self, file: FileId) -> &mut Vec<u8> {
        self.files.get_mut(&file).expect("files are never forgotten")
    }

    /// What is directly in a directory.
    pub(super) fn entries(&self, dir: &Path) -> impl Iterator<Item = &PathBuf> {
        let child = move |path: &&PathBuf| path.parent() == Some(dir);
        self.names.keys().filter(child).chain(self.dirs.iter().filter(child))
    }

    pub(super) fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if self.is_dir(parent) => Ok(()),
            _ => Err(self.missing(path)),
        }
    }

    /// Why there is no file or directory of this path.
    pub(super) fn missing(&self, path: &Path) -> io::Error {
        let kind = if self.is_dir(path) {
            io::ErrorKind::IsADirectory
        } else if path.ancestors().any(|above| self.names.contains_key(above)) {
            io::ErrorKind::NotADirectory
        } else {
            io::ErrorKind::NotFound
        };
        kind.into()
    }

    pub(super) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.names.iter().map(|(path, &id)| (path.clone(), self.bytes(id).to_vec()));
        let dirs = self.dirs.iter().map(|path| (path.join(""), Vec::new()));
        files.chain(dirs).collect()
    }
}

/// Overwrites and extends `bytes`.
pub(super) fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes.get_mut(offset..end).expect("just made long enough").copy_from_slice(data);
}
