//! Reads a segment from front to back, believing nothing.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use protocol::{Oid, Tid};

use super::format::{
    ALIGNMENT, Identity, RECORD_HEADER_BYTES, RecordHeader, TRAILER_BYTES,
    TRANSACTION_HEADER_BYTES, TRANSACTION_MAGIC, TransactionHeader, new_digest, padded,
};
use crate::disk::File;
use crate::index::Place;
use crate::log::segments::sidecar::Entry;

/// What is found at an offset.
#[derive(Debug)]
pub(super) enum Scanned {
    /// A whole transaction.
    Transaction(Transaction),
    /// The file ends here.
    End,
    /// Something else, for this reason.
    Fault(&'static str),
}

/// A whole transaction, as far as an index needs it.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) header: TransactionHeader,
    pub(super) entries: Vec<Entry>,
    /// Offset of the byte after it.
    pub(super) end: u64,
}

const BUFFER_BYTES: usize = 1 << 20;

/// Transactions of one segment file.
#[derive(Debug)]
pub(super) struct Scanner {
    input: BufReader<Cursor>,
    identity: Identity,
    segment: u32,
    offset: u64,
    len: u64,
}

impl Scanner {
    /// Starts at `offset`, where a transaction starts or the file ends.
    pub(super) fn new(
        file: Arc<dyn File>,
        segment: u32,
        offset: u64,
        identity: Identity,
    ) -> io::Result<Self> {
        let len = file.len()?;
        let input = BufReader::with_capacity(BUFFER_BYTES, Cursor { file, offset, len });
        Ok(Self { input, identity, segment, offset, len })
    }

    /// Where reading goes on, or failed.
    pub(super) fn position(&self) -> u64 {
        self.input.get_ref().offset
    }

    /// What is at the current offset. After a fault, scanning is over.
    pub(super) fn next(&mut self) -> io::Result<Scanned> {
        if self.offset >= self.len {
            return Ok(Scanned::End);
        }
        match self.transaction() {
            Ok(Ok(transaction)) => {
                self.offset = transaction.end;
                Ok(Scanned::Transaction(transaction))
            }
            Ok(Err(fault)) => Ok(Scanned::Fault(fault)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Scanned::Fault("the file ends within a transaction"))
            }
            Err(error) => Err(error),
        }
    }

    fn transaction(&mut self) -> io::Result<Result<Transaction, &'static str>> {
        let mut header = [0; TRANSACTION_HEADER_BYTES];
        self.input.read_exact(&mut header)?;
        let Some(header) = TransactionHeader::decode(&header, self.identity) else {
            return Ok(Err("no transaction header"));
        };
        let end = self.offset.saturating_add(header.total_bytes);
        if end > self.len {
            return Ok(Err("the file ends within a transaction"));
        }
        let mut body = new_digest();
        self.digest(header.meta_bytes(), &mut body)?;
        let mut at = self.offset + TRANSACTION_HEADER_BYTES as u64 + padded(header.meta_bytes());
        let mut entries = Vec::new();
        for _ in 0..header.records {
            let mut bytes = [0; RECORD_HEADER_BYTES];
            self.input.read_exact(&mut bytes)?;
            body.update(&bytes);
            let Some(record) = RecordHeader::decode(&bytes) else {
                return Ok(Err("no record header"));
            };
            if !self.record_is_whole(&record)? {
                return Ok(Err("a record's checksum is wrong"));
            }
            let place = Place { offset: at, segment: self.segment, len: record.len };
            entries.push(Entry { oid: record.oid, tid: header.tid, place });
            at += RECORD_HEADER_BYTES as u64 + padded(record.data_bytes());
        }
        let mut trailer = [0; TRAILER_BYTES];
        self.input.read_exact(&mut trailer)?;
        if body.finalize() as u32 != header.body_crc {
            return Ok(Err("a transaction's checksum is wrong"));
        }
        if u64::from_le_bytes(trailer) != header.total_bytes || at + TRAILER_BYTES as u64 != end {
            return Ok(Err("a transaction's length is wrong"));
        }
        Ok(Ok(Transaction { header, entries, end }))
    }

    fn record_is_whole(&mut self, record: &RecordHeader) -> io::Result<bool> {
        let mut digest = new_digest();
        digest.update(&record.oid.to_bytes());
        let len = if record.len == Place::NO_DATA { record.len } else { record.len & !Place::BLOB };
        digest.update(&len.to_le_bytes());
        self.digest(record.data_bytes(), &mut digest)?;
        Ok(digest.finalize() as u32 == record.crc)
    }

    /// Reads `bytes` into `digest`, and the padding after them.
    fn digest(&mut self, bytes: u64, digest: &mut crc_fast::Digest) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let buffer = self.input.fill_buf()?;
            let part = buffer.get(..usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len()));
            let part = part.unwrap_or(buffer);
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            digest.update(part);
            let taken = part.len();
            left -= taken as u64;
            self.input.consume(taken);
        }
        let mut padding = [0; ALIGNMENT as usize];
        let missing = (padded(bytes) - bytes) as usize;
        self.input.read_exact(padding.get_mut(..missing).unwrap_or_default())
    }
}

