//! Reads a log at a start: finds where it ends, tells the index what is in it, and refuses damage.
//! Nothing is changed here; that is for `settle`.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::{Oid, Tid};

use super::format::{Identity, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::marks::Marks;
use super::scan::{self, Scanned, Scanner};
use super::settle::{Survey, Tail, Unfinished};
use super::sidecar::{Block, Entry, Sidecar};
use super::{Files, Segment, format};
use crate::disk::{Disk, File, Open};
use crate::index::{Index, Revision};
use crate::log::Position;
use crate::open::{OpenError, Options};

/// What a start learns from the log, besides the index.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) last: Position,
    pub(crate) max_oid: Option<Oid>,
    /// Oldest first.
    pub(crate) last_transactions: VecDeque<(Tid, Vec<Oid>)>,
    /// All transactions above this tid that have records are in `last_transactions`.
    pub(crate) complete_above: Tid,
}

struct Recovery<'a> {
    files: &'a Files,
    index: &'a Index,
    /// How many transactions [`Recovered::last_transactions`] keeps.
    remember: usize,
    found: Recovered,
    due: Vec<(Arc<Segment>, Block)>,
    bytes: u64,
    notes: Vec<String>,
}

impl Survey {
    /// Reads the log in `dir`, publishes what is in it to `index`, and remembers as many of the last
    /// transactions as `options` want.
    pub(crate) fn read(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        index: &Index,
        options: &Options,
    ) -> Result<(Self, Recovered), OpenError> {
        let reads = options.reads;
        let files = Files { disk: Arc::clone(disk), dir: dir.to_owned(), identity, reads };
        let mut numbers = segment_numbers(&files)?;
        let mut recovery = Recovery {
            files: &files,
            index,
            remember: options.invalidation_queue_size,
            found: Recovered::default(),
            due: Vec::new(),
            bytes: 0,
            notes: Vec::new(),
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
        let Recovery { found, due, bytes, notes, .. } = recovery;
        if unfinished.as_ref().is_some_and(|next| next.previous > found.last.tid) {
            let what = "transactions are missing that the next segment follows";
            return Err(OpenError::Damaged { path: active.path.clone(), offset: tail.end, what });
        }
        let last = found.last;
        let survey = Self { files, segments, active, tail, unfinished, due, bytes, last, notes };
        Ok((survey, found))
    }
}

impl Recovery<'_> {
    /// Learns what is in a segment; `last`: it may be torn.
    fn segment(&mut self, number: u32, last: bool) -> Result<(Arc<Segment>, Tail), OpenError> {
        let path = self.files.segment_path(number);
        // Opened first: where a server writes meanwhile, it must not say more than the segment has.
        let index = self.files.disk.open(&self.files.sidecar_path(number), Open::Existing);
        let file = self.files.open_segment(&path, Open::Existing).map_err(OpenError::io(&path))?;
        let len = file.len().map_err(OpenError::io(&path))?;
        let slot = format::slot(number, self.check_header(&*file, number, &path)?.generation);
        let start = SEGMENT_HEADER_BYTES as u64;
        let sidecar = self.sidecar(index, number, slot, start, len);
        if sidecar.as_ref().is_some_and(|sidecar| sidecar.exceeds) {
            return Err(OpenError::Damaged { path, offset: len, what: SHORTER_THAN_INDEX });
        }
        let marks = Marks::new(self.found.last.tid);
        let segment = Segment::new(number, slot, path.clone(), Arc::clone(&file), marks);
        let right_bytes = sidecar.as_ref().map_or(0, |found| found.right_bytes);
        segment.sidecar_bytes.store(right_bytes, Ordering::Relaxed);
        let segment = Arc::new(segment);
        let mut covered = start;
        for block in sidecar.into_iter().flat_map(|sidecar| sidecar.blocks) {
            self.advance(block.last, &block.entries, covered, &path)?;
            covered = block.to;
            segment.marks.grow(block.last.tid, covered);
        }
        let (block, torn) = self.scan(&segment, covered, last)?;
        let end = block.to;
        self.bytes += end;
        if block.to > block.from {
            self.due.push((Arc::clone(&segment), block));
        }
        Ok((segment, Tail { end, torn }))
    }

    /// Reads a segment from `covered` on; also returns what ends it, if that is no end of file.
    fn scan(
        &mut self,
        segment: &Segment,
        covered: u64,
        last: bool,
    ) -> Result<(Block, Option<&'static str>), OpenError> {
        let Segment { slot, ref path, ref file, ref marks, .. } = *segment;
        let mut block = Block::empty(covered);
        let mut scanner = Scanner::new(Arc::clone(file), slot, covered, self.files.identity)
            .map_err(OpenError::io(path))?;
        loop {
            let scanned = scanner.next();
            match scanned.map_err(OpenError::read(path, scanner.position()))? {
                Scanned::Transaction(transaction) => {
                    let position = transaction.header.position();
                    self.advance(position, &transaction.entries, block.to, path)?;
                    block.last = position;
                    block.entries.extend(transaction.entries);
                    block.to = transaction.end;
                    marks.grow(block.last.tid, block.to);
                }
                Scanned::End => return Ok((block, None)),
                Scanned::Fault(fault) => {
                    self.must_be_torn(file, path, block.to, last, fault)?;
                    return Ok((block, Some(fault)));
                }
            }
        }
    }

