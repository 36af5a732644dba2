//! Reading: transactions in the order of the file, and the records of each.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::{Oid, Tid};

use crate::error::{Damage, ReadError, Torn, TornBy};
use crate::format::{
    CHECKPOINT, MAGIC_BYTES, Magic, POINTER_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, Record,
    RecordHeader, Status, TRANSACTION_HEADER_BYTES, Transaction, TransactionHeader,
};
use crate::input::Input;

mod seek;
mod superseded;

/// Reads a file from the front, or from where it is told to start.
///
/// The file may be in use: what is committed after it was opened is not seen.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    input: Input,
    magic: Magic,
    /// Where the next transaction begins.
    next: u64,
    last_tid: Tid,
    open: Option<Open>,
    torn: Option<Torn>,
}

/// The transaction whose records are being read.
#[derive(Clone, Copy, Debug)]
struct Open {
    tid: Tid,
    offset: u64,
    /// Where its next record begins.
    next: u64,
    /// Where its records end.
    end: u64,
}

/// A transaction, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionAt {
    /// What it says.
    pub transaction: Transaction,
    /// Where it begins.
    pub offset: u64,
    /// Up to the next one.
    pub bytes: u64,
}

/// A record, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordAt {
    /// What it says.
    pub record: Record,
    /// Where it begins.
    pub offset: u64,
    /// Where the object's previous record begins; 0 for none.
    pub previous: u64,
    /// Where the record with the data begins; 0 if it has its own, or there are none.
    pub back: u64,
}

