//! Makes a log that was read at a start one that can be appended to. Only here is anything changed.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use protocol::Tid;

use super::cache::RecordCache;
use super::format::{Identity, SEGMENT_HEADER_BYTES};
use super::sidecar::Block;
use super::space::Space;
use super::writer::Writer;
use super::{CHECKPOINT_BYTES, Files, NEW, SEGMENTS, Segment, SegmentLog, TORN, log_name};
use crate::disk::{self, Disk, Open};
use crate::log::Position;
use crate::metrics::Histogram;
use crate::open::{OpenError, Options, Reads};

/// A log that was read and found to be right, and not changed yet.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(super) files: Files,
    /// By number; the first one is number 1.
    pub(super) segments: Vec<Arc<Segment>>,
    /// The last of `segments`.
    pub(super) active: Arc<Segment>,
    pub(super) tail: Tail,
    pub(super) unfinished: Option<Unfinished>,
    /// What is in no sidecar, by segment.
    pub(super) due: Vec<(Arc<Segment>, Block)>,
    pub(super) bytes: u64,
    pub(super) last: Position,
    /// Warnings. They are logged when all is known to be right, since a refusal is one line.
    pub(super) notes: Vec<String>,
}

/// Where the last segment stops being right.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) end: u64,
    /// What is wrong there, if that is not the end of the file.
    pub(super) torn: Option<&'static str>,
}

/// A segment that was made and not used.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) path: PathBuf,
    /// The last tid before it, as far as its header is there.
    pub(super) previous: Tid,
}

impl SegmentLog {
    /// Makes an empty log in `dir`.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
    ) -> Result<(), OpenError> {
        // This is not read before it is opened again.
        let reads = Reads::Pread;
        let files = Files { disk: Arc::clone(disk), dir: dir.to_owned(), identity, reads };
        let path = files.segment_path(1);
        let create = || -> io::Result<()> {
            disk.create_dir(&files.segments_dir())?;
            disk.create_dir(&files.torn_dir())?;
            files.create_segment(1, Tid::ZERO).map(drop)
        };
        create().map_err(OpenError::io(&path))
    }

    /// Whether there is nothing in `dir` but what an interrupted [`Self::create`] leaves.
    pub(crate) fn is_unused(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
        let (segments, first) = (dir.join(SEGMENTS), log_name(1));
        for name in disk::list_if_there(disk, &segments)? {
            let len = |name| disk.open(&segments.join(name), Open::Existing)?.len();
            if name != first || len(name)? > SEGMENT_HEADER_BYTES as u64 {
                return Ok(false);
            }
        }
        Ok(disk::list_if_there(disk, &dir.join(TORN))?.is_empty())
    }

    /// Whether a segment is in `dir`.
    pub(crate) fn is_in(disk: &dyn Disk, dir: &Path) -> bool {
        disk.open(&dir.join(SEGMENTS).join(log_name(1)), Open::Existing).is_ok()
    }
}

impl Survey {
    /// Whether there is nothing to warn of.
    pub(crate) fn is_quiet(&self) -> bool {
        self.notes.is_empty()
    }

    /// Cuts what is torn, removes what was not used, and makes the rest durable.
    pub(crate) fn settle(self, options: &Options) -> Result<SegmentLog, OpenError> {
        let Self { files, segments, active, tail, mut due, .. } = self;
        for note in self.notes {
            tracing::warn!("{note}");
        }
        remove_unused(&files)?;
        if let Some(Unfinished { path, .. }) = self.unfinished {
            files.disk.remove(&path).map_err(OpenError::io(&path))?;
        }
        if let Some(fault) = tail.torn {
            set_aside(&files, &active, tail.end, fault)?;
        }
        // What a killed process had written may be in memory only, and is now seen by all.
        active.file.sync().map_err(OpenError::io(&active.path))?;
        let dir = files.segments_dir();
        files.disk.sync_dir(&dir).map_err(OpenError::io(&dir))?;
        let block = match due.pop() {
            Some((segment, block))
                if segment.number == active.number && block.to - block.from < CHECKPOINT_BYTES =>
            {
                block
            }
            other => {
                due.extend(other);
                Block::empty(tail.end)
            }
        };
        let writer = Writer {
            segment: Arc::clone(&active),
            tail: tail.end,
            durable: tail.end,
            last: self.last,
            block,
        };
        Ok(SegmentLog {
            sync: options.sync,
            segment_bytes: options.segment_bytes,
            segments: Arc::new(ArcSwap::from_pointee(segments)),
            cache: RecordCache::new(options.cache_bytes),
            writer: Mutex::new(writer),
            space: Space::new(active, tail.end),
            due: Mutex::new(due.into()),
            checkpointing: Mutex::default(),
            bytes: AtomicU64::new(self.bytes),
            syncs: Histogram::of_durations(),
            files,
        })
    }
}

/// Removes what an interrupted pack has written.
fn remove_unused(files: &Files) -> Result<(), OpenError> {
    let dir = files.segments_dir();
    let names = files.disk.list(&dir).map_err(OpenError::io(&dir))?;
    for name in names.iter().filter(|name| name.ends_with(NEW)) {
        let path = dir.join(name);
        files.disk.remove(&path).map_err(OpenError::io(&path))?;
    }
    Ok(())
}

/// Copies what is behind `end` to a file of its own, durably, and cuts it off.
fn set_aside(files: &Files, segment: &Segment, end: u64, fault: &str) -> Result<(), OpenError> {
    let dir = files.torn_dir();
    let path = unused_torn_path(files, segment.number, end).map_err(OpenError::io(&dir))?;
    let copied = copy_tail(files, segment, end, &path).inspect_err(|_| {
        // A part of it is of no use while the segment has the whole; it may not even be there.
        let _ = files.disk.remove(&path);
    })?;
    segment.file.set_len(end).map_err(OpenError::io(&segment.path))?;
    tracing::warn!(
        "{}: {fault} at offset {end}: {copied} bytes that no finished transaction needs were moved to {}",
        segment.path.display(),
        path.display()
    );
    Ok(())
}

/// Copies what is behind `end` to a new file, durably; returns how many bytes that are.
fn copy_tail(files: &Files, segment: &Segment, end: u64, path: &Path) -> Result<u64, OpenError> {
    let len = segment.file.len().map_err(OpenError::io(&segment.path))?;
    let copy = files.disk.open(path, Open::New).map_err(OpenError::io(path))?;
    let mut piece = vec![0; 1 << 20];
    let mut offset = end;
    while offset < len {
        let wanted = usize::try_from(len - offset).unwrap_or(usize::MAX).min(piece.len());
        let piece = piece.get_mut(..wanted).unwrap_or_default();
        let read = segment.file.read_exact_at(piece, offset);
        read.map_err(OpenError::read(&segment.path, offset))?;
        let written = copy.write_all_at(&[IoSlice::new(piece)], offset - end);
        written.map_err(OpenError::io(path))?;
        offset += wanted as u64;
    }
    copy.sync().map_err(OpenError::io(path))?;
    files.disk.sync_dir(&files.torn_dir()).map_err(OpenError::io(path))?;
    Ok(len - end)
}

/// A name that no earlier recovery has used: what it set aside may be all that is left of it.
fn unused_torn_path(files: &Files, segment: u32, end: u64) -> io::Result<PathBuf> {
    let dir = files.torn_dir();
    let used = files.disk.list(&dir)?;
    let mut names = (1_u32..).map(|attempt| format!("{segment:08}-{end}-{attempt}.torn"));
    let name = names.find(|name| !used.contains(name)).ok_or(io::ErrorKind::AlreadyExists)?;
    Ok(dir.join(name))
}
