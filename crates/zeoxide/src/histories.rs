//! Whether two storages of ours have the same history, though each may be packed by itself.
//!
//! Both are read in the order of tids. A side may lack only what its own pack can have dropped, that
//! is up to its own `packed_to`, and what comes after its end. That a pack dropped nothing else shows
//! in which revisions are current as of the later pack: those stay on both sides.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use foldhash::fast::RandomState;
use protocol::{Failure, Oid, Tid, TransactionHead, TransactionRecord};
use storage::Snapshot;
use storage::disk::{Disk, RealDisk};
use storage::replica::Digest;
use storage::snapshot::{Transaction, Transactions};

/// One of the two storages, as of the moment at which it was opened.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) log: Snapshot,
    transactions: Transactions,
    /// At which `transactions` is.
    at: Option<Transaction>,
    /// Bytes of the log that were read.
    read: u64,
    /// The current revision of each object that exists as of `horizon`: as of then both sides must
    /// have the same ones. Nothing is kept where neither is packed.
    current: HashMap<Oid, Tid, RandomState>,
    horizon: Tid,
    /// Transactions that the other side has packed away wholly.
    pub(crate) packed_there: u64,
    /// Transactions that come after the end of the other side.
    pub(crate) ahead: u64,
}

impl Side {
    pub(crate) fn open(dir: &Path, blobs: Option<&Path>) -> Result<Self> {
        let name = dir.display().to_string();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let log = Snapshot::open(&disk, dir, blobs)
            .with_context(|| format!("cannot read the storage {name}"))?;
        let transactions = log.transactions(Tid::ZERO, Tid::MAX).map_err(failed)?;
        Ok(Self {
            name,
            log,
            transactions,
            at: None,
            read: 0,
            current: HashMap::default(),
            horizon: Tid::ZERO,
            packed_there: 0,
            ahead: 0,
        })
    }

    fn advance(&mut self) -> Result<()> {
        self.at = self.transactions.next().map_err(failed)?;
        self.read += self.at.as_ref().map_or(0, |at| at.bytes);
        Ok(())
    }

    fn tid(&self) -> Option<Tid> {
        self.at.as_ref().map(|at| at.head.tid)
    }

    /// Whether this may lack what the other side has of `tid`.
    fn has_packed(&self, tid: Tid) -> bool {
        tid <= self.log.packed_to()
    }

    fn oids(&self) -> Result<Oids> {
        Ok(self.transactions.oids().map_err(failed)?.into_iter().collect())
    }

