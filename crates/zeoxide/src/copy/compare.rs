//! Whether a copy is what it was made from.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use datafs::Record;
use foldhash::fast::FixedState;
use protocol::{Oid, Tid};

use super::{Changed, Extensions, Extent, Head, Source};

/// What a comparison has found.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) transactions: u64,
    /// The first difference, where all that follows was not looked at.
    pub(crate) difference: Option<String>,
    pub(crate) extensions: Extensions,
    /// Records that do not tell alike whether the object has a record before.
    pub(crate) relinked: Changed,
    pub(crate) interrupted: bool,
}

/// Compares all that both have, as it would be in a `Data.fs`: texts, records, their order, and
/// where undos have their data from. An extension may be what becomes of it on its way through a
/// storage, and that and pointers to previous records are counted where they differ.
pub(crate) fn compare(
    original: &mut dyn Source,
    copy: &mut dyn Source,
    goes_on: &mut dyn FnMut(Extent) -> bool,
) -> Result<Compared> {
    let mut compared = Compared::default();
    let mut seen: HashSet<Oid, FixedState> = HashSet::default();
    loop {
        let (wanted, found) = (original.next_transaction()?, copy.next_transaction()?);
        let Some(head) = wanted else {
            compared.difference = found.map(|head| format!("{} is too many", head.name()));
            return Ok(compared);
        };
        compared.difference = difference_of_heads(&head, found.as_ref());
        compared.extensions.note(&head);
        while compared.difference.is_none() {
            if !goes_on(original.extent()) {
                compared.interrupted = true;
                return Ok(compared);
            }
            let (wanted, found) = (original.next_record()?, copy.next_record()?);
            let Some(wanted) = wanted else {
                let more = found.map(|found| {
                    format!("{} has a record too many: object {}", head.name(), found.oid)
                });
                compared.difference = more;
                break;
            };
            // An object's first record has no previous one, whatever is asked of a writer.
            let is_first = seen.insert(wanted.oid);
            if found.as_ref().is_some_and(|found| found.linked != wanted.linked && !is_first) {
                compared.relinked.add(head.transaction.tid);
            }
            let difference = match found {
                None => Some("is missing"),
                Some(found) => difference_of_records(&wanted, &found),
            };
            let difference = match difference {
                None => difference_of_blobs(original.blob()?.as_deref(), copy.blob()?.as_deref())?,
                found => found,
            };
            let tell =
                |what| format!("{}: the record of object {} {what}", head.name(), wanted.oid);
            compared.difference = difference.map(tell);
        }
        if compared.difference.is_some() {
            return Ok(compared);
        }
        compared.transactions += 1;
    }
}

/// Whether both have transaction `tid` with the same content, but what a pack has taken away from
/// `one`.
pub(crate) fn is_same(one: &mut dyn Source, other: &mut dyn Source, tid: Tid) -> Result<bool> {
    let before = Tid(tid.0.saturating_sub(1));
    one.seek_after(before)?;
    other.seek_after(before)?;
    let (Some(head), found) = (one.next_transaction()?, other.next_transaction()?) else {
        return Ok(false);
    };
    let found = found.map(|found| found.with_status(head.transaction.status));
    if difference_of_heads(&head, found.as_ref()).is_some() {
        return Ok(false);
    }
    loop {
        let wanted = one.next_record()?;
        // Looked at afterwards, as it may have been packed meanwhile.
        let may_lack = one.packed_to() >= tid;
        let Some(wanted) = wanted else {
            return Ok(may_lack || other.next_record()?.is_none());
        };
        let found = loop {
            match other.next_record()? {
                Some(found) if may_lack && found.oid != wanted.oid => {}
                found => break found,
            }
        };
        let is_same = |found: &Record| found.oid == wanted.oid && found.data == wanted.data;
        if !found.as_ref().is_some_and(is_same) {
            return Ok(false);
        }
    }
}

fn difference_of_heads(wanted: &Head, found: Option<&Head>) -> Option<String> {
    let Some(found) = found else { return Some(format!("{} is missing", wanted.name())) };
    let (one, other) = (&wanted.transaction, &found.transaction);
    let what = if one.tid != other.tid {
        return Some(format!("{} is in the place of {}", found.name(), wanted.name()));
    } else if one.status != other.status {
        "status"
    } else if one.user != other.user {
        "user"
    } else if one.description != other.description {
        "description"
    } else if wanted.kept_extension() != found.kept_extension() {
        "extension"
    } else {
        return None;
    };
    Some(format!("{} has another {what}", wanted.name()))
}

fn difference_of_records(wanted: &Record, found: &Record) -> Option<&'static str> {
    if wanted.oid != found.oid {
        Some("is not in its place")
    } else if wanted.data != found.data {
        Some("has other data")
    } else if wanted.origin != found.origin {
        Some("has its data from elsewhere")
    } else {
        None
    }
}

/// By their lengths, as a copy of another length is what a full disk leaves.
fn difference_of_blobs(
    wanted: Option<&Path>,
    found: Option<&Path>,
) -> Result<Option<&'static str>> {
    let bytes = |path: &Path| {
        fs::metadata(path).map(|blob| blob.len()).with_context(|| path.display().to_string())
    };
    let (wanted, found) = (wanted.map(bytes).transpose()?, found.map(bytes).transpose()?);
    let difference = match found {
        None => "has no blob",
        Some(_) => "has another blob",
    };
    Ok((wanted != found).then_some(difference))
}
