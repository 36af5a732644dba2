//! `Data.fs` files as sources and sinks.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use datafs::{Magic, Reader, Record, Status, Torn, Transaction, Writer, extension};
use protocol::{Oid, Tid};

use super::{BlobFolder, Changed, Encoding, Extent, Head, Sink, Source, Transfer};

/// A file that is read.
#[derive(Debug)]
pub(crate) struct FileSource {
    path: PathBuf,
    reader: Reader,
    blobs: Option<BlobFolder>,
    /// Of what was read last.
    tid: Tid,
    oid: Oid,
    /// Transactions that were passed over since the last seek, as FileStorage does not show them.
    pub(crate) undone: u64,
    /// See [`Self::with_last_only`].
    last_only: bool,
    /// Where records of the transaction begin that are passed over.
    passed_over: HashSet<u64>,
    /// Records that were passed over since the last seek.
    pub(crate) superseded: Changed,
}

impl FileSource {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (reader, path) = (Reader::open(path)?, path.to_owned());
        Ok(Self {
            path,
            reader,
            blobs: None,
            tid: Tid::ZERO,
            oid: Oid(0),
            undone: 0,
            last_only: false,
            passed_over: HashSet::new(),
            superseded: Changed::default(),
        })
    }

    /// Shows what a storage of ours keeps: of an object's records in one transaction the last,
    /// which is the one that FileStorage shows.
    pub(crate) fn with_last_only(mut self) -> Self {
        self.last_only = true;
        self
    }

    /// A record has a blob where there is a file for it.
    pub(crate) fn with_blobs(mut self, folder: BlobFolder) -> Self {
        self.blobs = Some(folder);
        self
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
        (self.undone, self.superseded) = (0, Changed::default());
        Ok(self.reader.seek_after(tid)?)
    }

    fn next_transaction(&mut self) -> Result<Option<Head>> {
        while let Some(at) = self.reader.next_transaction()? {
            let transaction = at.transaction;
            if transaction.status != Status::Undone {
                self.tid = transaction.tid;
                if self.last_only {
                    self.passed_over = self.reader.superseded()?;
                }
                return Ok(Some(Head { transaction, encoding: Encoding::Pickle }));
            }
            self.undone += 1;
        }
        Ok(None)
    }

    fn next_record(&mut self) -> Result<Option<Record>> {
        while let Some(at) = self.reader.next_record()? {
            if self.passed_over.contains(&at.offset) {
                self.superseded.add(self.tid);
                continue;
            }
            self.oid = at.record.oid;
            return Ok(Some(at.record));
        }
        Ok(None)
    }

    fn blob(&self) -> Result<Option<PathBuf>> {
        Ok(self.blobs.as_ref().and_then(|blobs| blobs.find(self.oid, self.tid)))
    }
}

/// A file that is written.
#[derive(Debug)]
pub(crate) struct FileSink {
    path: PathBuf,
    writer: Writer,
    blobs: Option<(BlobFolder, Transfer)>,
    /// Of the transaction that is begun.
    tid: Tid,
    /// See [`FileSource::with_last_only`].
    last_only: bool,
}

impl FileSink {
    /// Makes the file, which must not be there.
    pub(crate) fn create(path: &Path, magic: Magic) -> Result<Self> {
        Ok(Self::new(path, Writer::create(path, magic)?))
    }

    /// Goes on with a file, without what an interrupted copy has left of a transaction.
    pub(crate) fn append(path: &Path) -> Result<Self> {
        Ok(Self::new(path, Writer::append(path)?))
    }

    fn new(path: &Path, writer: Writer) -> Self {
        Self { path: path.to_owned(), writer, blobs: None, tid: Tid::ZERO, last_only: false }
    }

    /// It gets what a storage of ours has, and is read back as such.
    pub(crate) fn with_last_only(mut self) -> Self {
        self.last_only = true;
        self
    }

    pub(crate) fn with_blobs(mut self, folder: BlobFolder, how: Transfer) -> Self {
        self.blobs = Some((folder, how));
        self
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn last_tid(&self) -> Option<Tid> {
        self.writer.last_tid()
    }

    fn read_back(&self) -> Result<Box<dyn Source>> {
        let source = FileSource::open(&self.path)?;
        Ok(Box::new(if self.last_only { source.with_last_only() } else { source }))
    }

    fn begin(&mut self, head: &Head) -> Result<()> {
        self.tid = head.transaction.tid;
        if head.encoding == Encoding::Pickle {
            return Ok(self.writer.begin(&head.transaction)?);
        }
        let pickle = extension::to_pickle(&head.transaction.extension);
        let pickle = pickle.with_context(|| format!("cannot copy {}", head.name()))?;
        let transaction = Transaction { extension: pickle.into(), ..head.transaction.clone() };
        Ok(self.writer.begin(&transaction)?)
    }

    fn record(&mut self, record: &Record, blob: Option<&Path>) -> Result<()> {
        if let Some(blob) = blob {
            let folder = self.blobs.as_ref();
            let blobs = "there are blobs: --blobs-to must say where they go";
            let (folder, how) = folder.context(blobs)?;
            folder.put(record.oid, self.tid, blob, *how)?;
        }
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
