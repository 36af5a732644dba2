//! Writes segments anew, without what a pack drops.
//!
//! The new file is whole and durable under another name before one rename puts it in the place of
//! the old one, so a crash leaves either. A segment's last transaction always stays, if need be
//! without records: the next segment's header names it. The index file is that of the old segment
//! and goes; its checksums also cover how often the segment was rewritten, so that one that a crash
//! brings back is not taken for the new one's.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use protocol::{Failure, Oid, Tid};

use super::format::{
    RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, TRAILER_BYTES,
    TRANSACTION_HEADER_BYTES, TransactionHeader, new_digest, padded,
};
use super::marks::Marks;
use super::scan::{Scanned, Scanner, Transaction};
use super::sidecar::{Block, Entry, Sidecar};
use super::writer::Output;
use super::{Files, Segment, SegmentLog, format, numbered};
use crate::disk::Open;
use crate::index::Place;
use crate::log::{Plan, RecordLog as _, Rewritten};
use crate::open::Sync;

/// What a disk must have beyond the segment that is written anew, so that commits go on.
const MARGIN_BYTES: u64 = 16 << 20;

const PIECE_BYTES: usize = 1 << 20;

const START: u64 = SEGMENT_HEADER_BYTES as u64;

impl SegmentLog {
    /// The numbers of the segments that may have transactions up to `to`.
    pub(super) fn numbers_up_to(&self, to: Tid) -> Result<Vec<u32>, Failure> {
        if self.sync == Sync::None {
            // Or a power cut could take what has superseded what the pack drops.
            let (segment, tail) = {
                let writer = self.writer();
                (Arc::clone(&writer.segment), writer.tail)
            };
            let durable = self.make_durable(&segment, tail);
            durable.map_err(|error| trouble(&segment.path, tail, &error))?;
        }
        let segments = self.segments.load();
        let asked = segments.iter().take_while(|segment| segment.marks.first().after < to);
        let asked: Vec<_> = asked.collect();
        let largest = asked.iter().map(|segment| segment.marks.end()).max().unwrap_or(0);
        self.check_space(largest)?;
        Ok(asked.iter().map(|segment| segment.number).collect())
    }

    pub(super) fn visit_segment(
        &self,
        number: u32,
        each: &mut dyn FnMut(Oid, Tid),
    ) -> Result<(), Failure> {
        let segment = self.numbered(number)?;
        let mut each = |entries: &[Entry]| {
            entries.iter().for_each(|entry| each(entry.oid, entry.tid));
        };
        let end = segment.marks.end();
        let mut covered = START;
        let blocks = self.files.sidecar_blocks(&segment, end);
        for block in blocks.iter().take_while(|block| block.to <= end) {
            each(&block.entries);
            covered = block.to;
        }
        self.scan(&segment, covered, end, |_, transaction| {
            each(&transaction.entries);
            Ok(true)
        })
        .map(drop)
    }

    /// Reads the whole transactions from `at` up to `end`, with their offsets, while `each` wants
    /// more; whether it wanted all.
    fn scan(
        &self,
        segment: &Segment,
        mut at: u64,
        end: u64,
        mut each: impl FnMut(u64, Transaction) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let failed = |offset, error: &dyn std::fmt::Display| trouble(&segment.path, offset, error);
        let file = Arc::clone(&segment.file);
        let mut scanner = Scanner::new(file, segment.slot, at, self.files.identity)
            .map_err(|error| failed(at, &error))?;
        while at < end {
            match scanner.next().map_err(|error| failed(at, &error))? {
                Scanned::Transaction(transaction) => {
                    let next = transaction.end;
                    if !each(at, transaction)? {
                        return Ok(false);
                    }
                    at = next;
                }
                Scanned::End => return Err(failed(at, &"the file has ended")),
                Scanned::Fault(fault) => return Err(failed(at, &fault)),
            }
        }
        Ok(true)
    }

    pub(super) fn rewrite_segment(
        &self,
        number: u32,
        plan: &mut Plan<'_>,
    ) -> Result<Rewritten, Failure> {
        self.close_segment(number)?;
        let old = self.numbered(number)?;
        self.check_space(old.marks.end())?;
        let path = self.files.new_path(number);
        let copied = self.copy(&old, &path, plan);
        let Ok(Some(copy)) = copied else {
            // A part of it is of no use; the next start removes what cannot be removed now.
            let _ = self.files.disk.remove(&path);
            return copied.map(|_| Rewritten::Cancelled);
        };
        let freed = old.marks.end().saturating_sub(copy.segment.marks.end());
        self.swap(old, copy, &path, plan).inspect_err(|_| {
            // If it was not renamed, it is of no use either.
            let _ = self.files.disk.remove(&path);
        })?;
        self.bytes.fetch_sub(freed, std::sync::atomic::Ordering::Relaxed);
        Ok(Rewritten::Freed(freed))
    }

