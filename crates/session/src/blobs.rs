//! Blobs of a connection: uploads before they are in a transaction, and downloads, one at a time.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf as _, Bytes};
use protocol::{Codec, Failure, MessageId, Oid, Push, Reply, Request, Tid, TransactionId};
use storage::{BlobFile, Upload};

use crate::session::{Asked, Closed, HIGH_WATER_BYTES, Session};

/// What a connection has of blobs.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    /// By object; without one: ZEO's clients do not say whose blob they send.
    uploads: BTreeMap<Option<Oid>, Incoming>,
    /// Received bytes that still take memory.
    unwritten_bytes: usize,
    downloads: VecDeque<Wanted>,
    /// The first one of `downloads`, which is under way.
    download: Option<Download>,
}

/// An upload before its end.
#[derive(Debug)]
enum Incoming {
    Taken(Upload),
    /// The vote will say so.
    Failed(Failure),
    /// Its transaction was aborted, and the client goes on sending.
    Abandoned,
}

/// A blob that a client asks for.
#[derive(Debug)]
struct Wanted {
    id: Option<MessageId>,
    oid: Oid,
    serial: Tid,
}

#[derive(Debug)]
enum Download {
    /// The storage is asked to open it.
    Opening,
    /// Its bytes up to `offset` are in the output.
    Open { file: BlobFile, offset: u64, reading: bool },
}

impl Blobs {
    /// Whether a request may be handled: not while many bytes or downloads wait.
    pub(crate) fn want_input(&self) -> bool {
        self.unwritten_bytes < HIGH_WATER_BYTES && self.downloads.len() < DOWNLOADS_MAX
    }

    /// Whether a download waits for nothing but room in the output.
    pub(crate) fn want_output(&self) -> bool {
        matches!(self.download, Some(Download::Open { reading: false, .. }))
    }

    /// The client has given up its transaction, and may still be sending.
    pub(crate) fn abandon(&mut self) {
        self.uploads.values_mut().for_each(|upload| *upload = Incoming::Abandoned);
    }

    /// The upload that ends with `oid`.
    fn ended(&mut self, oid: Oid) -> Option<Incoming> {
        self.uploads.remove(&Some(oid)).or_else(|| self.uploads.remove(&None))
    }
}

