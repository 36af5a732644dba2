//! `zeoxide verify`: reads all of a file; for storages see `verify_storage`, for two of them
//! `verify_against`.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, bail};
use datafs::{ReadError, Reader, Status};
use foldhash::fast::RandomState;
use protocol::{Oid, Tid};
use serde::Serialize;

use crate::End;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::text::{size, time};

/// Read all of a storage or of a Data.fs and check it
///
/// Of a storage's directory all checksums are checked, the order of transactions, indexes, and (with
/// --blobs) that blobs and records belong together, also while a server uses it. What a crash has
/// left at the end is told, but is not wrong.
///
/// Of a Data.fs checked are lengths, statuses, the order of transactions, and all pointers: to transactions, to
/// data, and from each record to the object's previous one. Data have no checksums in a Data.fs.
/// What a crash has left at the end is told, but is not wrong: FileStorage cuts it off.
///
/// With --against, two storages are compared in place of that, transaction by transaction: a primary
/// and its secondary, or a storage and its copy, also while servers use them. Each may be packed by
/// itself: what one has packed away is no difference. Exit status 1 if they differ, or if one is behind the
/// other (but see --allow-behind).
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A storage's directory or a Data.fs, which may be in use
    #[arg(value_name = "DIR|FILE")]
    pub(super) file: PathBuf,
    /// The blob directory of the storage
    #[arg(long, value_name = "DIR")]
    pub(super) blobs: Option<PathBuf>,
    /// Threads that read a storage; by default as many as there are cores
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<NonZeroUsize>,
    /// Compare the storage DIR with the one in this directory
    #[arg(long, value_name = "DIR2", conflicts_with = "jobs")]
    pub(super) against: Option<PathBuf>,
    /// The blob directory of DIR2: blobs are compared byte for byte
    #[arg(long, value_name = "DIR", requires = "against", requires = "blobs")]
    pub(super) against_blobs: Option<PathBuf>,
    /// Exit with status 0 if one storage has all that the other one has, and only ends earlier, as
    /// a secondary does that has not got the newest transactions yet
    #[arg(long, requires = "against")]
    pub(super) allow_behind: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    transactions: u64,
    records: u64,
    /// That exist or did.
    objects: u64,
    /// Of the file.
    bytes: u64,
    /// Checked until there.
    checked_bytes: u64,
    first_transaction: Option<String>,
    last_transaction: Option<String>,
    /// Where the file ends with something that is no transaction.
    torn_offset: Option<u64>,
    torn_by: Option<String>,
    problem_count: u64,
    /// The first of them.
    problems: Vec<String>,
    interrupted: bool,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    if let Some(against) = &options.against {
        return super::verify_against::run(options, against, &interrupt);
    }
    if options.file.is_dir() {
        return super::verify_storage::run(options, &interrupt);
    }
    if options.blobs.is_some() {
        bail!("--blobs is for a storage's directory, and {} is none", options.file.display());
    }
    let mut reader = Reader::open(&options.file)?;
    let mut progress = Progress::new("verifying", reader.position(), reader.bytes());
    let mut check = Check::default();
    let result = check.all(&mut reader, &mut |position| {
        progress.tell(position);
        !interrupt.is_set()
    });
    progress.end();
    match result {
        Err(ReadError::Io { .. }) => result?,
        Err(wrong) => check.findings.problem(wrong.to_string()),
        Ok(()) => {}
    }
    let mut findings = check.findings;
    findings.objects = check.current.len() as u64;
    (findings.bytes, findings.checked_bytes) = (reader.bytes(), reader.position());
    if let Some(torn) = reader.torn() {
        (findings.torn_offset, findings.torn_by) = (Some(torn.offset), Some(torn.by.to_string()));
    }
    if options.json {
        println!("{}", serde_json::to_string(&findings)?);
    } else {
        print!("{}", findings.report());
    }
    Ok(match (findings.interrupted, findings.problem_count) {
        (true, _) => End::Interrupted,
        (false, 0) => End::Good,
        (false, _) => End::Wrong,
    })
}

#[derive(Debug, Default)]
struct Check {
    findings: Findings,
    /// Where each object's newest record is.
    current: HashMap<Oid, u64, RandomState>,
}

impl Check {
    fn all(
        &mut self,
        reader: &mut Reader,
        goes_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), ReadError> {
        while let Some(at) = reader.next_transaction()? {
            let tid = at.transaction.tid;
            let mut added = Vec::new();
            loop {
                if !goes_on(reader.position()) {
                    self.findings.interrupted = true;
                    return Ok(());
                }
                let Some(record) = reader.next_record()? else { break };
                let oid = record.record.oid;
                self.check_link(oid, record.previous, at.transaction.status, record.offset);
                added.push((oid, record.offset));
            }
            self.findings.records += added.len() as u64;
            if at.transaction.status != Status::Undone {
                self.current.extend(added);
            }
            self.findings.transaction(tid);
        }
        Ok(())
    }

    /// A record points to the object's newest one before its transaction, unless a pack has taken
    /// the pointer.
    fn check_link(&mut self, oid: Oid, previous: u64, status: Status, offset: u64) {
        let newest = self.current.get(&oid).copied().unwrap_or(0);
        let is_packed = status == Status::Packed && previous == 0;
        if previous != newest && !is_packed && status != Status::Undone {
            self.findings.problem(format!(
                "the record of object {oid} at offset {offset} points to {previous} as the \
                 object's previous one, which is at {newest}"
            ));
        }
    }
}

impl Findings {
    fn transaction(&mut self, tid: Tid) {
        self.transactions += 1;
        self.first_transaction.get_or_insert_with(|| tid.to_string());
        self.last_transaction = Some(tid.to_string());
    }

    fn problem(&mut self, problem: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    fn report(&self) -> String {
        let named = |tid: &Option<String>| {
            let tid = tid.as_deref().unwrap_or("none");
            crate::text::parse_tid(tid)
                .map_or_else(|_| tid.to_owned(), |at| format!("{tid} ({})", time(at)))
        };
        let mut lines = vec![
            format!("transactions  {}", self.transactions),
            format!("first         {}", named(&self.first_transaction)),
            format!("last          {}", named(&self.last_transaction)),
            format!("records       {}", self.records),
            format!("objects       {}", self.objects),
            format!("checked       {} of {}", size(self.checked_bytes), size(self.bytes)),
        ];
        if let (Some(offset), Some(by)) = (self.torn_offset, &self.torn_by) {
            lines.push(format!("torn end      at offset {offset}: {by}"));
        }
        lines.extend(self.problems.iter().map(|problem| format!("WRONG: {problem}")));
        let more = self.problem_count - self.problems.len() as u64;
        if more > 0 {
            lines.push(format!("WRONG: and {more} more"));
        }
        if self.problem_count == 0 && !self.interrupted {
            lines.push("nothing is wrong".to_owned());
        }
        lines.join("\n") + "\n"
    }
}

/// More of them say nothing more.
const PROBLEMS_MAX: usize = 20;
