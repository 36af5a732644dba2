//! Writing: transactions are appended, and their pointers found.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use protocol::{Oid, Tid};

use crate::error::{Torn, WriteError};
use crate::format::{
    CHECKPOINT, Magic, POINTER_BYTES, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, Record, RecordHeader,
    Status, TRANSACTION_HEADER_BYTES, Transaction, TransactionHeader,
};
use crate::output::Output;
use crate::positions::Positions;
use crate::reader::Reader;

/// Appends transactions to a file, which it keeps locked as FileStorage would.
///
/// Until [`Self::finish`] a transaction is marked as not committed: readers take it for a torn end.
/// What is finished stays if the process ends; what is to stay if the machine does needs
/// [`Self::sync`], and what was written after that may then have holes.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    /// Its lock is the protocol; what is in it is not.
    _lock: File,
    out: Output,
    positions: Positions,
    last_tid: Option<Tid>,
    open: Option<Open>,
    torn: Option<Torn>,
}

/// The transaction that is being written.
#[derive(Debug)]
struct Open {
    tid: Tid,
    status: Status,
    offset: u64,
    records: Vec<(Oid, u64)>,
}

impl Writer {
    /// Makes a file, which must not be there yet.
    pub fn create(path: &Path, magic: Magic) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Io { path: path.to_owned(), source };
        if path.try_exists().map_err(failed)? {
            return Err(WriteError::Exists(path.to_owned()));
        }
        let index = beside(path, ".index");
        if index.try_exists().map_err(failed)? {
            return Err(WriteError::StaleIndex(index));
        }
        let lock = lock(path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let mut out = Output::new(file.map_err(failed)?, 0);
        out.write(&magic.to_bytes()).and_then(|()| out.sync()).map_err(failed)?;
        sync_folder(path).map_err(failed)?;
        Ok(Self::new(path, lock, out))
    }

    /// Goes on with a file, which is read for it. A torn end is cut off: see [`Self::torn`].
    pub fn append(path: &Path) -> Result<Self, WriteError> {
        let failed = |source| WriteError::Io { path: path.to_owned(), source };
        let lock = lock(path)?;
        let mut reader = Reader::open(path)?;
        let mut positions = Positions::default();
        let mut last_tid = None;
        while let Some(at) = reader.next_transaction()? {
            let tid = at.transaction.tid;
            positions.add_transaction(tid, at.offset);
            last_tid = Some(tid);
            let mut records = Vec::new();
            while let Some(place) = reader.next_place()? {
                records.push(place);
            }
            if at.transaction.status != Status::Undone {
                records.iter().for_each(|(oid, offset)| positions.add_record(*oid, *offset));
            }
        }
        let torn = reader.torn();
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let mut out = Output::new(file, reader.bytes());
        if let Some(torn) = torn {
            out.truncate(torn.offset).map_err(failed)?;
        }
        Ok(Self { positions, last_tid, torn, ..Self::new(path, lock, out) })
    }

    fn new(path: &Path, lock: File, out: Output) -> Self {
        let positions = Positions::default();
        let (path, _lock) = (path.to_owned(), lock);
        Self { path, _lock, out, positions, last_tid: None, open: None, torn: None }
    }

    /// The newest transaction in the file.
    pub fn last_tid(&self) -> Option<Tid> {
        self.last_tid
    }

    /// What [`Self::append`] has cut off.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// Begins a transaction; one that is not finished is taken back.
    pub fn begin(&mut self, transaction: &Transaction) -> Result<(), WriteError> {
        self.abort()?;
        let tid = transaction.tid;
        if let Some(last) = self.last_tid.filter(|last| tid <= *last) {
            return Err(WriteError::TidOrder { tid, last });
        }
        let length = |what, text: &[u8]| {
            let bytes = text.len();
            u16::try_from(bytes).map_err(|_| WriteError::TextTooLong { tid, what, bytes })
        };
        let header = TransactionHeader {
            tid,
            // Not known yet.
            bytes: 0,
            status: CHECKPOINT,
            user_bytes: length("user", &transaction.user)?,
            description_bytes: length("description", &transaction.description)?,
            extension_bytes: length("extension", &transaction.extension)?,
        };
        let offset = self.out.end();
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        bytes.extend_from_slice(&transaction.user);
        bytes.extend_from_slice(&transaction.description);
        bytes.extend_from_slice(&transaction.extension);
        let written = self.out.write(&bytes);
        self.io(written)?;
        let status = transaction.status;
        self.open = Some(Open { tid, status, offset, records: Vec::new() });
        Ok(())
    }

