//! Reads all of a storage's directory, and tells all that is wrong.
//!
//! It first does what a start does. If that finds no damage, what it has read is what is checked: each
//! record in the segments against the index that a start builds, which is made of the index files as
//! far as they go. If it does, its finding is the first one, and the segments are read as they are.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use protocol::{Oid, Tid};

use super::{Kept, Torn, read};
use crate::api::Which;
use crate::blobs::{self, Unfinished, each_blob};
use crate::directory::{Content, FORMAT, read_format};
use crate::disk::{Disk, FrozenDisk, Open};
use crate::index::{Index, Lookup, Revision};
use crate::log::Digest;
use crate::log::segments::{Checked, LogView, Part};
use crate::open::OpenError;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Segment files.
    pub segments: u64,
    /// Transactions that are whole.
    pub transactions: u64,
    /// Records in them.
    pub records: u64,
    /// Objects that exist or did; 0 if a start refuses the storage.
    pub objects: u64,
    /// Of the log.
    pub bytes: u64,
    /// Of them, checked.
    pub checked_bytes: u64,
    /// The first transaction.
    pub first: Option<Tid>,
    /// The newest transaction.
    pub last: Option<Tid>,
    /// See [`super::Snapshot::packed_to`].
    pub packed_to: Tid,
    /// Records that have a blob.
    pub blobs: u64,
    /// Uploads that are under way, or that the next start removes.
    pub uploads: u64,
    /// See [`super::Snapshot::torn`]; not a fault.
    pub torn: Option<Torn>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// It was stopped before the end.
    pub interrupted: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file or directory.
    pub path: PathBuf,
    /// Where in it.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
}

/// Checks the storage in `dir`, with `jobs` threads; `goes_on` hears how many bytes were read of how
/// many, and stops it by `false`. Changes nothing, and needs no lock.
///
/// # Errors
///
/// As [`super::Snapshot::open`], if there is no storage or its files cannot be reached. Damage is no
/// error but a finding.
pub fn verify(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    blobs: Option<&Path>,
    jobs: usize,
    goes_on: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Findings, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(FrozenDisk(Arc::clone(disk)));
    let mut check =
        Check { disk: &disk, dir, findings: Findings::default(), with_blobs: Vec::new() };
    match read_quietly(&disk, dir) {
        Ok(Content { log, index, packed, .. }) => {
            let log = log.view();
            check.findings.packed_to = packed.to;
            check.log(&log, &index, jobs, goes_on);
            let with_blobs = blobs.filter(|_| !check.findings.interrupted);
            if let Some(blobs) = with_blobs {
                blobs::check_directory(&*disk, blobs)?;
                check.blobs(blobs, &index, log.last_tid(), goes_on)?;
            }
        }
        Err(error) => {
            check.refused(error)?;
            let identity = read_format(&*disk, dir)?;
            let parts = Part::find(&disk, dir, identity).map_err(OpenError::io(dir))?;
            check.parts(&parts, None, jobs, goes_on);
        }
    }
    Ok(check.findings)
}

struct Check<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    findings: Findings,
    /// The records that have one.
    with_blobs: Vec<(Oid, Tid)>,
}