impl Reader {
    /// Opens a file; the first transaction is the next one.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io { path: path.to_owned(), source };
        let mut input = File::open(path).and_then(Input::new).map_err(failed)?;
        let magic = if input.bytes() < MAGIC_BYTES {
            Err(input.data(0, usize::try_from(input.bytes()).unwrap_or(0)).map_err(failed)?.into())
        } else {
            let bytes = input.array(0).map_err(failed)?;
            Magic::from_bytes(bytes).ok_or_else(|| bytes.to_vec())
        };
        let magic = magic.map_err(|found| ReadError::NotDataFs { path: path.to_owned(), found })?;
        let (next, last_tid) = (MAGIC_BYTES, Tid::ZERO);
        Ok(Self { path: path.to_owned(), input, magic, next, last_tid, open: None, torn: None })
    }

    /// Which Python wrote the file.
    pub fn magic(&self) -> Magic {
        self.magic
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.input.bytes()
    }

    /// How many of them are read.
    pub fn position(&self) -> u64 {
        self.open.map_or(self.next, |open| open.next)
    }

    /// What was found in place of another transaction at the end, once that is reached.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// Makes the transaction that begins at `offset`, as [`TransactionAt::offset`] told it, the
    /// next one. Anything else is reported as damage by [`Self::next_transaction`], more or less
    /// surely.
    pub fn seek(&mut self, offset: u64) {
        self.next = offset.max(MAGIC_BYTES);
        (self.open, self.torn, self.last_tid) = (None, None, Tid::ZERO);
    }

    /// The next transaction; records of the one before that were not asked for are passed over.
    /// `None`: there is none, and [`Self::torn`] tells what else there is.
    pub fn next_transaction(&mut self) -> Result<Option<TransactionAt>, ReadError> {
        self.open = None;
        let offset = self.next;
        let Some(header) = self.header(offset)? else { return Ok(None) };
        if header.tid <= self.last_tid {
            let damage = Damage::TidOrder { tid: header.tid, last: self.last_tid };
            return Err(self.damaged(offset, damage));
        }
        let end = offset + header.bytes;
        let second = self.input.array_apart(end).map(u64::from_be_bytes);
        let second = self.read(second)?;
        if second != header.bytes {
            let damage = Damage::LengthsDiffer { first: header.bytes, second };
            return Err(self.damaged(end, damage));
        }
        let mut text_at = offset + TRANSACTION_HEADER_BYTES as u64;
        let mut text = |len: u16| {
            let text = self.input.data(text_at, len.into());
            text_at += u64::from(len);
            self.read(text)
        };
        let transaction = Transaction {
            tid: header.tid,
            status: Status::from_byte(header.status).expect("it was looked at"),
            user: text(header.user_bytes)?,
            description: text(header.description_bytes)?,
            extension: text(header.extension_bytes)?,
        };
        let next = offset + header.head_bytes();
        self.open = Some(Open { tid: header.tid, offset, next, end });
        self.last_tid = header.tid;
        self.next = end + POINTER_BYTES;
        Ok(Some(TransactionAt { transaction, offset, bytes: header.bytes + POINTER_BYTES }))
    }

    /// The next record of the transaction; `None`: there is none.
    pub fn next_record(&mut self) -> Result<Option<RecordAt>, ReadError> {
        let Some((offset, header)) = self.record_header()? else { return Ok(None) };
        let (back, data, origin) = if header.data_bytes > 0 {
            (0, Some(self.data(offset, header.data_bytes)?), None)
        } else {
            let back = self.input.array(offset + RECORD_HEADER_BYTES as u64);
            let back = self.read(back.map(u64::from_be_bytes))?;
            let (data, origin) = self.resolve(header.oid, offset, back)?;
            (back, data, origin)
        };
        let record = Record { oid: header.oid, data, origin, linked: header.previous != 0 };
        Ok(Some(RecordAt { record, offset, previous: header.previous, back }))
    }

    /// As [`Self::next_record`], for who needs to know only whose revision is where.
    pub(crate) fn next_place(&mut self) -> Result<Option<(Oid, u64)>, ReadError> {
        Ok(self.record_header()?.map(|(offset, header)| (header.oid, offset)))
    }

    /// Passes over the next record, all of which is within the transaction.
    fn record_header(&mut self) -> Result<Option<(u64, RecordHeader)>, ReadError> {
        let Some(open) = self.open.filter(|open| open.next < open.end) else { return Ok(None) };
        let offset = open.next;
        let rest = open.end - offset;
        if rest <= RECORD_HEADER_BYTES as u64 {
            return Err(self.damaged(offset, Damage::Rest(rest)));
        }
        let header = self.input.array(offset).map(RecordHeader::decode);
        let header = self.read(header)?;
        let fault = if header.tid != open.tid {
            Damage::WrongTid { tid: header.tid, within: open.tid }
        } else if header.transaction != open.offset {
            Damage::WrongTransaction(header.transaction)
        } else if header.version_bytes != 0 {
            Damage::Version
        } else if !points_back(header.previous, offset) {
            Damage::PreviousPointer(header.previous)
        } else if let Some(bytes) = header.record_bytes().filter(|bytes| *bytes <= rest) {
            self.open = Some(Open { next: offset + bytes, ..open });
            return Ok(Some((offset, header)));
        } else {
            Damage::LongRecord(header.data_bytes)
        };
        Err(self.damaged(offset, fault))
    }

    /// The data that a pointer leads to, perhaps by another one, and the tid of the first record on
    /// that way.
    fn resolve(
        &self,
        oid: Oid,
        mut from: u64,
        mut back: u64,
    ) -> Result<(Option<Bytes>, Option<Tid>), ReadError> {
        let mut origin = None;
        while back != 0 {
            // Each pointer leads further back, so this ends.
            let fits = points_back(back, from.saturating_sub(RECORD_HEADER_BYTES as u64));
            if !fits {
                return Err(self.damaged(from, Damage::BackPointer(back)));
            }
            let header = self.read(self.input.array_apart(back).map(RecordHeader::decode))?;
            if header.oid != oid {
                return Err(self.damaged(from, Damage::WrongOid { oid, found: header.oid }));
            }
            origin.get_or_insert(header.tid);
            if header.data_bytes > 0 {
                let end =
                    back.checked_add(RECORD_HEADER_BYTES as u64 + header.data_bytes.min(1 << 62));
                if end.is_none_or(|end| end > from) {
                    return Err(self.damaged(back, Damage::LongRecord(header.data_bytes)));
                }
                return Ok((Some(self.data(back, header.data_bytes)?), origin));
            }
            from = back;
            let content = back + RECORD_HEADER_BYTES as u64;
            back = self.read(self.input.array_apart(content).map(u64::from_be_bytes))?;
        }
        Ok((None, origin))
    }

    /// The data of the record at `offset`, which end within the file.
    fn data(&self, offset: u64, bytes: u64) -> Result<Bytes, ReadError> {
        let len = usize::try_from(bytes).ok().filter(|_| bytes <= RECORD_BYTES_MAX);
        let len = len.ok_or_else(|| {
            let path = self.path.clone();
            ReadError::TooLarge { path, offset, bytes }
        })?;
        self.read(self.input.data(offset + RECORD_HEADER_BYTES as u64, len))
    }

    /// The header at `offset`, if a whole transaction begins there.
    fn header(&mut self, offset: u64) -> Result<Option<TransactionHeader>, ReadError> {
        let rest = self.input.bytes().saturating_sub(offset);
        if rest < TRANSACTION_HEADER_BYTES as u64 {
            if rest > 0 {
                self.torn = Some(Torn { offset, bytes: rest, by: TornBy::Short });
            }
            return Ok(None);
        }
        let header = self.input.array(offset).map(TransactionHeader::decode);
        let header = self.read(header)?;
        let is_checkpoint = header.status == CHECKPOINT;
        let fault = if Status::from_byte(header.status).is_none() && !is_checkpoint {
            Some(Damage::Status(header.status))
        } else if header.bytes < header.head_bytes() {
            Some(Damage::ShortTransaction(header.bytes))
        } else {
            None
        };
        if let Some(fault) = fault {
            // A crash of the system can leave room that was never written to.
            let zeros = self.input.zeros_from(offset);
            if self.read(zeros)? {
                self.torn = Some(Torn { offset, bytes: rest, by: TornBy::Zeros });
                return Ok(None);
            }
            // A writer does not know the length before the end.
            if !(is_checkpoint && header.bytes == 0) {
                return Err(self.damaged(offset, fault));
            }
        }
        let is_whole = header.bytes.checked_add(POINTER_BYTES).is_some_and(|bytes| bytes <= rest);
        if is_whole && !is_checkpoint {
            return Ok(Some(header));
        }
        if self.last_whole()?.is_some_and(|(last, _)| last > offset) {
            return Err(self.damaged(offset, Damage::NotLast(header.bytes)));
        }
        let by = if is_checkpoint { TornBy::Checkpoint } else { TornBy::Short };
        self.torn = Some(Torn { offset, bytes: rest, by });
        Ok(None)
    }

    fn read<T>(&self, result: io::Result<T>) -> Result<T, ReadError> {
        result.map_err(|source| ReadError::Io { path: self.path.clone(), source })
    }

    fn damaged(&self, offset: u64, damage: Damage) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), offset, damage }
    }
}

/// Whether a pointer is none, or may be to a record that begins before `limit`.
fn points_back(pointer: u64, limit: u64) -> bool {
    pointer == 0 || (MAGIC_BYTES..limit).contains(&pointer)
}
