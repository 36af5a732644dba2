//! Opens a log: finds where it ends, tells the index what is in it, and refuses damage.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use protocol::{Oid, Tid};

use super::cache::RecordCache;
use super::format::{Identity, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::scan::{self, Scanned, Scanner};
use super::sidecar::{Block, Entry, Sidecar};
use super::space::Space;
use super::writer::Writer;
use super::{Files, Segment, SegmentLog};
use crate::disk::{Disk, File, Open};
use crate::index::{Index, Revision};
use crate::open::{OpenError, Options};

/// What a start learns from the log, besides the index.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) last_tid: Tid,
    pub(crate) max_oid: Option<Oid>,
    /// Newest first.
    pub(crate) last_transactions: Vec<(Tid, Vec<Oid>)>,
    /// All transactions above this tid that have records are in `last_transactions`.
    pub(crate) complete_above: Tid,
}

/// Where the last segment stops being right.
struct Tail {
    end: u64,
    torn: Option<&'static str>,
}

struct Recovery<'a> {
    files: &'a Files,
    index: &'a Index,
    remember: usize,
    found: Recovered,
    due: Vec<(Arc<Segment>, Block)>,
    bytes: u64,
}

impl SegmentLog {
    /// Makes an empty log in `dir`.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
    ) -> Result<(), OpenError> {
        let files = Files { disk: Arc::clone(disk), dir: dir.to_owned(), identity };
        let path = files.segment_path(1);
        let create = || -> io::Result<()> {
            disk.create_dir(&files.segments_dir())?;
            disk.create_dir(&files.torn_dir())?;
            files.create_segment(1, Tid::ZERO).map(drop)
        };
        create().map_err(OpenError::io(&path))
    }

    /// Opens the log in `dir`, and publishes what is in it to `index`.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: &Options,
        index: &Index,
    ) -> Result<(Self, Recovered), OpenError> {
        let files = Files { disk: Arc::clone(disk), dir: dir.to_owned(), identity };
        let mut numbers = segment_numbers(&files)?;
        let mut recovery = Recovery {
            files: &files,
            index,
            remember: options.invalidation_queue_size,
            found: Recovered::default(),
            due: Vec::new(),
            bytes: 0,
        };
        let unfinished = unfinished_segment(&files, &numbers)?;
        if unfinished.is_some() {
            numbers.pop();
        }
        let mut segments = Vec::new();
        let mut tail = Tail { end: 0, torn: None };
        for number in &numbers {
            let last = Some(number) == numbers.last();
            let (segment, end) = recovery.segment(*number, last)?;
            segments.push(segment);
            tail = end;
        }
        let Some(active) = segments.last().cloned() else {
            return Err(OpenError::Missing(files.segment_path(1)));
        };
        // Only now, when all is known to be right, is anything changed.
        if let Some(path) = unfinished {
            disk.remove(&path).map_err(OpenError::io(&path))?;
        }
        settle(&files, &active, &tail).map_err(OpenError::io(&active.path))?;
        let Recovery { found, mut due, bytes, .. } = recovery;
        let block = match due.pop() {
            Some((segment, block)) if segment.number == active.number => block,
            other => {
                due.extend(other);
                Block::empty(tail.end)
            }
        };
        let writer = Writer {
            segment: Arc::clone(&active),
            tail: tail.end,
            durable: tail.end,
            last_tid: found.last_tid,
            block,
        };
        let log = Self {
            sync: options.sync,
            segment_bytes: options.segment_bytes,
            segments: ArcSwap::from_pointee(segments),
            cache: RecordCache::new(options.cache_bytes),
            writer: Mutex::new(writer),
            space: Mutex::new(Space::new(active, tail.end)),
            due: Mutex::new(due.into()),
            checkpointing: Mutex::default(),
            bytes: AtomicU64::new(bytes),
            files,
        };
        Ok((log, found))
    }
}