    fn check_header(
        &self,
        file: &dyn File,
        number: u32,
        path: &Path,
    ) -> Result<SegmentHeader, OpenError> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let damaged = |what| OpenError::Damaged { path: path.to_owned(), offset: 0, what };
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("the file is shorter than its header"));
            }
            other => other.map_err(OpenError::read(path, 0))?,
        }
        match SegmentHeader::decode(&header, self.files.identity) {
            None => Err(damaged("no segment header of this storage")),
            Some(header) if header.number != number => {
                Err(damaged("the header is that of another segment"))
            }
            Some(header) if header.previous != self.found.last.tid => {
                Err(damaged("the segment does not continue the one before"))
            }
            Some(header) => Ok(header),
        }
    }

    /// What the segment's index file says, if it can be read: the segment is the truth.
    fn sidecar(
        &mut self,
        index: io::Result<Arc<dyn File>>,
        number: u32,
        slot: u32,
        from: u64,
        len: u64,
    ) -> Option<Sidecar> {
        let path = self.files.sidecar_path(number);
        match index.and_then(|file| Sidecar::read(&*file, slot, from, len, self.files.identity)) {
            Ok(sidecar) => {
                if sidecar.damaged {
                    let note = format!("{} is damaged; its segment is read", path.display());
                    self.notes.push(note);
                }
                Some(sidecar)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.notes.push(format!("{}: {error}; its segment is read", path.display()));
                None
            }
        }
    }

    /// Takes in transactions, up to `last`.
    fn advance(
        &mut self,
        last: Position,
        entries: &[Entry],
        offset: u64,
        path: &Path,
    ) -> Result<(), OpenError> {
        let mut previous = self.found.last.tid;
        if last.tid <= previous {
            let what = "the transaction ids do not increase";
            return Err(OpenError::Damaged { path: path.to_owned(), offset, what });
        }
        for entry in entries {
            debug_assert!(entry.tid >= previous);
            previous = entry.tid;
            self.index.publish(entry.oid, Revision { tid: entry.tid, place: entry.place });
            self.found.max_oid = self.found.max_oid.max(Some(entry.oid));
        }
        self.found.last = last;
        // One more than is kept, to know up to where what is kept is complete.
        let newest = scan::last_transactions(entries, self.remember.saturating_add(1));
        for transaction in newest.into_iter().rev() {
            self.found.remember(transaction, self.remember);
        }
        Ok(())
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
            .map_err(OpenError::read(path, offset))?;
        if last && proof.is_none() {
            return Ok(());
        }
        Err(OpenError::Damaged { path: path.to_owned(), offset, what })
    }
}

impl Recovered {
    /// Keeps the newest `count` transactions.
    fn remember(&mut self, transaction: (Tid, Vec<Oid>), count: usize) {
        self.last_transactions.push_back(transaction);
        while self.last_transactions.len() > count {
            if let Some((tid, _)) = self.last_transactions.pop_front() {
                self.complete_above = tid;
            }
        }
    }
}

/// The numbers of the segments, which are 1, 2, ... without a gap; no index is without its segment.
fn segment_numbers(files: &Files) -> Result<Vec<u32>, OpenError> {
    let dir = files.segments_dir();
    let names = files.disk.list(&dir).map_err(OpenError::io(&dir))?;
    let with = |suffix: &str| {
        let numbers = names.iter().filter_map(|name| name.strip_suffix(suffix)?.parse().ok());
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        numbers
    };
    let (numbers, indexes) = (with(".log"), with(".idx"));
    let gap = (1..).zip(&numbers).find(|(expected, number)| expected != *number);
    // An index is made when something of its segment is durable, so a crash leaves none alone.
    let orphan = || indexes.into_iter().find(|number| numbers.binary_search(number).is_err());
    match gap.map(|(expected, _)| expected).or_else(orphan) {
        Some(missing) => Err(OpenError::Missing(files.segment_path(missing))),
        None => Ok(numbers),
    }
}

/// The last segment, if it holds nothing: a crash or a fault came before it was used, and the one
/// before it may have gone on growing.
fn unfinished_segment(files: &Files, numbers: &[u32]) -> Result<Option<Unfinished>, OpenError> {
    let Some(&number) = numbers.last() else {
        return Ok(None);
    };
    let path = files.segment_path(number);
    let file = files.disk.open(&path, Open::Existing).map_err(OpenError::io(&path))?;
    let len = file.len().map_err(OpenError::io(&path))?;
    if len > SEGMENT_HEADER_BYTES as u64 {
        return Ok(None);
    }
    match files.disk.open(&files.sidecar_path(number), Open::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        // Even one that cannot be read was made after something of the segment was durable.
        _ => return Err(OpenError::Damaged { path, offset: len, what: SHORTER_THAN_INDEX }),
    }
    if number == 1 {
        return Ok(None);
    }
    let mut header = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_exact_at(&mut header, 0).map_err(OpenError::read(&path, 0))?;
    let header = SegmentHeader::decode(&header, files.identity);
    let header = header.filter(|header| header.number == number);
    Ok(Some(Unfinished { path, previous: header.map_or(Tid::ZERO, |header| header.previous) }))
}

const SHORTER_THAN_INDEX: &str = "the file ends before what its index says was durable";
