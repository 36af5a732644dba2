//! Files that belong to revisions, a piece at a time.

use std::io::{self, Read, Write};
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

use bytes::Bytes;
use protocol::{Oid, Request, Tid};

use crate::client::{Client, done};
use crate::error::{CallError, LoadBlobError, StoreBlobError};
use crate::state::Effect;
use crate::transaction::Transaction;

/// A blob that was asked for.
pub(crate) struct Download {
    pub(crate) oid: Oid,
    pub(crate) serial: Tid,
    /// Has room for few, so that a blob of any length takes little memory: while nobody takes them,
    /// nothing else is read from the connection.
    pub(crate) chunks: SyncSender<Bytes>,
}

impl Client {
    /// Writes the blob of a revision to `to`, and gives its length in bytes. One thread does so at a
    /// time. Meanwhile the client waits for `to`, which must not use the client itself. After an
    /// error, a part of the blob may be written.
    pub fn load_blob(
        &self,
        oid: Oid,
        serial: Tid,
        to: &mut impl Write,
    ) -> Result<u64, LoadBlobError> {
        // The parts of a blob that two have asked for could not be told apart.
        let _alone = self.download.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, chunks) = sync_channel(CHUNKS);
        let generation = self.shared.state().connected().map_err(CallError::Send)?;
        let effect = Effect::Blob(Download { oid, serial, chunks: sender });
        let answer = self
            .shared
            .send(generation, &Request::LoadBlob { oid, serial }, effect)
            .map_err(CallError::Send)?;
        let mut bytes = 0;
        while let Some(chunk) = self.next_chunk(&chunks)? {
            to.write_all(&chunk).map_err(LoadBlobError::Write)?;
            bytes += chunk.len() as u64;
        }
        done(self.shared.wait(&answer)?)?;
        Ok(bytes)
    }

    /// `None`: the answer has come, or will not come any more.
    fn next_chunk(&self, chunks: &Receiver<Bytes>) -> Result<Option<Bytes>, CallError> {
        let Some(timeout) = self.shared.options.call_timeout else {
            return Ok(chunks.recv().ok());
        };
        match chunks.recv_timeout(timeout) {
            Ok(chunk) => Ok(Some(chunk)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(CallError::TimedOut),
        }
    }
}

impl Transaction<'_> {
    /// Writes a revision like [`Self::store`], with a blob: all that `from` has. After an error the
    /// transaction can only be aborted.
    pub fn store_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        from: &mut impl Read,
    ) -> Result<(), StoreBlobError> {
        self.uploading = true;
        self.post(&Request::BlobStart { oid: Some(oid) })?;
        loop {
            let chunk = next_chunk(from).map_err(StoreBlobError::Read)?;
            if chunk.is_empty() {
                break;
            }
            self.post(&Request::BlobChunk { oid: Some(oid), data: chunk })?;
        }
        let transaction = self.id;
        self.post(&Request::BlobEnd { transaction, oid, serial, data: data.clone() })?;
        self.written.insert(oid, Some(data));
        self.uploading = false;
        Ok(())
    }
}

/// Full but for the last one; empty behind that.
fn next_chunk(from: &mut impl Read) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    from.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
    Ok(chunk.into())
}

/// What is sent at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// How many chunks wait to be written to where they belong.
const CHUNKS: usize = 4;
