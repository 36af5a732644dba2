//! Blobs, up and down.

use std::io::{self, Read, Write};

use bytes::Bytes;
use client::{LoadBlobError, Metadata, StoreBlobError, Vote, VoteError};
use protocol::{Oid, Tid};

use crate::{commit, connect, in_all_dialects};

/// Bytes that differ from place to place.
fn blob(bytes: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(bytes).collect()
}

#[test]
fn blobs_of_any_length_arrive() {
    in_all_dialects(|server| {
        let client = connect(&server);
        for (number, bytes) in [(1, 0), (2, 1), (3, 128 << 10), (4, 1_000_000)] {
            let (oid, blob) = (Oid(number), blob(bytes));
            let mut transaction = client.begin(Metadata::default()).unwrap();
            let data = Bytes::from("record");
            transaction.store_blob(oid, Tid::ZERO, data, &mut &blob[..]).unwrap();
            assert_eq!(transaction.vote().unwrap(), Vote::Voted);
            let tid = transaction.finish().unwrap();
            assert_eq!(client.load(oid).unwrap().data, "record");
            let mut loaded = Vec::new();
            assert_eq!(client.load_blob(oid, tid, &mut loaded).unwrap(), bytes as u64);
            assert!(loaded == blob, "{bytes} bytes");
        }
    });
}

#[test]
fn a_blob_that_is_not_there_is_told() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let tid = commit(&client, Oid(1), "no blob");
        let mut loaded = Vec::new();
        assert!(matches!(
            client.load_blob(Oid(1), tid, &mut loaded),
            Err(LoadBlobError::UnknownBlob { oid: Oid(1), serial }) if serial == tid
        ));
        assert!(loaded.is_empty());
    });
}

/// Fails after a while.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(buffer.len()).ok_or_else(|| io::Error::other("a bad disk"))?;
        buffer.fill(1);
        Ok(buffer.len())
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| io::Error::other("no space"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn half_a_blob_is_not_committed() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let mut transaction = client.begin(Metadata::default()).unwrap();
        let sent =
            transaction.store_blob(Oid(1), Tid::ZERO, Bytes::from("x"), &mut Failing(300_000));
        assert!(matches!(sent, Err(StoreBlobError::Read(_))));
        assert!(matches!(transaction.vote(), Err(VoteError::BlobIncomplete)));
        transaction.abort().unwrap();
        assert!(client.load(Oid(1)).is_err());
        commit(&client, Oid(1), "the next one");
    });
}

/// What was still to come belongs to nobody; the next load gets its own.
#[test]
fn a_blob_that_cannot_be_written_does_not_stop_the_client() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let mut transaction = client.begin(Metadata::default()).unwrap();
        let blob = blob(2_000_000);
        transaction.store_blob(Oid(1), Tid::ZERO, Bytes::from("x"), &mut &blob[..]).unwrap();
        assert_eq!(transaction.vote().unwrap(), Vote::Voted);
        let tid = transaction.finish().unwrap();
        let written = client.load_blob(Oid(1), tid, &mut Failing(100_000));
        assert!(matches!(written, Err(LoadBlobError::Write(_))));
        let mut loaded = Vec::new();
        client.load_blob(Oid(1), tid, &mut loaded).unwrap();
        assert!(loaded == blob);
    });
}

#[test]
fn a_blob_that_breaks_off_is_an_error() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let mut transaction = client.begin(Metadata::default()).unwrap();
        transaction
            .store_blob(Oid(1), Tid::ZERO, Bytes::from("x"), &mut &blob(200_000)[..])
            .unwrap();
        assert_eq!(transaction.vote().unwrap(), Vote::Voted);
        let tid = transaction.finish().unwrap();
        server.world.state().blobs_break_off = true;
        let mut loaded = Vec::new();
        assert!(matches!(client.load_blob(Oid(1), tid, &mut loaded), Err(LoadBlobError::Call(_))));
    });
}