    /// Sees to it that nothing is appended to a segment any more.
    fn close_segment(&self, number: u32) -> Result<(), Failure> {
        let mut writer = self.writer();
        if writer.segment.number == number {
            let rolled = self.try_roll(&mut writer);
            rolled.map_err(|error| trouble(&writer.segment.path, writer.tail, &error))?;
        }
        Ok(())
    }

    fn check_space(&self, needed: u64) -> Result<(), Failure> {
        let dir = self.files.segments_dir();
        let free = self.files.disk.free_bytes(&dir).map_err(|error| trouble(&dir, 0, &error))?;
        if free < needed.saturating_add(MARGIN_BYTES) {
            return Err(Failure::Storage(format!(
                "{}: {free} bytes are free, and a pack needs {needed} and {MARGIN_BYTES} more",
                dir.display()
            )));
        }
        Ok(())
    }

    fn numbered(&self, number: u32) -> Result<Arc<Segment>, Failure> {
        let segments = self.segments.load();
        let segment = numbered(&segments, number).map(Arc::clone);
        segment.ok_or_else(|| Failure::Storage(format!("there is no segment {number}")))
    }

    /// Copies what is kept of a closed segment; `None`: cancelled.
    fn copy(&self, old: &Segment, path: &Path, plan: &Plan<'_>) -> Result<Option<Copy>, Failure> {
        let failed = |error: io::Error| trouble(path, 0, &error);
        let previous = old.marks.first().after;
        let last = self.numbered(old.number + 1)?.marks.first().after;
        let generation = format::generation(old.slot) + 1;
        let file = self.files.open_segment(path, Open::Truncated).map_err(failed)?;
        let marks = Marks::new(previous);
        let slot = format::slot(old.number, generation);
        let segment = Segment::new(old.number, slot, old.path.clone(), file, marks);
        let mut out = Output { file: &*segment.file, offset: 0, piece: Vec::new() };
        let header = SegmentHeader { number: old.number, generation, previous };
        out.put(&header.encode(self.files.identity)).map_err(failed)?;
        let mut block = Block::empty(START);
        let whole = self.scan(old, START, old.marks.end(), |at, transaction| {
            let keeps = |entry: &Entry| entry.tid > plan.to || (plan.keeps)(entry.oid, entry.tid);
            let position = transaction.header.position();
            let tid = position.tid;
            let kept: Vec<_> = transaction.entries.into_iter().filter(keeps).collect();
            if tid > plan.to || tid == last || !kept.is_empty() {
                let copied = self.copy_transaction(old, at, &kept, slot, &mut out, &mut block);
                copied.map_err(|error| trouble(&old.path, at, &error))?;
                block.last = position;
                segment.marks.grow(tid, out.position());
            }
            Ok(!(plan.is_cancelled)())
        })?;
        if !whole {
            return Ok(None);
        }
        out.flush().map_err(failed)?;
        block.to = out.offset;
        segment.file.sync().map_err(failed)?;
        Ok(Some(Copy { segment, block }))
    }