    /// The next record, of those that `wanted` names.
    fn record(&mut self, wanted: Option<&Oids>) -> Result<Option<TransactionRecord>> {
        while let Some(record) = self.transactions.next_record().map_err(failed)? {
            if record.tid <= self.horizon {
                match record.data {
                    Some(_) => self.current.insert(record.oid, record.tid),
                    None => self.current.remove(&record.oid),
                };
            }
            if wanted.is_none_or(|wanted| wanted.contains(&record.oid)) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

/// What a comparison has found.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// That both have, and that are the same in what both have of them.
    pub(crate) transactions: u64,
    /// The last one of them.
    pub(crate) last_common: Tid,
    /// In both, and the same.
    pub(crate) records: u64,
    /// Of them, with a blob.
    pub(crate) blobs: u64,
    /// The first one; what follows was not looked at.
    pub(crate) difference: Option<Difference>,
    pub(crate) interrupted: bool,
}

/// In what they differ.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) tid: Tid,
    pub(crate) oid: Option<Oid>,
    pub(crate) what: String,
}

/// Compares all that both have; blobs if both sides know where they are. `goes_on` hears how many
/// bytes of both were read, and stops it by `false`.
pub(crate) fn compare(
    one: &mut Side,
    other: &mut Side,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Compared> {
    let packed_to = one.log.packed_to().max(other.log.packed_to());
    let horizon = packed_to.min(one.log.last_tid()).min(other.log.last_tid());
    (one.horizon, other.horizon) = (horizon, horizon);
    one.advance()?;
    other.advance()?;
    let mut comparison = Comparison { one, other, goes_on, found: Compared::default() };
    comparison.all()?;
    Ok(comparison.found)
}

type Oids = HashSet<Oid, RandomState>;

struct Comparison<'a> {
    one: &'a mut Side,
    other: &'a mut Side,
    goes_on: &'a mut dyn FnMut(u64) -> bool,
    found: Compared,
}

impl Comparison<'_> {
    fn all(&mut self) -> Result<()> {
        while self.goes_on() {
            let difference = match (self.one.tid(), self.other.tid()) {
                (None, None) => {
                    self.found.difference = difference_of_states(self.one, self.other);
                    return Ok(());
                }
                (Some(one), Some(other)) if one == other => self.both()?,
                (Some(one), other) if other.is_none_or(|other| one < other) => {
                    lone(self.one, self.other, one)?
                }
                (_, Some(other)) => lone(self.other, self.one, other)?,
                (Some(_), None) => None,
            };
            self.found.difference = difference;
            if self.found.difference.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Once it is false, it stays so.
    fn goes_on(&mut self) -> bool {
        let goes_on = !self.found.interrupted && (self.goes_on)(self.one.read + self.other.read);
        self.found.interrupted = !goes_on;
        goes_on
    }

    /// Both have this transaction.
    fn both(&mut self) -> Result<Option<Difference>> {
        let (Some(one), Some(other)) = (self.one.at.take(), self.other.at.take()) else {
            return Ok(None);
        };
        let tid = one.head.tid;
        let of_all = |what| Some(Difference { tid, oid: None, what });
        if let Some(what) = difference_of_heads(&one.head, &other.head) {
            return Ok(of_all(format!("its {what} differs")));
        }
        let difference = self.records(tid)?;
        if difference.is_some() || self.found.interrupted {
            return Ok(difference);
        }
        // Logs of before there were digests have none.
        let is_known = one.digest != Digest::NONE && other.digest != Digest::NONE;
        if is_known && one.digest != other.digest {
            return Ok(of_all(OTHER_PAST.to_owned()));
        }
        self.found.transactions += 1;
        self.found.last_common = tid;
        self.one.advance()?;
        self.other.advance()?;
        Ok(None)
    }

    fn records(&mut self, tid: Tid) -> Result<Option<Difference>> {
        let mut common = None;
        if self.one.has_packed(tid) || self.other.has_packed(tid) {
            let (mut one, other) = (self.one.oids()?, self.other.oids()?);
            for (side, lacks) in [
                (&*self.one, other.difference(&one).min()),
                (&*self.other, one.difference(&other).min()),
            ] {
                if let Some(&oid) = lacks.filter(|_| !side.has_packed(tid)) {
                    let what = format!("{} has no record of it", side.name);
                    return Ok(Some(Difference { tid, oid: Some(oid), what }));
                }
            }
            one.retain(|oid| other.contains(oid));
            common = Some(one);
        }
        while self.goes_on() {
            let records = (self.one.record(common.as_ref())?, self.other.record(common.as_ref())?);
            let (oid, what) = match records {
                (None, None) => break,
                (Some(one), Some(other)) => match self.difference_of_records(&one, &other)? {
                    None => continue,
                    Some(what) => (one.oid, what),
                },
                (Some(one), None) => (one.oid, format!("{} has no record of it", self.other.name)),
                (None, Some(other)) => {
                    (other.oid, format!("{} has no record of it", self.one.name))
                }
            };
            return Ok(Some(Difference { tid, oid: Some(oid), what }));
        }
        Ok(None)
    }

    fn difference_of_records(
        &mut self,
        one: &TransactionRecord,
        other: &TransactionRecord,
    ) -> Result<Option<String>> {
        let what = if one.oid != other.oid {
            let (oid, there) = (other.oid, &self.other.name);
            return Ok(Some(format!("in its place {there} has a record of object {oid}")));
        } else if one.data != other.data {
            "its data differ"
        } else if one.origin != other.origin {
            "where an undo has its data from differs"
        } else if one.has_blob != other.has_blob {
            "it has a blob in one of them only"
        } else {
            self.found.records += 1;
            self.found.blobs += u64::from(one.has_blob);
            return if one.has_blob { self.difference_of_blobs(one) } else { Ok(None) };
        };
        Ok(Some(what.to_owned()))
    }

    fn difference_of_blobs(&mut self, record: &TransactionRecord) -> Result<Option<String>> {
        let path = |side: &Side| side.log.blob_path(record.oid, record.tid);
        let (Some(one), Some(other)) = (path(self.one), path(self.other)) else { return Ok(None) };
        let mut files = Vec::new();
        for path in [one, other] {
            match File::open(&path) {
                Ok(file) => files.push((path, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let path = path.display();
                    return Ok(Some(format!(
                        "its blob {path} is missing (unless it was packed away just now)"
                    )));
                }
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        let [(one_path, one), (other_path, other)] = files.as_mut_slice() else { return Ok(None) };
        let mut chunks = [vec![0; BLOB_CHUNK_BYTES], vec![0; BLOB_CHUNK_BYTES]];
        while self.goes_on() {
            let [one_chunk, other_chunk] = &mut chunks;
            let one_read = fill(one, one_chunk).with_context(|| one_path.display().to_string())?;
            let other_read =
                fill(other, other_chunk).with_context(|| other_path.display().to_string())?;
            if one_read != other_read {
                return Ok(Some(BLOBS_DIFFER.to_owned()));
            }
            if one_read.is_empty() {
                break;
            }
        }
        Ok(None)
    }
}

/// `has` is at the transaction `tid`, and `lacks` does not have it.
fn lone(has: &mut Side, lacks: &Side, tid: Tid) -> Result<Option<Difference>> {
    if tid > lacks.log.last_tid() {
        has.ahead += 1;
    } else if lacks.has_packed(tid) {
        has.packed_there += 1;
        while has.record(None)?.is_some() {}
    } else {
        let what = format!("{} has it, and {} does not", has.name, lacks.name);
        return Ok(Some(Difference { tid, oid: None, what }));
    }
    has.advance()?;
    Ok(None)
}

fn difference_of_heads(one: &TransactionHead, other: &TransactionHead) -> Option<&'static str> {
    let parts = [
        ("status", one.status == other.status),
        ("user", one.user == other.user),
        ("description", one.description == other.description),
        ("extension", one.extension == other.extension),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(what, _)| what)
}

/// The first revision that is current as of the horizon on one side only.
fn difference_of_states(one: &Side, other: &Side) -> Option<Difference> {
    let lacking = |has: &Side, lacks: &Side| {
        // A pack of what comes after this side's end can have dropped what is current at the end.
        let may_be_gone = lacks.log.packed_to() > has.log.last_tid();
        let is_gone = |(oid, tid): &(&Oid, &Tid)| match lacks.current.get(*oid) {
            Some(there) => there != *tid,
            None => !may_be_gone,
        };
        let first = has.current.iter().filter(is_gone).map(|(oid, tid)| (*tid, *oid)).min();
        first.map(|(tid, oid)| (tid, oid, lacks.name.clone()))
    };
    let (tid, oid, name) = lacking(one, other).into_iter().chain(lacking(other, one)).min()?;
    let what = format!("it is current as of {}, and {name} does not have it so", one.horizon);
    Some(Difference { tid, oid: Some(oid), what })
}

/// Reads as much as fits into `chunk`; less only at the end.
fn fill<'a>(file: &mut File, chunk: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(chunk.get(..filled).unwrap_or_default())
}

fn failed(failure: Failure) -> anyhow::Error {
    anyhow!("{failure}")
}

const BLOB_CHUNK_BYTES: usize = 64 << 10;
const BLOBS_DIFFER: &str = "its blobs differ";
const OTHER_PAST: &str = "it is the same, but its digest differs: something before it was not the \
                          same, and was packed away since";
