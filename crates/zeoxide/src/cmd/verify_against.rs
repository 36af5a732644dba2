//! `zeoxide verify --against`: whether two storages have the same history.

use std::path::Path;

use anyhow::{Result, bail};
use protocol::Tid;
use serde::Serialize;

use super::verify::Options;
use crate::End;
use crate::histories::{Compared, Difference, Side, compare};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::text::time;

#[derive(Debug, Serialize)]
struct Report {
    /// In both, and the same.
    transactions: u64,
    records: u64,
    blobs: u64,
    last_common_transaction: Option<String>,
    storages: [Storage; 2],
    difference: Option<Different>,
    interrupted: bool,
}

#[derive(Debug, Serialize)]
struct Storage {
    name: String,
    last_transaction: Option<String>,
    packed_to: Option<String>,
    /// Transactions that the other one has packed away.
    packed_in_other: u64,
    /// Transactions after the end of the other one.
    ahead: u64,
}

#[derive(Debug, Serialize)]
struct Different {
    transaction: String,
    object: Option<String>,
    what: String,
}

pub(super) fn run(options: &Options, against: &Path, interrupt: &Interrupt) -> Result<End> {
    if options.blobs.is_some() != options.against_blobs.is_some() {
        bail!("to compare blobs, --blobs and --against-blobs must both say where they are");
    }
    for dir in [&options.file, against] {
        if !dir.is_dir() {
            bail!("--against compares directories of storages, and {} is none", dir.display());
        }
    }
    // DIR is looked at last: what a primary commits meanwhile does not make its secondary seem ahead.
    let mut other = Side::open(against, options.against_blobs.as_deref())?;
    let mut one = Side::open(&options.file, options.blobs.as_deref())?;
    let mut progress = Progress::new("comparing", 0, one.log.bytes() + other.log.bytes());
    let found = compare(&mut one, &mut other, &mut |read| {
        progress.tell(read);
        !interrupt.is_set()
    });
    progress.end();
    let found = found?;
    if options.json {
        println!("{}", serde_json::to_string(&Report::of(&one, &other, &found))?);
    } else {
        println!("{}", text(&one, &other, &found, options.blobs.is_some()).join("\n"));
    }
    let is_behind = one.ahead + other.ahead > 0 && !options.allow_behind;
    Ok(match &found {
        Compared { interrupted: true, .. } => End::Interrupted,
        Compared { difference: Some(_), .. } => End::Wrong,
        _ if is_behind => End::Wrong,
        _ => End::Good,
    })
}

impl Report {
    fn of(one: &Side, other: &Side, found: &Compared) -> Self {
        let different = |Difference { tid, oid, what }: &Difference| Different {
            transaction: tid.to_string(),
            object: oid.map(|oid| oid.to_string()),
            what: what.clone(),
        };
        Self {
            transactions: found.transactions,
            records: found.records,
            blobs: found.blobs,
            last_common_transaction: known(found.last_common).map(|tid| tid.to_string()),
            storages: [one, other].map(|side| Storage {
                name: side.name.clone(),
                last_transaction: known(side.log.last_tid()).map(|tid| tid.to_string()),
                packed_to: known(side.log.packed_to()).map(|tid| tid.to_string()),
                packed_in_other: side.packed_there,
                ahead: side.ahead,
            }),
            difference: found.difference.as_ref().map(different),
            interrupted: found.interrupted,
        }
    }
}

fn text(one: &Side, other: &Side, found: &Compared, with_blobs: bool) -> Vec<String> {
    let named =
        |tid| known(tid).map_or_else(|| "none".to_owned(), |tid| format!("{tid} ({})", time(tid)));
    let mut lines = vec![
        format!("transactions  {}, in both and the same", found.transactions),
        format!("last of them  {}", named(found.last_common)),
        format!("records       {}", found.records),
    ];
    let unchecked = "not compared: --blobs DIR --against-blobs DIR say where they are";
    match found.blobs {
        0 => {}
        blobs if with_blobs => lines.push(format!("blobs         {blobs}")),
        blobs => lines.push(format!("blobs         {blobs}, {unchecked}")),
    }
    for (side, there) in [(one, other), (other, one)] {
        if known(side.log.packed_to()).is_some() {
            let (name, to, lacks) = (&side.name, named(side.log.packed_to()), there.packed_there);
            lines.push(format!(
                "packed        {name} up to {to}: {lacks} transactions are only in {}",
                there.name
            ));
        }
    }
    if let Some(Difference { tid, oid, what }) = &found.difference {
        let object = oid.map(|oid| format!(", object {oid}")).unwrap_or_default();
        lines.push(format!("DIFFERENT: transaction {}{object}: {what}", named(*tid)));
    } else if !found.interrupted {
        lines.push(end(one, other, found));
    }
    lines
}

/// How two that do not differ end.
fn end(one: &Side, other: &Side, found: &Compared) -> String {
    let (more, less) = match (one.ahead, other.ahead) {
        (0, 0) => return "the histories are the same".to_owned(),
        (0, _) => (other, one),
        _ => (one, other),
    };
    let (count, last) = (more.ahead, more.log.last_tid());
    let behind = format!(
        "BEHIND: {} has {count} transactions more, up to {last} ({}); {}",
        more.name,
        time(last),
        less.name
    );
    if found.last_common == less.log.last_tid() {
        return format!("{behind} has all before them");
    }
    // Where it ends was packed away there, and the digest with it.
    format!(
        "{behind} ends with transaction {}, which {} has packed away: that the histories are the same \
         is known up to {} only",
        less.log.last_tid(),
        more.name,
        found.last_common
    )
}

fn known(tid: Tid) -> Option<Tid> {
    (tid != Tid::ZERO).then_some(tid)
}