    /// Adds a record to the transaction that is begun.
    ///
    /// # Panics
    ///
    /// If none is begun.
    pub fn record(&mut self, record: &Record) -> Result<(), WriteError> {
        let (tid, transaction) = {
            let open = self.open.as_ref().expect("a transaction is begun");
            (open.tid, open.offset)
        };
        let oid = record.oid;
        if record.data.as_ref().is_some_and(|data| data.is_empty()) {
            return Err(WriteError::EmptyRecord { tid, oid });
        }
        let bytes = record.data.as_ref().map_or(0, |data| data.len() as u64);
        if bytes > RECORD_BYTES_MAX {
            return Err(WriteError::TooLarge { tid, oid, bytes });
        }
        let back = match record.origin {
            Some(origin) => {
                let found = self.find(oid, origin, record.data.as_deref());
                self.io(found)?
            }
            None => 0,
        };
        let data = record.data.as_deref().filter(|_| back == 0);
        let header = RecordHeader {
            oid,
            tid,
            previous: if record.linked { self.positions.current(oid) } else { 0 },
            transaction,
            version_bytes: 0,
            data_bytes: data.map_or(0, |data| data.len() as u64),
        };
        let offset = self.out.end();
        let written = self.out.write(&header.encode()).and_then(|()| match data {
            Some(data) => self.out.write(data),
            None => self.out.write(&back.to_be_bytes()),
        });
        self.io(written)?;
        let open = self.open.as_mut().expect("a transaction is begun");
        open.records.push((oid, offset));
        Ok(())
    }

    /// Ends the transaction that is begun: it is there from now on, if the machine stays.
    ///
    /// # Panics
    ///
    /// If none is begun.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        let Open { tid, status, offset, records } = self.open.take().expect("one is begun");
        let bytes = (self.out.end() - offset).to_be_bytes();
        let mut begin = bytes.to_vec();
        begin.push(status.to_byte());
        let tid_bytes = tid.to_bytes().len() as u64;
        let written = self.out.write(&bytes);
        let written = written.and_then(|()| self.out.patch(offset + tid_bytes, &begin));
        self.io(written)?;
        self.positions.add_transaction(tid, offset);
        if status != Status::Undone {
            records.iter().for_each(|(oid, offset)| self.positions.add_record(*oid, *offset));
        }
        self.last_tid = Some(tid);
        Ok(())
    }

    /// Takes back the transaction that is begun, if one is.
    pub fn abort(&mut self) -> Result<(), WriteError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let truncated = self.out.truncate(open.offset);
        self.io(truncated)
    }

    /// Makes all that is finished durable.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        let synced = self.out.sync();
        self.io(synced)
    }

    /// Where the record of `oid` in transaction `tid` is, if it is there and has `data`; else 0,
    /// as in FileStorage: `tid` is a hint, since a pack may have taken it.
    fn find(&mut self, oid: Oid, tid: Tid, data: Option<&[u8]>) -> io::Result<u64> {
        let Some((offset, header)) = self.find_revision(oid, tid)? else { return Ok(0) };
        if header.data_bytes == 0 {
            // A pointer of its own, which is believed.
            return Ok(offset);
        }
        let Some(data) = data.filter(|data| data.len() as u64 == header.data_bytes) else {
            return Ok(0);
        };
        let mut found = vec![0; data.len()];
        self.out.read(offset + RECORD_HEADER_BYTES as u64, &mut found)?;
        Ok(if found == data { offset } else { 0 })
    }

    fn find_revision(&mut self, oid: Oid, tid: Tid) -> io::Result<Option<(u64, RecordHeader)>> {
        match self.find_linked(oid, tid)? {
            Some(found) => Ok(Some(found)),
            None => self.find_packed(oid, tid),
        }
    }

    /// By the pointers from record to record.
    fn find_linked(&mut self, oid: Oid, tid: Tid) -> io::Result<Option<(u64, RecordHeader)>> {
        let mut offset = self.positions.current(oid);
        while offset != 0 {
            let header = RecordHeader::decode(self.out.array(offset)?);
            if header.tid <= tid {
                return Ok((header.tid == tid).then_some((offset, header)));
            }
            offset = header.previous;
        }
        Ok(None)
    }

    /// Where a pack has taken those: by the transaction. Of several records, the last one counts.
    fn find_packed(&mut self, oid: Oid, tid: Tid) -> io::Result<Option<(u64, RecordHeader)>> {
        let Some(mut offset) = self.positions.milestone(tid) else { return Ok(None) };
        let limit = self.open.as_ref().map_or_else(|| self.out.end(), |open| open.offset);
        while offset < limit {
            let header: [u8; TRANSACTION_HEADER_BYTES] = self.out.array(offset)?;
            let header = TransactionHeader::decode(header);
            let end = offset + header.bytes;
            if header.tid >= tid {
                let first = offset + header.head_bytes();
                return if header.tid == tid { self.last_of(oid, first, end) } else { Ok(None) };
            }
            offset = end + POINTER_BYTES;
        }
        Ok(None)
    }

    fn last_of(
        &mut self,
        oid: Oid,
        mut offset: u64,
        end: u64,
    ) -> io::Result<Option<(u64, RecordHeader)>> {
        let mut found = None;
        while offset < end {
            let header = RecordHeader::decode(self.out.array(offset)?);
            if header.oid == oid {
                found = Some((offset, header));
            }
            // It was checked when it was written or read.
            offset += header.record_bytes().unwrap_or(u64::MAX - offset);
        }
        Ok(found)
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T, WriteError> {
        result.map_err(|source| WriteError::Io { path: self.path.clone(), source })
    }
}

/// What FileStorage takes and leaves behind, by the same system call.
fn lock(path: &Path) -> Result<File, WriteError> {
    let name = beside(path, ".lock");
    let failed = |source| WriteError::Io { path: name.clone(), source };
    let file = OpenOptions::new().read(true).append(true).create(true).open(&name);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(WriteError::Locked(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
