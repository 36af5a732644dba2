//! Reads all of a segment and goes on after what is wrong.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::Tid;

use super::format::{
    self, ALIGNMENT, Identity, SEGMENT_HEADER_BYTES, SegmentHeader, TransactionHeader,
};
use super::scan::{Scanned, Scanner, find_header, proof_of_durability};
use super::view::{LogView, Torn};
use super::{Files, SEGMENTS, sidecar::Entry};
use crate::disk::{self, Disk, File, Open};
use crate::index::Revision;
use crate::log::{Digest, Position};
use crate::open::Reads;

/// A segment that is to be checked.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    number: u32,
    slot: u32,
    file: Arc<dyn File>,
    /// Where the log ends in it, as far as a start has found that.
    pub(crate) end: u64,
    identity: Identity,
    /// What its header says is the last tid before it; `None`: it says nothing.
    pub(crate) previous: Option<Tid>,
    /// It may end with a write that was interrupted.
    is_last: bool,
    /// What is up to here may not be all that there was.
    packed_to: Tid,
}

/// What is in a segment.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) transactions: u64,
    pub(crate) first: Option<Tid>,
    pub(crate) last: Option<Tid>,
    /// Of the last transaction, if nothing is wrong before it.
    digest: Option<Digest>,
    /// Of the first one, where that is not checked yet.
    start: Option<TransactionHeader>,
    pub(crate) torn: Option<Torn>,
    /// Offsets, and what is wrong there.
    pub(crate) faults: Vec<(u64, String)>,
    pub(crate) interrupted: bool,
}

impl LogView {
    /// The segments, held as they were.
    pub(crate) fn check_parts(&self, packed_to: Tid) -> Vec<Part> {
        let segments = self.segments.load();
        let part = |segment: &Arc<super::Segment>| Part {
            path: segment.path.clone(),
            number: segment.number,
            slot: segment.slot,
            file: Arc::clone(&segment.file),
            end: segment.marks.end(),
            identity: self.files.identity,
            previous: Some(segment.marks.first().after),
            is_last: false,
            packed_to,
        };
        segments.iter().map(part).collect()
    }
}

impl Part {
    /// The segments that are in `dir`, whatever is wrong with them.
    pub(crate) fn find(
        disk: &Arc<dyn Disk>,
        dir: &std::path::Path,
        identity: Identity,
    ) -> io::Result<Vec<Self>> {
        let reads = Reads::Pread;
        let files = Files { disk: Arc::clone(disk), dir: dir.to_owned(), identity, reads };
        let names = disk::list_if_there(&**disk, &dir.join(SEGMENTS))?;
        let mut numbers: Vec<u32> =
            names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
        numbers.sort_unstable();
        let mut parts = Vec::new();
        for &number in &numbers {
            let path = files.segment_path(number);
            let file = disk.open(&path, Open::Existing)?;
            let end = file.len()?;
            let mut bytes = [0; SEGMENT_HEADER_BYTES];
            let header = file.read_exact_at(&mut bytes, 0).ok();
            let header = header.and_then(|()| SegmentHeader::decode(&bytes, identity));
            let header = header.filter(|header| header.number == number);
            let slot = format::slot(number, header.map_or(0, |header| header.generation));
            let previous = header.map(|header| header.previous);
            let is_last = Some(&number) == numbers.last();
            // What a pack has dropped is not looked into where a start finds damage.
            let packed_to = Tid::MAX;
            parts.push(Self {
                path,
                number,
                slot,
                file,
                end,
                identity,
                previous,
                is_last,
                packed_to,
            });
        }
        Ok(parts)
    }

    /// Reads all of it. `each` is told of every record, and `goes_on` how many more bytes were read.
    pub(crate) fn check(
        &self,
        each: &mut dyn FnMut(protocol::Oid, Revision),
        goes_on: &dyn Fn(u64) -> bool,
    ) -> Checked {
        let mut found = Checked::default();
        let mut at = Some(SEGMENT_HEADER_BYTES as u64);
        if self.previous.is_none() {
            found.faults.push((0, "no segment header of this storage".to_owned()));
        }
        if !goes_on(SEGMENT_HEADER_BYTES as u64) {
            found.interrupted = true;
            return found;
        }
        while let Some(from) = at.filter(|at| *at < self.end) {
            at = match self.run(from, &mut found, each, goes_on) {
                Ok(next) => next,
                Err(error) => {
                    found.faults.push((from, error.to_string()));
                    None
                }
            };
        }
        found
    }

    /// Reads on from `from`, where a transaction begins; where one begins again after a fault.
    fn run(
        &self,
        mut from: u64,
        found: &mut Checked,
        each: &mut dyn FnMut(protocol::Oid, Revision),
        goes_on: &dyn Fn(u64) -> bool,
    ) -> io::Result<Option<u64>> {
        let mut scanner = Scanner::new(Arc::clone(&self.file), self.slot, from, self.identity)?;
        while from < self.end {
            match scanner.next()? {
                Scanned::Transaction(transaction) => {
                    self.link(&transaction.header, from, found);
                    for Entry { oid, tid, place } in transaction.entries {
                        each(oid, Revision { tid, place });
                    }
                    if !goes_on(transaction.end - from) {
                        found.interrupted = true;
                        return Ok(None);
                    }
                    from = transaction.end;
                }
                Scanned::End => return Ok(None),
                Scanned::Fault(what) => {
                    let is_durable =
                        proof_of_durability(&self.file, from, self.identity)?.is_some();
                    if self.is_last && !is_durable {
                        found.torn = Some(Torn { path: self.path.clone(), offset: from, what });
                        return Ok(None);
                    }
                    found.faults.push((from, what.to_owned()));
                    found.digest = None;
                    return find_header(&self.file, from + ALIGNMENT, self.identity, |_| true);
                }
            }
        }
        Ok(None)
    }

    /// Takes in a transaction, at `from`, that must continue what is before it.
    fn link(&self, header: &TransactionHeader, from: u64, found: &mut Checked) {
        let Position { tid, digest } = header.position();
        if found.last.or(self.previous).is_some_and(|last| last >= tid) {
            found.faults.push((from, "the transaction ids do not increase".to_owned()));
        }
        match found.digest {
            Some(before) if tid > self.packed_to && !header.continues(before) => {
                found.faults.push((from, NOT_CONTINUED.to_owned()));
            }
            None if found.transactions == 0 && found.faults.is_empty() && tid > self.packed_to => {
                found.start = Some(*header);
            }
            _ => {}
        }
        found.transactions += 1;
        found.first.get_or_insert(tid);
        (found.last, found.digest) = (Some(tid), Some(digest));
    }

    /// Whether it comes right after `other`.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        self.number.checked_sub(1) == Some(other.number)
    }
}

impl Checked {
    /// Whether the first transaction continues one whose digest is `before`, and what the digest is
    /// then, as far as both are known.
    pub(crate) fn follow(&mut self, before: Option<Digest>) -> Option<Digest> {
        if let (Some(before), Some(start)) = (before, self.start)
            && !start.continues(before)
        {
            self.faults.push((SEGMENT_HEADER_BYTES as u64, NOT_CONTINUED.to_owned()));
        }
        if self.transactions == 0 { before } else { self.digest }
    }
}

const NOT_CONTINUED: &str = "the transaction does not continue the history before it";
