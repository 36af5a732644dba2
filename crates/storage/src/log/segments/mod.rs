//! The native log: segment files in a directory.
//!
//! ```text
//! DIR/segments/00000001.log   a segment: see `format`
//! DIR/segments/00000001.idx   its index, for fast starts: see `sidecar`
//! DIR/segments/00000001.new   what a pack writes, to replace the segment: see `rewrite`
//! DIR/torn/                   what a crash left half written at the end of the log
//! ```

mod cache;
mod check;
mod cursor;
mod format;
mod lookup;
mod marks;
mod recover;
mod rewrite;
mod scan;
mod settle;
mod sidecar;
mod space;
mod view;
mod writer;

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use protocol::{Failure, Oid, Tid};

pub(crate) use check::{Checked, Part};
pub(crate) use format::{Identity, digest_after};
pub(crate) use recover::Recovered;
pub(crate) use settle::Survey;
pub use view::Torn;
pub(crate) use view::{LogView, ViewCursor};

use super::read::LogCursor;
use super::{
    AppendError, At, Followed, LogTransaction, Plan, Position, Record, RecordLog, Rewritten,
};
use crate::api::Meta;
use crate::disk::{Disk, File, MappedFile, Open};
use crate::index::Place;
use crate::metrics::{Histogram, Measures};
use crate::open::{Reads, Sync};
use cache::RecordCache;
use cursor::SegmentCursor;
use format::{RECORD_HEADER_BYTES, RecordHeader};
use lookup::{damaged, is_whole, numbered, segment_of};
use marks::Marks;
use sidecar::Block;
use space::Space;
use writer::Writer;

/// When so many bytes of the log are in no sidecar, a checkpoint is due: a start reads at most
/// about as much.
const CHECKPOINT_BYTES: u64 = 32 << 20;

const SEGMENTS: &str = "segments";
const TORN: &str = "torn";
const NEW: &str = ".new";

/// See the module.
#[derive(Debug)]
pub(crate) struct SegmentLog {
    files: Files,
    sync: Sync,
    segment_bytes: u64,
    /// By number; the first one is number 1. Cursors share it.
    segments: Arc<ArcSwap<Vec<Arc<Segment>>>>,
    cache: RecordCache,
    writer: Mutex<Writer>,
    space: Space,
    /// Blocks that belong into sidecars and are not there yet.
    due: Mutex<VecDeque<(Arc<Segment>, Block)>>,
    /// Held by the one thread that writes sidecars.
    checkpointing: Mutex<()>,
    bytes: AtomicU64,
    syncs: Histogram,
}

/// Where the log is.
#[derive(Clone, Debug)]
struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: Identity,
    reads: Reads,
}

/// A segment file.
#[derive(Debug)]
struct Segment {
    number: u32,
    /// Its number, and how often it was rewritten: see [`format::slot`].
    slot: u32,
    path: PathBuf,
    file: Arc<dyn File>,
    marks: Marks,
    /// Length of the part of its sidecar that is right.
    sidecar_bytes: AtomicU64,
    /// Whether a block could not be written to its sidecar: later ones do not fit behind the gap,
    /// and after a failed sync a later one proves nothing.
    sidecar_ended: AtomicBool,
    /// The file that this one has replaced, while the index may still name places in it.
    replaced: ArcSwapOption<Self>,
}

/// The file name of a segment.
fn log_name(number: u32) -> String {
    format!("{number:08}.log")
}

impl Segment {
    fn new(number: u32, slot: u32, path: PathBuf, file: Arc<dyn File>, marks: Marks) -> Self {
        Self {
            number,
            slot,
            path,
            file,
            marks,
            sidecar_bytes: AtomicU64::new(0),
            sidecar_ended: AtomicBool::new(false),
            replaced: ArcSwapOption::empty(),
        }
    }
}

impl Files {
    fn segments_dir(&self) -> PathBuf {
        self.dir.join(SEGMENTS)
    }

