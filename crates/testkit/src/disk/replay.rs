//! What is left of a disk when the power goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::op::{Change, FileId, Op};
use super::state::{Tree, write};

/// Applies ops as the medium sees them: what is durable, and what still waits.
pub(super) struct Replay {
    /// Its files are what is durable of each, named or not.
    durable: Tree,
    written: BTreeMap<FileId, Vec<Pending>>,
    moved: Vec<Move>,
    random: StdRng,
}

/// A change of a file that is not durable.
enum Pending {
    Write { offset: usize, data: Bytes },
    SetLen(usize),
}

/// A change of directories that is not durable; it happens wholly or not at all.
struct Move {
    entries: Vec<(PathBuf, Entry)>,
}

#[derive(Clone, Copy)]
enum Entry {
    Directory,
    File(FileId),
    Nothing,
}

impl Replay {
    pub(super) fn new(base: Tree, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { durable: base, written: BTreeMap::new(), moved: Vec::new(), random }
    }

    pub(super) fn apply(&mut self, op: &Op) {
        let path = || op.path.clone();
        match &op.change {
            Change::Create { file } => {
                self.durable.files.insert(*file, Vec::new());
                self.move_entries(vec![(path(), Entry::File(*file))]);
            }
            Change::CreateDir => self.move_entries(vec![(path(), Entry::Directory)]),
            Change::Rename { to } => {
                let file = self.file(&op.path);
                self.move_entries(vec![(path(), Entry::Nothing), (to.clone(), file)]);
            }
            Change::Link { to } => {
                let file = self.file(&op.path);
                self.move_entries(vec![(to.clone(), file)]);
            }
            Change::Remove => self.move_entries(vec![(path(), Entry::Nothing)]),
            Change::SyncDir => self.sync_dir(&op.path),
            Change::Write { file, offset, data } => {
                self.pend(*file, Pending::Write { offset: *offset, data: data.clone() });
            }
            Change::SetLen { file, len } => self.pend(*file, Pending::SetLen(*len)),
            Change::Sync { file } => {
                let bytes = self.durable.bytes_mut(*file);
                for pending in self.written.remove(file).unwrap_or_default() {
                    pending.apply(bytes);
                }
            }
            // The system marks the pages clean: nobody will ever write what was lost now.
            Change::SyncFailed { file } => self.lose(*file),
            // Done now and here: what still waits may hide it.
            Change::Damaged { .. } => self.durable.apply(op),
        }
    }

    /// Decides what becomes of everything that waits.
    pub(super) fn power_cut(mut self) -> Tree {
        let files: Vec<_> = self.written.keys().copied().collect();
        files.into_iter().for_each(|file| self.lose(file));
        let moved = std::mem::take(&mut self.moved);
        let kept = Kept::choose(moved.len(), &mut self.random);
        for (index, change) in moved.into_iter().enumerate() {
            if kept.keeps(index, &mut self.random) {
                self.settle(change);
            }
        }
        self.reachable()
    }

    fn pend(&mut self, file: FileId, pending: Pending) {
        self.written.entry(file).or_default().push(pending);
    }

    fn move_entries(&mut self, entries: Vec<(PathBuf, Entry)>) {
        self.moved.push(Move { entries });
    }

    /// What a path names for a running process.
    fn file(&self, path: &Path) -> Entry {
        let mut entries = self.moved.iter().flat_map(|change| &change.entries);
        let latest = entries.rfind(|(moved, _)| moved == path);
        let durable = || self.durable.file(path).map_or(Entry::Nothing, Entry::File);
        latest.map_or_else(durable, |(_, entry)| *entry)
    }

    fn sync_dir(&mut self, dir: &Path) {
        let within = |change: &Move| change.entries.iter().any(|(p, _)| p.parent() == Some(dir));
        let moved = std::mem::take(&mut self.moved);
        for change in moved {
            if within(&change) { self.settle(change) } else { self.moved.push(change) }
        }
    }

    fn settle(&mut self, change: Move) {
        for (path, entry) in change.entries {
            match entry {
                Entry::Directory => {
                    self.durable.dirs.insert(path);
                }
                Entry::File(file) => {
                    self.durable.names.insert(path, file);
                }
                Entry::Nothing => {
                    self.durable.names.remove(&path);
                }
            }
        }
    }

    fn lose(&mut self, file: FileId) {
        let pending = self.written.remove(&file).unwrap_or_default();
        let left = what_is_left(self.durable.bytes(file), &pending, &mut self.random);
        *self.durable.bytes_mut(file) = left;
    }