    /// Appends a transaction of `old`, at `at`, with those of its records that are kept.
    fn copy_transaction(
        &self,
        old: &Segment,
        at: u64,
        kept: &[Entry],
        slot: u32,
        out: &mut Output<'_>,
        block: &mut Block,
    ) -> io::Result<()> {
        let mut bytes = [0; TRANSACTION_HEADER_BYTES];
        old.file.read_exact_at(&mut bytes, at)?;
        let header = TransactionHeader::decode(&bytes, self.files.identity);
        let mut header = header.ok_or(io::ErrorKind::InvalidData)?;
        let meta_at = at + TRANSACTION_HEADER_BYTES as u64;
        let mut meta = vec![0; usize::try_from(header.meta_bytes()).map_err(io::Error::other)?];
        old.file.read_exact_at(&mut meta, meta_at)?;
        let mut digest = new_digest();
        digest.update(&meta);
        let mut record_bytes = 0;
        for entry in kept {
            let mut bytes = [0; RECORD_HEADER_BYTES];
            old.file.read_exact_at(&mut bytes, entry.place.offset)?;
            digest.update(&bytes);
            record_bytes += extent(&bytes)?;
        }
        header.records = kept.len() as u32;
        header.body_crc = digest.finalize() as u32;
        header.durable_to = out.position();
        let fixed = (TRANSACTION_HEADER_BYTES + TRAILER_BYTES) as u64;
        header.total_bytes = fixed + padded(header.meta_bytes()) + record_bytes;
        let start = out.position();
        out.put(&header.encode(self.files.identity))?;
        out.put(&meta)?;
        out.pad_to(start + TRANSACTION_HEADER_BYTES as u64 + padded(header.meta_bytes()))?;
        for entry in kept {
            let offset = out.position();
            let place = Place { offset, segment: slot, ..entry.place };
            let bytes = RECORD_HEADER_BYTES as u64 + padded(place.data_bytes().into());
            copy_bytes(old, entry.place.offset, bytes, out)?;
            block.entries.push(Entry { place, ..*entry });
        }
        out.put(&header.total_bytes.to_le_bytes())
    }

    /// Puts the new file in the place of the old one, and tells where everything is now.
    fn swap(
        &self,
        old: Arc<Segment>,
        copy: Copy,
        path: &Path,
        plan: &mut Plan<'_>,
    ) -> Result<(), Failure> {
        let Copy { segment, block } = copy;
        let number = segment.number;
        let segment = Arc::new(segment);
        let dir = self.files.segments_dir();
        let failed = |error: io::Error| trouble(&dir, 0, &error);
        let one_at_a_time = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let disk = &*self.files.disk;
        match disk.remove(&self.files.sidecar_path(number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => disk.sync_dir(&dir).map_err(failed)?,
        }
        disk.rename(path, &old.path).map_err(failed)?;
        if segment.slot < old.slot {
            // Generations begin again: a record that was kept from long ago would be of this file.
            self.cache.clear();
        }
        // From here on the new file is the one: whatever is lost of the rename, both are right.
        segment.replaced.store(Some(old));
        {
            let _nobody_rolls = self.writer();
            let mut segments = Vec::clone(&self.segments.load());
            let replaced = segments.iter_mut().filter(|segment| segment.number == number);
            replaced.for_each(|place| *place = Arc::clone(&segment));
            self.segments.store(Arc::new(segments));
            let mut due = self.due();
            due.retain(|(segment, _)| segment.number != number);
            due.push_back((Arc::clone(&segment), block.clone()));
        }
        drop(one_at_a_time);
        (plan.await_published)();
        for Entry { oid, tid, place } in &block.entries {
            (plan.moved)(*oid, *tid, *place);
        }
        // Whoever has looked up an old place until now looks it up again.
        segment.replaced.store(None);
        disk.sync_dir(&dir).map_err(failed)?;
        self.checkpoint();
        Ok(())
    }
}

/// A segment that is not in its place yet.
struct Copy {
    segment: Segment,
    block: Block,
}

impl Files {
    /// What the index file of a segment says of it, as far as that is right.
    fn sidecar_blocks(&self, segment: &Segment, end: u64) -> Vec<Block> {
        let read = || -> io::Result<Sidecar> {
            let file = self.disk.open(&self.sidecar_path(segment.number), Open::Existing)?;
            Sidecar::read(&*file, segment.slot, START, end, self.identity)
        };
        // What it does not say is read from the segment.
        read().map_or_else(|_| Vec::new(), |sidecar| sidecar.blocks)
    }
}

/// What a record takes, by its header.
fn extent(header: &[u8; RECORD_HEADER_BYTES]) -> io::Result<u64> {
    let header = RecordHeader::decode(header).ok_or(io::ErrorKind::InvalidData)?;
    Ok(RECORD_HEADER_BYTES as u64 + padded(header.data_bytes()))
}

fn copy_bytes(from: &Segment, mut at: u64, bytes: u64, out: &mut Output<'_>) -> io::Result<()> {
    let end = at + bytes;
    let mut piece = Vec::new();
    while at < end {
        piece.resize(usize::try_from(end - at).unwrap_or(usize::MAX).min(PIECE_BYTES), 0);
        from.file.read_exact_at(&mut piece, at)?;
        out.put(&piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}

fn trouble(path: &Path, offset: u64, what: &dyn std::fmt::Display) -> Failure {
    Failure::Storage(format!("packing {} at offset {offset}: {what}", path.display()))
}
