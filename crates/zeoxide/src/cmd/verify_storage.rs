//! `zeoxide verify` of a storage's directory.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;
use protocol::Tid;
use serde::Serialize;
use storage::disk::{Disk, RealDisk};
use storage::snapshot::{Fault, Findings, verify};

use super::verify::Options;
use crate::End;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::text::{size, time};

/// As the report for a Data.fs has it, as far as both have it.
#[derive(Debug, Serialize)]
struct Report {
    segments: u64,
    transactions: u64,
    records: u64,
    objects: u64,
    bytes: u64,
    checked_bytes: u64,
    first_transaction: Option<String>,
    last_transaction: Option<String>,
    packed_to: Option<String>,
    blobs: u64,
    uploads: u64,
    torn_offset: Option<u64>,
    torn_by: Option<String>,
    problem_count: u64,
    problems: Vec<String>,
    interrupted: bool,
}

pub(super) fn run(options: &Options, interrupt: &Interrupt) -> Result<End> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = options.jobs.map_or(cores, NonZeroUsize::get);
    let progress: Mutex<Option<Progress>> = Mutex::default();
    let goes_on = |done, total| {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.get_or_insert_with(|| Progress::new("verifying", 0, total)).tell(done);
        !interrupt.is_set()
    };
    let found = verify(&disk, &options.file, options.blobs.as_deref(), jobs, &goes_on);
    if let Some(progress) = progress.into_inner().unwrap_or_else(PoisonError::into_inner) {
        progress.end();
    }
    let found = found?;
    if options.json {
        println!("{}", serde_json::to_string(&Report::of(&found))?);
    } else {
        print!("{}", text(&found, options.blobs.is_some()));
    }
    Ok(match (found.interrupted, found.faults.is_empty()) {
        (true, _) => End::Interrupted,
        (false, true) => End::Good,
        (false, false) => End::Wrong,
    })
}

impl Report {
    fn of(found: &Findings) -> Self {
        let torn = found.torn.as_ref();
        Self {
            segments: found.segments,
            transactions: found.transactions,
            records: found.records,
            objects: found.objects,
            bytes: found.bytes,
            checked_bytes: found.checked_bytes,
            first_transaction: found.first.map(|tid| tid.to_string()),
            last_transaction: found.last.map(|tid| tid.to_string()),
            packed_to: packed_to(found).map(|tid| tid.to_string()),
            blobs: found.blobs,
            uploads: found.uploads,
            torn_offset: torn.map(|torn| torn.offset),
            torn_by: torn.map(|torn| torn.what.to_owned()),
            problem_count: found.faults.len() as u64,
            problems: found.faults.iter().map(line).collect(),
            interrupted: found.interrupted,
        }
    }
}

fn text(found: &Findings, with_blobs: bool) -> String {
    let named = |tid: Option<Tid>| {
        tid.map_or_else(|| "none".to_owned(), |tid| format!("{tid} ({})", time(tid)))
    };
    let mut lines = vec![
        format!("segments      {}", found.segments),
        format!("transactions  {}", found.transactions),
        format!("first         {}", named(found.first)),
        format!("last          {}", named(found.last)),
        format!("packed to     {}", named(packed_to(found))),
        format!("records       {}", found.records),
        format!("objects       {}", found.objects),
        format!("checked       {} of {}", size(found.checked_bytes), size(found.bytes)),
    ];
    let unchecked = if with_blobs { "" } else { ", not checked: --blobs DIR says where they are" };
    if with_blobs || found.blobs > 0 {
        lines.push(format!("blobs         {}{unchecked}", found.blobs));
    }
    if found.uploads > 0 {
        lines.push(format!("uploads       {}, not finished", found.uploads));
    }
    if let Some(torn) = &found.torn {
        let (path, offset) = (torn.path.display(), torn.offset);
        lines.push(format!("torn end      {path} at offset {offset}: {}", torn.what));
    }
    lines.extend(found.faults.iter().map(|fault| format!("WRONG: {}", line(fault))));
    if found.faults.is_empty() && !found.interrupted {
        lines.push("nothing is wrong".to_owned());
    }
    lines.join("\n") + "\n"
}

fn line(Fault { path, offset, what, advice }: &Fault) -> String {
    let at = offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default();
    format!("{}{at}: {what}; {advice}", path.display())
}

fn packed_to(found: &Findings) -> Option<Tid> {
    (found.packed_to != Tid::ZERO).then_some(found.packed_to)
}