/// An index file that is being written looks damaged; one that is does so each time.
fn read_quietly(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Content, OpenError> {
    let mut content = read(disk, dir)?;
    for _ in 1..super::ATTEMPTS {
        if content.log.is_quiet() {
            break;
        }
        content = read(disk, dir)?;
    }
    Ok(content)
}

impl Check<'_> {
    /// What a start refuses is a fault, if it is damage.
    fn refused(&mut self, error: OpenError) -> Result<(), OpenError> {
        let (path, offset, what) = match error {
            OpenError::Damaged { path, offset, what } => (path, Some(offset), what.to_owned()),
            OpenError::Read { path, offset, error } => (path, Some(offset), error.to_string()),
            OpenError::Missing(path) if !path.ends_with(FORMAT) => {
                (path, None, "it is missing".to_owned())
            }
            OpenError::Format { path, what } if !path.ends_with(FORMAT) => (path, None, what),
            other => return Err(other),
        };
        self.fault(path, offset, what, DAMAGED);
        Ok(())
    }

    fn fault(&mut self, path: PathBuf, offset: Option<u64>, what: String, advice: &'static str) {
        let fault = Fault { path, offset, what, advice };
        let is_known = |known: &Fault| (&known.path, known.offset) == (&fault.path, fault.offset);
        if !self.findings.faults.iter().any(is_known) {
            self.findings.faults.push(fault);
        }
    }

    fn log(
        &mut self,
        log: &LogView,
        index: &Index,
        jobs: usize,
        goes_on: &(dyn Fn(u64, u64) -> bool + Sync),
    ) {
        self.findings.objects = index.objects();
        self.findings.torn = log.torn().cloned();
        for note in log.notes() {
            self.fault(self.dir.to_owned(), None, note.clone(), REMADE);
        }
        let faults = self.findings.faults.len();
        self.parts(&log.check_parts(self.findings.packed_to), Some(index), jobs, goes_on);
        let Findings { records, interrupted, .. } = self.findings;
        let is_whole = self.findings.faults.len() == faults && !interrupted;
        if is_whole && index.revisions() != records {
            let known = index.revisions();
            let what = format!("the indexes name {known} records, and there are {records}");
            self.fault(self.dir.to_owned(), None, what, REINDEX);
        }
    }

    /// Checks segments, a thread each, and that they continue one another.
    fn parts(
        &mut self,
        parts: &[Part],
        index: Option<&Index>,
        jobs: usize,
        goes_on: &(dyn Fn(u64, u64) -> bool + Sync),
    ) {
        let total: u64 = parts.iter().map(|part| part.end).sum();
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        let results = Mutex::new(Vec::new());
        let advance = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            let goes_on = !stop.load(Ordering::Relaxed) && goes_on(done, total);
            stop.fetch_or(!goes_on, Ordering::Relaxed);
            goes_on
        };
        thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, parts.len().max(1)) {
                scope.spawn(|| {
                    while let Some((number, part)) = take(parts, &next) {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let result = check_part(part, index, &advance);
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        results.push((number, result));
                    }
                });
            }
        });
        self.findings.interrupted = stop.load(Ordering::Relaxed);
        self.findings.segments = parts.len() as u64;
        (self.findings.bytes, self.findings.checked_bytes) = (total, done.into_inner());
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_unstable_by_key(|(number, _)| *number);
        let mut before: Option<(&Part, Tid)> = None;
        let mut digest = Some(Digest::NONE);
        for (number, PartResult { mut checked, records, blobs, misplaced }) in results {
            let Some(part) = parts.get(number) else { continue };
            let follows = before.filter(|(other, _)| part.follows(other));
            if let Some((_, last)) = follows
                && part.previous.is_some_and(|previous| previous != last)
            {
                let what = "the segment does not continue the one before".to_owned();
                self.fault(part.path.clone(), Some(0), what, DAMAGED);
            }
            digest = checked.follow(digest.filter(|_| number == 0 || follows.is_some()));
            let is_whole = checked.faults.is_empty() && checked.torn.is_none();
            let last = checked.last.or(part.previous).filter(|_| is_whole && !checked.interrupted);
            before = last.map(|last| (part, last));
            let advice = if index.is_some() { UNREADABLE } else { DAMAGED };
            for (offset, what) in checked.faults {
                self.fault(part.path.clone(), Some(offset), what, advice);
            }
            if let Some((offset, what)) = misplaced {
                self.fault(part.path.clone(), Some(offset), what, REINDEX);
            }
            let findings = &mut self.findings;
            findings.transactions += checked.transactions;
            findings.records += records;
            findings.blobs += blobs.len() as u64;
            findings.first = findings.first.or(checked.first);
            findings.last = checked.last.or(findings.last);
            findings.torn = checked.torn.or_else(|| findings.torn.take());
            self.with_blobs.extend(blobs);
        }
    }

    /// Each record that has a blob has its file, and each file its record.
    fn blobs(
        &mut self,
        dir: &Path,
        index: &Index,
        last_tid: Tid,
        goes_on: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<(), OpenError> {
        let unfinished = Unfinished::find(&**self.disk, dir).map_err(OpenError::io(dir))?;
        self.findings.uploads = unfinished.uploads;
        let (done, total) = (self.findings.checked_bytes, self.findings.bytes);
        let mut foreign = Vec::new();
        let all = each_blob(&**self.disk, dir, &mut |oid, tid, path| {
            let is_known = tid > last_tid || is_indexed(index, oid, tid);
            if !is_known && !unfinished.intents.contains(&oid) {
                foreign.push(path);
            }
            goes_on(done, total)
        });
        self.findings.interrupted = !all.map_err(OpenError::io(dir))?;
        for path in foreign {
            let what = "no record has this blob".to_owned();
            self.fault(path, None, what, FOREIGN);
        }
        let mut missing = Vec::new();
        for (oid, tid) in std::mem::take(&mut self.with_blobs) {
            if !goes_on(done, total) {
                self.findings.interrupted = true;
                break;
            }
            let path = blobs::blob_path(dir, oid, tid);
            // The length is read with it.
            if let Err(error) = self.disk.open(&path, Open::ReadOnly) {
                missing.push((oid, tid, error));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        // A pack that removed them is known by now.
        let kept = Kept::read(self.disk, self.dir)?;
        for (oid, tid, error) in missing {
            if !kept.has_dropped(oid, tid) {
                let what = format!("the blob of object {oid} as of {tid} cannot be read: {error}");
                self.fault(blobs::blob_path(dir, oid, tid), None, what, LOST_BLOB);
            }
        }
        Ok(())
    }
}

struct PartResult {
    checked: Checked,
    records: u64,
    blobs: Vec<(Oid, Tid)>,
    /// The first record that the index does not have, or has elsewhere.
    misplaced: Option<(u64, String)>,
}

/// The next one of `parts`, with its position.
fn take<'a>(parts: &'a [Part], next: &AtomicUsize) -> Option<(usize, &'a Part)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, parts.get(number)?))
}

fn check_part(part: &Part, index: Option<&Index>, goes_on: &dyn Fn(u64) -> bool) -> PartResult {
    let (mut records, mut blobs, mut misplaced) = (0, Vec::new(), None);
    let mut each = |oid: Oid, revision: Revision| {
        records += 1;
        if revision.place.has_blob() {
            blobs.push((oid, revision.tid));
        }
        let Some(index) = index.filter(|_| misplaced.is_none()) else { return };
        let known = index.find(oid, Which::Serial(revision.tid));
        if !matches!(known, Lookup::Revision { revision: known, .. } if known == revision) {
            let what = format!("the index does not have the record of object {oid} here");
            misplaced = Some((revision.place.offset, what));
        }
    };
    let checked = part.check(&mut each, goes_on);
    PartResult { checked, records, blobs, misplaced }
}

fn is_indexed(index: &Index, oid: Oid, tid: Tid) -> bool {
    matches!(index.find(oid, Which::Serial(tid)), Lookup::Revision { .. })
}

const DAMAGED: &str = "a server refuses to start with it: restore the storage from a backup, or copy \
                       from another server what is lost";
const UNREADABLE: &str = "a server starts with it, and fails who reads that: restore the storage from a \
                          backup, or copy from another server what is lost";
const REMADE: &str = "nothing is lost: the next start of a server reads the segment in its place";
const REINDEX: &str =
    "stop the server, and remove the .idx files: its next start reads the segments";
const FOREIGN: &str = "it is never read: move it away once you know where it comes from";
const LOST_BLOB: &str = "restore this file from a backup";