    /// Drops what is in no directory.
    fn reachable(self) -> Tree {
        let Tree { dirs, names, files } = self.durable;
        let holds = |path: &Path| path.ancestors().skip(1).all(|above| dirs.contains(above));
        let names: BTreeMap<_, _> = names.into_iter().filter(|(path, _)| holds(path)).collect();
        let files = files.into_iter().filter(|(id, _)| names.values().any(|named| named == id));
        let files = files.collect();
        let dirs = dirs.iter().filter(|path| holds(path)).cloned().collect();
        Tree { dirs, names, files }
    }
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => write(bytes, *offset, data),
            Self::SetLen(len) => bytes.resize(*len, 0),
        }
    }

    /// The file's length after this.
    fn len_after(&self, len: usize) -> usize {
        match self {
            Self::Write { data, .. } if data.is_empty() => len,
            Self::Write { offset, data } => len.max(offset + data.len()),
            Self::SetLen(len) => *len,
        }
    }

    /// Whether the bytes of `sector` change; a longer length alone changes none.
    fn touches(&self, sector: &std::ops::Range<usize>) -> bool {
        match self {
            Self::Write { offset, data } => {
                *offset < sector.end && sector.start < offset + data.len() && !data.is_empty()
            }
            Self::SetLen(len) => *len < sector.end,
        }
    }

    fn apply_within(&self, sector: &std::ops::Range<usize>, bytes: &mut [u8]) {
        match self {
            Self::Write { offset, data } => {
                let start = sector.start.max(*offset);
                let end = sector.end.min(offset + data.len()).min(bytes.len());
                if let Some(target) = bytes.get_mut(start..end.max(start)) {
                    let source = data.get(start - offset..end.max(start) - offset);
                    target.copy_from_slice(source.expect("the range is within the write"));
                }
            }
            Self::SetLen(len) => {
                let start = sector.start.max(*len);
                let end = sector.end.min(bytes.len());
                bytes.get_mut(start..end.max(start)).unwrap_or_default().fill(0);
            }
        }
    }
}

/// Which of a number of changes in sequence survive.
enum Kept {
    All,
    First(usize),
    Each(f64),
}

impl Kept {
    fn choose(count: usize, random: &mut StdRng) -> Self {
        match random.random_range(0..8) {
            0 => Self::First(0),
            1 => Self::All,
            2..5 => Self::First(random.random_range(0..=count)),
            _ => Self::Each(*pick(&[0.1, 0.5, 0.9], random)),
        }
    }

    fn keeps(&self, index: usize, random: &mut StdRng) -> bool {
        match self {
            Self::All => true,
            Self::First(count) => index < *count,
            Self::Each(chance) => random.random_bool(*chance),
        }
    }
}

/// A file's bytes when `pending` was not synced.
fn what_is_left(durable: &[u8], pending: &[Pending], random: &mut StdRng) -> Vec<u8> {
    match Kept::choose(pending.len(), random) {
        Kept::All => whole(durable, pending),
        Kept::First(count) => {
            let (kept, lost) = pending.split_at(count);
            let mut bytes = whole(durable, kept);
            if let Some(Pending::Write { offset, data }) = lost.first() {
                let torn = random.random_range(0..=data.len());
                write(&mut bytes, *offset, &data.slice(..torn));
            }
            bytes
        }
        Kept::Each(chance) => scattered(durable, pending, chance, random),
    }
}

fn whole(durable: &[u8], pending: &[Pending]) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    pending.iter().for_each(|pending| pending.apply(&mut bytes));
    bytes
}

/// Each sector shows one of the states it went through, the last one with probability `chance`
/// at least; so does the length, and it may also have stopped half-way.
fn scattered(durable: &[u8], pending: &[Pending], chance: f64, random: &mut StdRng) -> Vec<u8> {
    let mut lens = vec![durable.len()];
    for pending in pending {
        lens.push(pending.len_after(lens.last().copied().unwrap_or(0)));
    }
    let longest = lens.iter().copied().max().unwrap_or(0);
    let mut bytes = durable.to_vec();
    bytes.resize(longest, 0);
    for start in (0..longest).step_by(SECTOR_BYTES) {
        let sector = start..start + SECTOR_BYTES;
        let touching: Vec<_> = pending.iter().filter(|pending| pending.touches(&sector)).collect();
        let all = random.random_bool(chance);
        let states = if all { touching.len() } else { random.random_range(0..=touching.len()) };
        touching.iter().take(states).for_each(|pending| pending.apply_within(&sector, &mut bytes));
    }
    bytes.truncate(some_len(&lens, chance, random));
    bytes
}

fn some_len(lens: &[usize], chance: f64, random: &mut StdRng) -> usize {
    let last = lens.last().copied().unwrap_or(0);
    if random.random_bool(chance) {
        return last;
    }
    let chosen = *pick(lens, random);
    let (short, long) = (chosen.min(last), chosen.max(last));
    match random.random_range(0..3) {
        0 => chosen,
        1 => random.random_range(short..=long),
        _ => (random.random_range(short..=long) / SECTOR_BYTES * SECTOR_BYTES).max(short),
    }
}

fn pick<'a, T>(from: &'a [T], random: &mut StdRng) -> &'a T {
    from.get(random.random_range(0..from.len())).expect("the index is in range")
}

const SECTOR_BYTES: usize = 512;
