//! `zeoxide dump`: the transactions and records of a file.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use datafs::{Reader, RecordAt, Status, TransactionAt, extension};
use protocol::zeo::{Kind, Tree, Value, msgpack};
use protocol::{Limits, Tid};
use serde::Serialize;

use crate::End;
use crate::interrupt::Interrupt;
use crate::text::{line, parse_tid, size, time};

/// Print the transactions and records of a Data.fs
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A Data.fs, which may be in use
    file: PathBuf,
    /// Begin after this transaction (16 hexadecimal digits)
    #[arg(long, value_name = "TID", value_parser = parse_tid)]
    after: Option<Tid>,
    /// Print transactions only
    #[arg(long)]
    no_records: bool,
    /// Print a JSON object in each line, of kind `transaction` or `record`
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    let mut reader = Reader::open(&options.file)?;
    if let Some(tid) = options.after {
        reader.seek_after(tid)?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let result = dump(&mut reader, options, &interrupt, &mut out);
    // What was printed before an error stays.
    out.flush()?;
    let end = result?;
    if let Some(torn) = reader.torn().filter(|_| end == End::Good) {
        eprintln!(
            "zeoxide: at offset {} there are {} more: {}",
            torn.offset,
            size(torn.bytes),
            torn.by
        );
    }
    Ok(end)
}

fn dump(
    reader: &mut Reader,
    options: &Options,
    interrupt: &Interrupt,
    out: &mut impl Write,
) -> Result<End> {
    while let Some(at) = reader.next_transaction()? {
        print_transaction(&at, options.json, out)?;
        while !options.no_records
            && let Some(record) = reader.next_record()?
        {
            print_record(&at, &record, options.json, out)?;
            if interrupt.is_set() {
                break;
            }
        }
        if interrupt.is_set() {
            return Ok(End::Interrupted);
        }
    }
    Ok(End::Good)
}

/// A line of JSON. Ids are strings of hexadecimal digits.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Transaction {
        tid: String,
        time: String,
        status: char,
        user: String,
        description: String,
        /// `null` for none, and for one that is not plain data.
        extension: serde_json::Value,
        offset: u64,
        bytes: u64,
    },
    Record {
        tid: String,
        oid: String,
        /// Of the data; `null` for none.
        bytes: Option<u64>,
        /// The revision whose data these are.
        origin: Option<String>,
        offset: u64,
        /// Where the object's previous record is; 0 for none.
        previous: u64,
    },
}

fn print_transaction(at: &TransactionAt, json: bool, out: &mut impl Write) -> Result<()> {
    let transaction = &at.transaction;
    let (offset, bytes) = (at.offset, at.bytes);
    let extension = readable(&transaction.extension);
    if json {
        return print_json(
            out,
            &Line::Transaction {
                tid: transaction.tid.to_string(),
                time: time(transaction.tid),
                status: char::from(transaction.status.to_byte()),
                user: String::from_utf8_lossy(&transaction.user).into_owned(),
                description: String::from_utf8_lossy(&transaction.description).into_owned(),
                extension: extension.unwrap_or_default(),
                offset,
                bytes,
            },
        );
    }
    let status = match transaction.status {
        Status::Complete => "",
        Status::Packed => ", packed",
        Status::Undone => ", undone",
    };
    let (tid, time) = (transaction.tid, time(transaction.tid));
    writeln!(out, "transaction {tid} {time} at {offset}, {bytes} bytes{status}")?;
    for (what, text) in [("user", &transaction.user), ("description", &transaction.description)] {
        if !text.is_empty() {
            writeln!(out, "  {what}: {}", line(text))?;
        }
    }
    match extension {
        Ok(serde_json::Value::Null) => {}
        Ok(extension) => writeln!(out, "  extension: {extension}")?,
        Err(why) => writeln!(out, "  extension: {} bytes; {why}", transaction.extension.len())?,
    }
    Ok(())
}

fn print_record(
    within: &TransactionAt,
    at: &RecordAt,
    json: bool,
    out: &mut impl Write,
) -> Result<()> {
    let record = &at.record;
    let bytes = record.data.as_ref().map(|data| data.len() as u64);
    if json {
        return print_json(
            out,
            &Line::Record {
                tid: within.transaction.tid.to_string(),
                oid: record.oid.to_string(),
                bytes,
                origin: record.origin.map(|origin| origin.to_string()),
                offset: at.offset,
                previous: at.previous,
            },
        );
    }
    write!(out, "  record {} at {}: ", record.oid, at.offset)?;
    match bytes {
        Some(bytes) => write!(out, "{bytes} bytes")?,
        None => write!(out, "deleted, or its creation undone")?,
    }
    match record.origin {
        Some(origin) => writeln!(out, ", of revision {origin}")?,
        None => writeln!(out)?,
    }
    Ok(())
}

fn print_json(out: &mut impl Write, line: &Line) -> Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// An extension as JSON, for which bytes are taken for text; `null` for none.
fn readable(pickle: &[u8]) -> Result<serde_json::Value> {
    let map: Bytes = extension::to_msgpack(pickle)?;
    if map.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    let mut tree = Tree::new();
    let root = msgpack::parse(&map, &Limits::default(), &mut tree);
    let root = root.context("an extension of this kind cannot be shown")?;
    Ok(json_of(Value::new(&tree, &map, root)))
}

/// As deep as the limits let a value be.
fn json_of(value: Value<'_>) -> serde_json::Value {
    let text = |value: Value<'_>| {
        let data = value.data().unwrap_or_default();
        String::from_utf8_lossy(&data).into_owned()
    };
    match value.kind() {
        Kind::Bool(value) => value.into(),
        Kind::Int(value) => value.into(),
        Kind::Uint(value) => value.into(),
        Kind::Float(value) => value.into(),
        Kind::Str(_) | Kind::Bytes(_) => text(value).into(),
        Kind::Tuple(_) | Kind::List(_) => {
            value.sequence().into_iter().flatten().map(json_of).collect::<Vec<_>>().into()
        }
        Kind::Map(_) => {
            let mut map = serde_json::Map::new();
            for (key, value) in value.pairs().into_iter().flatten() {
                let key = key.str().map_or_else(|| json_of(key).to_string(), str::to_owned);
                map.insert(key, json_of(value));
            }
            map.into()
        }
        Kind::None | Kind::Long(_) | Kind::Prefix(_) | Kind::Other => serde_json::Value::Null,
    }
}
