//! Blobs of a storage, in a test that can wait.

use bytes::Bytes;
use protocol::{Failure, Oid, Tid};
use storage::{BlobFile, Completion, Meta, Storage, Upload};

use crate::inbox::{Inbox, NotCommitted};

impl Inbox {
    /// A blob with these bytes, all of which were taken.
    pub fn upload(&self, storage: &dyn Storage, pieces: &[&[u8]]) -> Result<Upload, Failure> {
        let upload = storage.begin_upload()?;
        let mut tickets = Vec::new();
        for piece in pieces {
            let reply = self.reply_to();
            tickets.push(reply.ticket);
            upload.write(Bytes::copy_from_slice(piece), reply);
        }
        for ticket in tickets {
            let answer = self.answer(ticket);
            assert!(matches!(answer, Completion::BlobTaken), "{answer:?}");
        }
        Ok(upload)
    }

    /// Stores an object with a blob, votes and finishes.
    pub fn commit_blob(
        &self,
        storage: &dyn Storage,
        oid: Oid,
        serial: Tid,
        blob: &[u8],
    ) -> Result<Tid, NotCommitted> {
        let upload = self.upload(storage, &[blob])?;
        let mut transaction = storage.begin(Meta { status: b' ', ..Meta::default() });
        transaction.store_blob(oid, serial, Bytes::from_static(b"has a blob"), upload)?;
        self.vote_and_finish(&mut *transaction)
    }

    /// The blob of a revision.
    pub fn open_blob(
        &self,
        storage: &dyn Storage,
        oid: Oid,
        serial: Tid,
    ) -> Result<BlobFile, Failure> {
        let reply = self.reply_to();
        let ticket = reply.ticket;
        storage.open_blob(oid, serial, reply);
        match self.answer(ticket) {
            Completion::BlobOpened(opened) => opened,
            other => panic!("a blob was asked for and {other:?} was answered"),
        }
    }

    /// All bytes of the blob of a revision.
    pub fn blob(&self, storage: &dyn Storage, oid: Oid, serial: Tid) -> Result<Bytes, Failure> {
        let file = self.open_blob(storage, oid, serial)?;
        let reply = self.reply_to();
        let ticket = reply.ticket;
        let bytes = usize::try_from(file.len()).expect("blobs of tests fit in memory");
        storage.read_blob(&file, 0, bytes, reply);
        match self.answer(ticket) {
            Completion::BlobRead(read) => read.map_err(Failure::Storage),
            other => panic!("a blob was read and {other:?} was answered"),
        }
    }
}