/// Makes the last segment durable as far as it is right, and sets aside the rest.
fn settle(files: &Files, active: &Segment, tail: &Tail) -> io::Result<()> {
    if let Some(fault) = tail.torn {
        set_aside(files, active, tail.end, fault)?;
    }
    // What a killed process had written may be in memory only, and is now seen by all.
    active.file.sync()?;
    files.disk.sync_dir(&files.segments_dir())
}

impl Recovery<'_> {
    /// Learns what is in a segment; `last`: it may be torn.
    fn segment(&mut self, number: u32, last: bool) -> Result<(Arc<Segment>, Tail), OpenError> {
        let path = self.files.segment_path(number);
        let file = self.files.disk.open(&path, Open::Existing).map_err(OpenError::io(&path))?;
        let len = file.len().map_err(OpenError::io(&path))?;
        self.check_header(&*file, number, &path)?;
        let start = SEGMENT_HEADER_BYTES as u64;
        let sidecar = self.sidecar(number, start, len)?;
        let segment = Arc::new(Segment {
            number,
            path: path.clone(),
            file: Arc::clone(&file),
            sidecar_bytes: AtomicU64::new(sidecar.as_ref().map_or(0, |found| found.right_bytes)),
        });
        let mut covered = start;
        for block in sidecar.into_iter().flat_map(|sidecar| sidecar.blocks) {
            self.advance(block.last_tid, &block.entries, covered, &path)?;
            covered = block.to;
        }
        let mut block = Block::empty(covered);
        let mut scanner = Scanner::new(Arc::clone(&file), number, covered, self.files.identity)
            .map_err(OpenError::io(&path))?;
        let mut torn = None;
        loop {
            match scanner.next().map_err(OpenError::io(&path))? {
                Scanned::Transaction(transaction) => {
                    self.advance(transaction.tid, &transaction.entries, block.to, &path)?;
                    block.last_tid = transaction.tid;
                    block.entries.extend(transaction.entries);
                    block.to = transaction.end;
                }
                Scanned::End => break,
                Scanned::Fault(fault) => {
                    self.must_be_torn(&file, &path, block.to, last, fault)?;
                    torn = Some(fault);
                    break;
                }
            }
        }
        let end = block.to;
        self.bytes += end;
        if block.to > block.from {
            self.due.push((Arc::clone(&segment), block));
        }
        Ok((segment, Tail { end, torn }))
    }

    fn check_header(&self, file: &dyn File, number: u32, path: &Path) -> Result<(), OpenError> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let damaged = |what| OpenError::Damaged { path: path.to_owned(), offset: 0, what };
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("the file is shorter than its header"));
            }
            other => other.map_err(OpenError::io(path))?,
        }
        match SegmentHeader::decode(&header, self.files.identity) {
            None => Err(damaged("no segment header of this storage")),
            Some(header) if header.number != number => {
                Err(damaged("the header is that of another segment"))
            }
            Some(header) if header.previous != self.found.last_tid => {
                Err(damaged("the segment does not continue the one before"))
            }
            Some(_) => Ok(()),
        }
    }

    fn sidecar(&self, number: u32, from: u64, len: u64) -> Result<Option<Sidecar>, OpenError> {
        let path = self.files.sidecar_path(number);
        let file = match self.files.disk.open(&path, Open::Existing) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io(&path)(error)),
        };
        let sidecar = Sidecar::read(&*file, number, from, len, self.files.identity)
            .map_err(OpenError::io(&path))?;
        if sidecar.damaged {
            tracing::warn!("{} is damaged; its segment is read instead", path.display());
        }
        Ok(Some(sidecar))
    }

    /// Takes in transactions, the last of which is `last_tid`.
    fn advance(
        &mut self,
        last_tid: Tid,
        entries: &[Entry],
        offset: u64,
        path: &Path,
    ) -> Result<(), OpenError> {
        let mut previous = self.found.last_tid;
        if last_tid <= previous {
            let what = "the transaction ids do not increase";
            return Err(OpenError::Damaged { path: path.to_owned(), offset, what });
        }
        for entry in entries {
            debug_assert!(entry.tid >= previous);
            previous = entry.tid;
            self.index.publish(entry.oid, Revision { tid: entry.tid, place: entry.place });
            self.found.max_oid = self.found.max_oid.max(Some(entry.oid));
        }
        self.found.last_tid = last_tid;
        self.remember(scan::last_transactions(entries, self.remember + 1));
        Ok(())
    }

    /// Keeps the newest transactions; `newer` are newest first.
    fn remember(&mut self, mut newer: Vec<(Tid, Vec<Oid>)>) {
        newer.append(&mut self.found.last_transactions);
        if let Some((tid, _)) = newer.get(self.remember) {
            self.found.complete_above = *tid;
        }
        newer.truncate(self.remember);
        self.found.last_transactions = newer;
    }

    /// A fault at the end of the last segment is what a crash leaves; any other is damage.
    fn must_be_torn(
        &self,
        file: &Arc<dyn File>,
        path: &Path,
        offset: u64,
        last: bool,
        what: &'static str,
    ) -> Result<(), OpenError> {
        let proof = scan::proof_of_durability(file, offset, self.files.identity)
            .map_err(OpenError::io(path))?;
        if last && proof.is_none() {
            return Ok(());
        }
        Err(OpenError::Damaged { path: path.to_owned(), offset, what })
    }
}

