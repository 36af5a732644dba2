//! `Data.fs` files as sources and sinks.

use std::path::{Path, PathBuf};

use anyhow::Result;
use datafs::{Magic, Reader, Record, Status, Torn, Transaction, Writer};
use protocol::Tid;

use super::{Extent, Sink, Source};

/// A file that is read.
#[derive(Debug)]
pub(crate) struct FileSource {
    path: PathBuf,
    reader: Reader,
}

impl FileSource {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), reader: Reader::open(path)? })
    }

    pub(crate) fn magic(&self) -> Magic {
        self.reader.magic()
    }

    /// See [`Reader::torn`].
    pub(crate) fn torn(&self) -> Option<Torn> {
        self.reader.torn()
    }
}

impl Source for FileSource {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn extent(&self) -> Extent {
        Extent { done: self.reader.position(), total: self.reader.bytes() }
    }

    fn seek_after(&mut self, tid: Tid) -> Result<bool> {
        Ok(self.reader.seek_after(tid)?)
    }

    fn next_transaction(&mut self) -> Result<Option<Transaction>> {
        while let Some(at) = self.reader.next_transaction()? {
            if at.transaction.status != Status::Undone {
                return Ok(Some(at.transaction));
            }
        }
        Ok(None)
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        Ok(self.reader.next_record()?.map(|at| at.record))
    }
}

/// A file that is written.
#[derive(Debug)]
pub(crate) struct FileSink {
    path: PathBuf,
    writer: Writer,
}

impl FileSink {
    /// Makes the file, which must not be there.
    pub(crate) fn create(path: &Path, magic: Magic) -> Result<Self> {
        Ok(Self { path: path.to_owned(), writer: Writer::create(path, magic)? })
    }

    /// Goes on with a file, without what an interrupted copy has left of a transaction.
    pub(crate) fn append(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), writer: Writer::append(path)? })
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn last_tid(&self) -> Option<Tid> {
        self.writer.last_tid()
    }

    fn begin(&mut self, transaction: &Transaction) -> Result<()> {
        Ok(self.writer.begin(transaction)?)
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        Ok(self.writer.record(record)?)
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.writer.finish()?)
    }

    fn abort(&mut self) -> Result<()> {
        Ok(self.writer.abort()?)
    }

    fn sync(&mut self) -> Result<()> {
        Ok(self.writer.sync()?)
    }
}
