//! `zeoxide dump`: the transactions and records of a file.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use datafs::{Reader, RecordAt, TransactionAt, extension};
use protocol::zeo::{Kind, Tree, Value, msgpack};
use protocol::{Limits, Oid, Tid};
use serde::Serialize;

use crate::End;
use crate::interrupt::Interrupt;
use crate::text::{line, parse_tid, size, time};

/// Print the transactions and records of a storage or of a Data.fs
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A storage's directory or a Data.fs, which may be in use
    #[arg(value_name = "DIR|FILE")]
    pub(super) file: PathBuf,
    /// Begin after this transaction (16 hexadecimal digits)
    #[arg(long, value_name = "TID", value_parser = parse_tid)]
    pub(super) after: Option<Tid>,
    /// Print transactions only
    #[arg(long)]
    pub(super) no_records: bool,
    /// Print a JSON object in each line, of kind `transaction` or `record`
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    if options.file.is_dir() {
        return super::dump_storage::run(options, &interrupt);
    }
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
        print_transaction(head(&at), options.json, out)?;
        while !options.no_records
            && let Some(record) = reader.next_record()?
        {
            print_record(&body(&at, &record), options.json, out)?;
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
        /// The file of a storage that it is in.
        #[serde(skip_serializing_if = "Option::is_none")]
        segment: Option<String>,
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
        /// Only a storage tells.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        blob: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        /// Where the object's previous record is; 0 for none.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<u64>,
    },
}

/// A transaction, wherever it is.
pub(super) struct Head<'a> {
    pub(super) tid: Tid,
    pub(super) status: u8,
    pub(super) user: &'a Bytes,
    pub(super) description: &'a Bytes,
    /// As JSON, or why it cannot be shown.
    pub(super) extension: Result<serde_json::Value>,
    /// Of a storage.
    pub(super) segment: Option<String>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// A record, wherever it is.
pub(super) struct Body {
    pub(super) tid: Tid,
    pub(super) oid: Oid,
    pub(super) bytes: Option<u64>,
    pub(super) origin: Option<Tid>,
    /// In a Data.fs: where it is, and the object's previous one.
    pub(super) offsets: Option<(u64, u64)>,
    pub(super) has_blob: bool,
}

fn head(at: &TransactionAt) -> Head<'_> {
    let TransactionAt { transaction, offset, bytes, .. } = at;
    Head {
        tid: transaction.tid,
        status: transaction.status.to_byte(),
        user: &transaction.user,
        description: &transaction.description,
        extension: extension::to_msgpack(&transaction.extension)
            .map_err(Into::into)
            .and_then(|map| readable(&map)),
        segment: None,
        offset: *offset,
        bytes: *bytes,
    }
}

fn body(within: &TransactionAt, at: &RecordAt) -> Body {
    Body {
        tid: within.transaction.tid,
        oid: at.record.oid,
        bytes: at.record.data.as_ref().map(|data| data.len() as u64),
        origin: at.record.origin,
        offsets: Some((at.offset, at.previous)),
        has_blob: false,
    }
}

pub(super) fn print_transaction(head: Head<'_>, json: bool, out: &mut impl Write) -> Result<()> {
    let Head { tid, status, user, description, extension, segment, offset, bytes } = head;
    if json {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        return print_json(
            out,
            &Line::Transaction {
                tid: tid.to_string(),
                time: time(tid),
                status: char::from(status),
                user: text(user),
                description: text(description),
                extension: extension.unwrap_or_default(),
                segment,
                offset,
                bytes,
            },
        );
    }
    let state = match status {
        b'p' => ", packed",
        b'u' => ", undone",
        _ => "",
    };
    let within = segment.map(|segment| format!(" of {segment}")).unwrap_or_default();
    writeln!(out, "transaction {tid} {} at {offset}{within}, {bytes} bytes{state}", time(tid))?;
    for (what, text) in [("user", user), ("description", description)] {
        if !text.is_empty() {
            writeln!(out, "  {what}: {}", line(text))?;
        }
    }
    match extension {
        Ok(serde_json::Value::Null) => {}
        Ok(extension) => writeln!(out, "  extension: {extension}")?,
        Err(why) => writeln!(out, "  extension: not shown: {why}")?,
    }
    Ok(())
}

pub(super) fn print_record(body: &Body, json: bool, out: &mut impl Write) -> Result<()> {
    let &Body { tid, oid, bytes, origin, offsets, has_blob } = body;
    if json {
        return print_json(
            out,
            &Line::Record {
                tid: tid.to_string(),
                oid: oid.to_string(),
                bytes,
                origin: origin.map(|origin| origin.to_string()),
                blob: has_blob,
                offset: offsets.map(|(offset, _)| offset),
                previous: offsets.map(|(_, previous)| previous),
            },
        );
    }
    let at = offsets.map(|(offset, _)| format!(" at {offset}")).unwrap_or_default();
    write!(out, "  record {oid}{at}: ")?;
    match bytes {
        Some(bytes) => write!(out, "{bytes} bytes")?,
        None => write!(out, "deleted, or its creation undone")?,
    }
    if let Some(origin) = origin {
        write!(out, ", of revision {origin}")?;
    }
    Ok(writeln!(out, "{}", if has_blob { ", and a blob" } else { "" })?)
}

fn print_json(out: &mut impl Write, line: &Line) -> Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// An extension, a MessagePack map, as JSON, for which bytes are taken for text; `null` for none.
pub(super) fn readable(map: &Bytes) -> Result<serde_json::Value> {
    if map.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    let mut tree = Tree::new();
    let root = msgpack::parse(map, &Limits::default(), &mut tree);
    let root = root.context("an extension of this kind cannot be shown")?;
    Ok(json_of(Value::new(&tree, map, root)))
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