/// The numbers of the segments, which are 1, 2, ... without a gap.
fn segment_numbers(files: &Files) -> Result<Vec<u32>, OpenError> {
    let dir = files.segments_dir();
    let names = files.disk.list(&dir).map_err(OpenError::io(&dir))?;
    let mut numbers: Vec<u32> =
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    numbers.sort_unstable();
    match (1..).zip(&numbers).find(|(expected, number)| expected != *number) {
        Some((expected, _)) => Err(OpenError::Missing(files.segment_path(expected))),
        None => Ok(numbers),
    }
}

/// The last segment, if it holds nothing: a crash or a fault came before it was used, and the one
/// before it may have gone on growing.
fn unfinished_segment(files: &Files, numbers: &[u32]) -> Result<Option<PathBuf>, OpenError> {
    let Some(&number) = numbers.last().filter(|number| **number > 1) else {
        return Ok(None);
    };
    let path = files.segment_path(number);
    let file = files.disk.open(&path, Open::Existing).map_err(OpenError::io(&path))?;
    let len = file.len().map_err(OpenError::io(&path))?;
    Ok((len <= SEGMENT_HEADER_BYTES as u64).then_some(path))
}

/// Copies what is behind `end` to a file of its own, durably, and cuts it off.
fn set_aside(files: &Files, segment: &Segment, end: u64, fault: &str) -> io::Result<()> {
    let len = segment.file.len()?;
    let path = unused_torn_path(files, segment.number, end)?;
    let copy = files.disk.open(&path, Open::New)?;
    let mut piece = vec![0; 1 << 20];
    let mut offset = end;
    while offset < len {
        let wanted = usize::try_from(len - offset).unwrap_or(usize::MAX).min(piece.len());
        let piece = piece.get_mut(..wanted).unwrap_or_default();
        segment.file.read_exact_at(piece, offset)?;
        copy.write_all_at(&[IoSlice::new(piece)], offset - end)?;
        offset += wanted as u64;
    }
    copy.sync()?;
    files.disk.sync_dir(&files.torn_dir())?;
    segment.file.set_len(end)?;
    tracing::warn!(
        "{}: {fault} at offset {end}: {} bytes that no finished transaction needs were moved to {}",
        segment.path.display(),
        len - end,
        path.display()
    );
    Ok(())
}

/// A name that no earlier recovery has used: what it set aside may be all that is left of it.
fn unused_torn_path(files: &Files, segment: u32, end: u64) -> io::Result<PathBuf> {
    let dir = files.torn_dir();
    let used = files.disk.list(&dir)?;
    let mut names = (1_u32..).map(|attempt| format!("{segment:08}-{end}-{attempt}.torn"));
    let name = names.find(|name| !used.contains(name)).ok_or(io::ErrorKind::AlreadyExists)?;
    Ok(dir.join(name))
}