    fn segment_path(&self, number: u32) -> PathBuf {
        self.segments_dir().join(log_name(number))
    }

    fn open_segment(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, how)?;
        match self.reads {
            Reads::Pread => Ok(file),
            Reads::Mapped => Ok(Arc::new(MappedFile::new(file)?)),
        }
    }

    fn sidecar_path(&self, number: u32) -> PathBuf {
        self.segments_dir().join(format!("{number:08}.idx"))
    }

    /// Where a pack writes a segment anew.
    fn new_path(&self, number: u32) -> PathBuf {
        self.segments_dir().join(format!("{number:08}{NEW}"))
    }

    fn torn_dir(&self) -> PathBuf {
        self.dir.join(TORN)
    }
}

impl SegmentLog {
    /// Reads with `fetch`, which fills the buffers or says that it would have to wait.
    fn read_with(
        &self,
        oid: Oid,
        place: Place,
        data: &mut Vec<u8>,
        fetch: impl FnOnce(&dyn File, &mut [IoSliceMut<'_>]) -> io::Result<bool>,
    ) -> Result<At<bool>, Failure> {
        if self.cache.read(place, data) {
            return Ok(At::Here(true));
        }
        let segments = self.segments.load();
        let At::Here(segment) = segment_of(&segments, oid, place)? else {
            return Ok(At::Moved);
        };
        let mut header = [0; RECORD_HEADER_BYTES];
        let start = data.len();
        data.resize(start + place.data_bytes() as usize, 0);
        let body = data.get_mut(start..).unwrap_or_default();
        let fetched =
            fetch(&*segment.file, &mut [IoSliceMut::new(&mut header), IoSliceMut::new(&mut *body)]);
        let outcome = match fetched {
            Err(error) => Err(damaged(&segment.path, oid, place, &error.to_string())),
            Ok(true) if !is_whole(&header, oid, body) => {
                Err(damaged(&segment.path, oid, place, "its checksum is wrong"))
            }
            Ok(fetched) => {
                if fetched {
                    self.cache.keep(place, body);
                }
                Ok(fetched)
            }
        };
        if !matches!(outcome, Ok(true)) {
            data.truncate(start);
        }
        outcome.map(At::Here)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // The writer changes its state only after the file is as that says.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> MutexGuard<'_, VecDeque<(Arc<Segment>, Block)>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a block to its segment's sidecar.
    fn write_sidecar(&self, segment: &Segment, block: &Block) -> io::Result<()> {
        if self.sync == Sync::None {
            // A sidecar must not say more than a power cut leaves of its segment.
            self.make_durable(segment, block.to)?;
        }
        let path = self.files.sidecar_path(segment.number);
        let offset = segment.sidecar_bytes.load(Ordering::Relaxed);
        let how = if offset == 0 { Open::Truncated } else { Open::Existing };
        let file = self.files.disk.open(&path, how)?;
        file.set_len(offset)?;
        let end = block.append(&*file, offset, segment.slot, self.files.identity)?;
        segment.sidecar_bytes.store(end, Ordering::Relaxed);
        Ok(())
    }
}

impl RecordLog for SegmentLog {
    fn name(&self) -> String {
        format!("file:{}", self.files.dir.display())
    }

    fn size_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn transaction_bytes(&self, meta: &Meta, records: &[Record]) -> u64 {
        format::transaction_bytes(meta, records)
    }

    fn promise(&self, bytes: u64) -> bool {
        self.space.promise(bytes)
    }

    fn promise_blocking(&self, bytes: u64) -> Result<(), Failure> {
        self.space.promise_blocking(bytes).map_err(|error| {
            // File systems keep what they could allocate, and others need it.
            let _nobody_writes = self.writer();
            if let Err(error) = self.space.cut() {
                tracing::warn!("{}: space that is not needed stays taken: {error}", self.name());
            }
            Failure::Storage(format!("{}: no space for the transaction: {error}", self.name()))
        })
    }

    fn forget(&self, bytes: u64) {
        self.space.forget(bytes);
    }

    fn append(
        &self,
        batch: &[LogTransaction<'_>],
        places: &mut Vec<Place>,
    ) -> Result<Position, AppendError> {
        self.append_batch(batch, places)
    }

    fn position(&self) -> Position {
        self.writer().last
    }

    fn read_cached(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<At<bool>, Failure> {
        self.read_with(oid, place, data, |file, bufs| file.read_cached_at(bufs, place.offset))
    }

    fn read(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<At<()>, Failure> {
        let read = self.read_with(oid, place, data, |file, bufs| {
            let mut offset = place.offset;
            for buf in bufs {
                file.read_exact_at(buf, offset)?;
                offset += buf.len() as u64;
            }
            Ok(true)
        })?;
        Ok(match read {
            At::Here(_) => At::Here(()),
            At::Moved => At::Moved,
        })
    }

    fn seek(&self, from: Tid, last: Tid) -> Result<Box<dyn LogCursor>, Failure> {
        let cursor = SegmentCursor::seek(&self.segments, self.files.identity, from, last)?;
        Ok(Box::new(cursor))
    }

    fn follow(&self, from: Tid) -> Result<Followed, Failure> {
        let held = Arc::new(ArcSwap::new(self.segments.load_full()));
        let cursor = SegmentCursor::seek(&held, self.files.identity, from, Tid::MAX)?;
        Ok(Followed { cursor: Box::new(cursor), is_held: true })
    }

    fn origin(&self, oid: Oid, place: Place) -> Result<At<Option<Tid>>, Failure> {
        let segments = self.segments.load();
        let At::Here(segment) = segment_of(&segments, oid, place)? else {
            return Ok(At::Moved);
        };
        let mut header = [0; RECORD_HEADER_BYTES];
        let read = segment.file.read_exact_at(&mut header, place.offset);
        read.map_err(|error| damaged(&segment.path, oid, place, &error.to_string()))?;
        let header = RecordHeader::decode(&header).filter(|header| header.oid == oid);
        let header =
            header.ok_or_else(|| damaged(&segment.path, oid, place, "no record header"))?;
        Ok(At::Here((header.origin != Tid::ZERO).then_some(header.origin)))
    }

    fn parts(&self, to: Tid) -> Result<Vec<u32>, Failure> {
        self.numbers_up_to(to)
    }

    fn visit(&self, part: u32, each: &mut dyn FnMut(Oid, Tid)) -> Result<(), Failure> {
        self.visit_segment(part, each)
    }

    fn rewrite(&self, part: u32, plan: &mut Plan<'_>) -> Result<Rewritten, Failure> {
        self.rewrite_segment(part, plan)
    }

    fn wants_checkpoint(&self) -> bool {
        !self.due().is_empty()
    }

    fn checkpoint(&self) {
        let _one_at_a_time = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some((segment, block)) = self.due().pop_front() else {
                return;
            };
            if segment.sidecar_ended.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = self.write_sidecar(&segment, &block) {
                segment.sidecar_ended.store(true, Ordering::Relaxed);
                let path = self.files.sidecar_path(segment.number);
                tracing::warn!(
                    "cannot write {}: {error}; the next start takes longer",
                    path.display()
                );
            }
        }
    }

    fn measure(&self, measures: &mut Measures) {
        measures.sync = self.syncs.read();
        measures.cache = self.cache.usage();
    }

    fn close(&self) {
        self.hand_over_block(&mut self.writer());
        self.checkpoint();
        let writer = self.writer();
        // Gives back what was allocated and not used.
        let released = writer.segment.file.set_len(writer.tail);
        if let Err(error) = released.and_then(|()| writer.segment.file.sync()) {
            tracing::warn!("closing {}: {error}", writer.segment.path.display());
        }
    }
}