impl<C: Codec> Session<C> {
    pub(crate) fn handle_blob(
        &mut self,
        id: Option<MessageId>,
        request: Request,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        if let Request::LoadBlob { oid, serial } = request {
            self.blobs.downloads.push_back(Wanted { id, oid, serial });
            return self.download(output);
        }
        if self.is_read_only() {
            return self.fail(id, Failure::ReadOnly, output);
        }
        let done = match request {
            Request::BlobStart { oid } => self.blob_start(oid),
            Request::BlobChunk { oid, data } => self.blob_chunk(oid, data),
            Request::BlobEnd { transaction, oid, serial, data } => {
                self.blob_end(transaction, oid, serial, data)
            }
            Request::BlobShared { transaction, oid, serial, data, file } => {
                match self.storage().map(|storage| storage.take_shared(oid, &file)) {
                    Some(upload) => self.store_blob(transaction, oid, serial, data, upload),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        };
        match done {
            Ok(()) => self.reply(id, &Reply::Done, output),
            Err(failure) => self.fail(id, failure, output),
        }
    }

    fn blob_start(&mut self, oid: Option<Oid>) -> Result<(), Failure> {
        let under_way = self.blobs.uploads.get(&oid);
        if under_way.is_some_and(|upload| !matches!(upload, Incoming::Abandoned)) {
            return Err(Failure::Arguments("a blob is being sent already".to_owned()));
        }
        let uploads = self.blobs.uploads.len();
        let begun = match self.storage() {
            _ if uploads >= UPLOADS_MAX => Err(Failure::Storage(format!(
                "a connection sends at most {UPLOADS_MAX} blobs at a time"
            ))),
            Some(storage) => storage.begin_upload(),
            None => return Ok(()),
        };
        let upload = begun.map_or_else(Incoming::Failed, Incoming::Taken);
        self.blobs.uploads.insert(oid, upload);
        Ok(())
    }

    fn blob_chunk(&mut self, oid: Option<Oid>, data: Bytes) -> Result<(), Failure> {
        let upload = match self.blobs.uploads.get(&oid) {
            Some(Incoming::Taken(upload)) => upload.clone(),
            Some(Incoming::Failed(_) | Incoming::Abandoned) => return Ok(()),
            None => {
                return Err(Failure::Arguments("a part of a blob that was not begun".to_owned()));
            }
        };
        let bytes = data.len();
        self.blobs.unwritten_bytes += bytes;
        let reply = self.ask(Asked::BlobTaken { bytes });
        upload.write(data, reply);
        Ok(())
    }

    fn blob_end(
        &mut self,
        transaction: TransactionId,
        oid: Oid,
        serial: Tid,
        data: Bytes,
    ) -> Result<(), Failure> {
        let upload = match self.blobs.ended(oid) {
            Some(Incoming::Taken(upload)) => Ok(upload),
            Some(Incoming::Failed(failure)) => Err(failure),
            Some(Incoming::Abandoned) => return Ok(()),
            None => Err(Failure::Arguments("the end of a blob that was not begun".to_owned())),
        };
        self.store_blob(transaction, oid, serial, data, upload)
    }

    fn store_blob(
        &mut self,
        transaction: TransactionId,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        upload: Result<Upload, Failure>,
    ) -> Result<(), Failure> {
        let Some(joined) = &mut self.joined else {
            return Ok(());
        };
        match joined.store_blob(transaction, oid, serial, data, upload)? {
            Ok(upload) => {
                let reply = self.ask(Asked::BlobTaken { bytes: 0 });
                upload.end(oid, reply);
            }
            Err(failure) => _ = self.spoil_transaction(Some(transaction), failure),
        }
        Ok(())
    }

    pub(crate) fn blob_taken(&mut self, bytes: usize) {
        self.blobs.unwritten_bytes = self.blobs.unwritten_bytes.saturating_sub(bytes);
    }

    pub(crate) fn blob_opened(
        &mut self,
        opened: Result<BlobFile, Failure>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        self.blobs.download = None;
        match opened {
            Ok(file) => {
                if let Some(&Wanted { oid, serial, .. }) = self.blobs.downloads.front() {
                    let start = Push::BlobStart { oid, serial };
                    self.append(output, |codec, out| codec.encode_push(&start, out))?;
                }
                self.blobs.download = Some(Download::Open { file, offset: 0, reading: false });
            }
            Err(failure) => {
                if let Some(Wanted { id, .. }) = self.blobs.downloads.pop_front() {
                    self.fail(id, failure, output)?;
                }
            }
        }
        self.download(output)
    }

    pub(crate) fn blob_read(
        &mut self,
        read: Result<Bytes, String>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let Some(&Wanted { oid, serial, .. }) = self.blobs.downloads.front() else {
            return Ok(());
        };
        // The client has a part of it, and must not take it for the whole.
        let mut rest = read.map_err(Closed::Blob)?;
        if let Some(Download::Open { offset, reading, .. }) = &mut self.blobs.download {
            *offset += rest.len() as u64;
            *reading = false;
        }
        while !rest.is_empty() {
            let data = rest.copy_to_bytes(rest.len().min(CHUNK_BYTES));
            let chunk = Push::BlobChunk { oid, serial, data };
            self.append(output, |codec, out| codec.encode_push(&chunk, out))?;
        }
        self.download(output)
    }

    /// Goes on with the downloads as far as that can be done without waiting.
    pub(crate) fn download(&mut self, output: &mut Vec<u8>) -> Result<(), Closed> {
        while let Some(&Wanted { oid, serial, .. }) = self.blobs.downloads.front() {
            let (file, offset) = match &mut self.blobs.download {
                None => {
                    self.blobs.download = Some(Download::Opening);
                    let reply = self.ask(Asked::BlobOpened);
                    if let Some(storage) = self.storage() {
                        storage.open_blob(oid, serial, reply);
                    }
                    return Ok(());
                }
                Some(Download::Opening | Download::Open { reading: true, .. }) => return Ok(()),
                Some(Download::Open { file, offset, reading }) => {
                    if *offset < file.len() {
                        if output.len() >= HIGH_WATER_BYTES {
                            return Ok(());
                        }
                        *reading = true;
                    }
                    (file.clone(), *offset)
                }
            };
            if offset < file.len() {
                let left = file.len() - offset;
                let bytes = usize::try_from(left).unwrap_or(READ_BYTES).min(READ_BYTES);
                let reply = self.ask(Asked::BlobRead);
                if let Some(storage) = self.storage() {
                    storage.read_blob(&file, offset, bytes, reply);
                }
                return Ok(());
            }
            self.blobs.download = None;
            let stop = Push::BlobStop { oid, serial };
            self.append(output, |codec, out| codec.encode_push(&stop, out))?;
            if let Some(Wanted { id, .. }) = self.blobs.downloads.pop_front() {
                self.reply(id, &Reply::Done, output)?;
            }
        }
        Ok(())
    }
}

/// What a client gets at a time, as from ZEO.
const CHUNK_BYTES: usize = 59_000;

/// What is read at a time: some chunks.
const READ_BYTES: usize = 4 * CHUNK_BYTES;

/// Blobs that a connection may be sending at the same time.
const UPLOADS_MAX: usize = 64;

/// Blobs that a connection may have asked for, before its further requests have to wait.
const DOWNLOADS_MAX: usize = 128;
