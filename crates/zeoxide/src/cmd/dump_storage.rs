//! `zeoxide dump` of a storage's directory; and `zeoxide tail`, which follows it.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use anyhow::Result;
use protocol::Tid;
use storage::Snapshot;
use storage::disk::{Disk, RealDisk};

use super::dump::{Body, Head, Options, print_record, print_transaction, readable};
use crate::End;
use crate::interrupt::Interrupt;

pub(super) fn run(options: &Options, interrupt: &Interrupt) -> Result<End> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let snapshot = Snapshot::open(&disk, &options.file, None)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let from = options.after.map_or(Tid::ZERO, Tid::next);
    let Options { no_records, json, .. } = *options;
    let result = print(&snapshot, from, Shown { no_records, json }, interrupt, &mut out);
    // What was printed before an error stays.
    out.flush()?;
    let end = result?;
    if let Some(torn) = snapshot.torn().filter(|_| end == End::Good) {
        let (path, offset) = (torn.path.display(), torn.offset);
        eprintln!("zeoxide: {path}: at offset {offset} there is more: {}", torn.what);
    }
    Ok(end)
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) no_records: bool,
    pub(super) json: bool,
}

/// Prints the transactions from `from` on.
pub(super) fn print(
    snapshot: &Snapshot,
    from: Tid,
    options: Shown,
    interrupt: &Interrupt,
    out: &mut impl Write,
) -> Result<End> {
    let mut transactions = snapshot.transactions(from, Tid::MAX)?;
    while let Some(transaction) = transactions.next()? {
        let head = Head {
            tid: transaction.head.tid,
            status: transaction.head.status,
            user: &transaction.head.user,
            description: &transaction.head.description,
            extension: readable(&transaction.head.extension),
            segment: transaction.path.file_name().map(|name| name.to_string_lossy().into_owned()),
            offset: transaction.offset,
            bytes: transaction.bytes,
        };
        print_transaction(head, options.json, out)?;
        while !options.no_records
            && !interrupt.is_set()
            && let Some(record) = transactions.next_record()?
        {
            let body = Body {
                tid: record.tid,
                oid: record.oid,
                bytes: record.data.map(|data| data.len() as u64),
                origin: record.origin,
                offsets: None,
                has_blob: record.has_blob,
            };
            print_record(&body, options.json, out)?;
        }
        if interrupt.is_set() {
            return Ok(End::Interrupted);
        }
    }
    Ok(End::Good)
}