/// The first offset from `from` on at which a transaction header stands that proves that the
/// bytes at `from` had been durable: then the fault at `from` is damage, not a torn write.
pub(super) fn proof_of_durability(
    file: &Arc<dyn File>,
    from: u64,
    identity: Identity,
) -> io::Result<Option<u64>> {
    find_header(file, from, identity, |header| header.durable_to > from)
}

/// The first offset from `from` on, where something may start, at which a transaction header stands
/// that is wanted.
pub(super) fn find_header(
    file: &Arc<dyn File>,
    from: u64,
    identity: Identity,
    is_wanted: impl Fn(&TransactionHeader) -> bool,
) -> io::Result<Option<u64>> {
    let len = file.len()?;
    let mut window = vec![0; BUFFER_BYTES + TRANSACTION_HEADER_BYTES];
    let mut start = from;
    while start < len {
        let filled = usize::try_from(len - start).unwrap_or(usize::MAX).min(window.len());
        let bytes = window.get_mut(..filled).unwrap_or_default();
        file.read_exact_at(bytes, start)?;
        for at in (0..filled.min(BUFFER_BYTES)).step_by(ALIGNMENT as usize) {
            let here = bytes.get(at..).unwrap_or_default();
            if !here.starts_with(&TRANSACTION_MAGIC) {
                continue;
            }
            let header = here.get(..TRANSACTION_HEADER_BYTES);
            let header = header.and_then(|header| TransactionHeader::decode(header, identity));
            if header.is_some_and(|header| is_wanted(&header)) {
                return Ok(Some(start + at as u64));
            }
        }
        start += BUFFER_BYTES as u64;
    }
    Ok(None)
}

/// A file as `Read`.
#[derive(Debug)]
struct Cursor {
    file: Arc<dyn File>,
    offset: u64,
    len: u64,
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let wanted = buf.len().min(left);
        let buf = buf.get_mut(..wanted).unwrap_or_default();
        self.file.read_exact_at(buf, self.offset)?;
        self.offset += wanted as u64;
        Ok(wanted)
    }
}

/// Groups `entries` by tid, newest first, at most `count` of them.
pub(super) fn last_transactions(entries: &[Entry], count: usize) -> Vec<(Tid, Vec<Oid>)> {
    let mut last: Vec<(Tid, Vec<Oid>)> = Vec::new();
    for entry in entries.iter().rev() {
        let full = last.len() == count;
        match last.last_mut() {
            Some((tid, oids)) if *tid == entry.tid => oids.push(entry.oid),
            _ if full => break,
            _ => last.push((entry.tid, vec![entry.oid])),
        }
    }
    last
}
