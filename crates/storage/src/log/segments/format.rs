//! The bytes of a segment file.
//!
//! ```text
//! segment      = segment header, transaction*
//! transaction  = transaction header, user, description, extension, padding,
//!                (record header, data, padding)*, its length again
//! ```
//!
//! All numbers are little-endian but oids and tids, which are as on the wire. Everything starts
//! at a multiple of 8. Checksums are CRC-32C; those of headers also cover the storage's random
//! identity, so that no client can store bytes that look like a header.

use crc_fast::{CrcAlgorithm, Digest};
use protocol::{Oid, Tid};

use crate::api::Meta;
use crate::index::Place;
use crate::log::{Digest as RunningDigest, LogTransaction, Position, Record};

pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
pub(super) const TRANSACTION_HEADER_BYTES: usize = 64;
pub(super) const RECORD_HEADER_BYTES: usize = 24;
pub(super) const TRAILER_BYTES: usize = 8;
pub(super) const ALIGNMENT: u64 = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"ZEOXLOG1";
pub(super) const TRANSACTION_MAGIC: [u8; 4] = *b"ZTXN";

/// A storage's random identity, made when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) [u8; 16]);

impl Identity {
    /// A checksum that only this storage's files have.
    pub(super) fn crc(self, parts: &[&[u8]]) -> u32 {
        let mut digest = new_digest();
        digest.update(&self.0);
        for part in parts {
            digest.update(part);
        }
        digest.finalize() as u32
    }
}

pub(super) fn new_digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

/// What [`Place::segment`] says: the number of a segment, and above it how often the file was
/// rewritten, so that no place in an old file is looked for in a new one.
pub(super) fn slot(number: u32, generation: u32) -> u32 {
    number | (generation % GENERATIONS) << NUMBER_BITS
}

/// Whether a segment may have that number.
pub(super) fn has_slots(number: u32) -> bool {
    number < NUMBERS
}

/// The number of the segment that a slot is of.
pub(super) fn number(slot: u32) -> u32 {
    slot % NUMBERS
}

/// How often the file of a slot was rewritten.
pub(super) fn generation(slot: u32) -> u32 {
    slot >> NUMBER_BITS
}

/// A million segments of 256 MiB.
const NUMBER_BITS: u32 = 20;
const NUMBERS: u32 = 1 << NUMBER_BITS;
/// The top bit is the index's.
const GENERATIONS: u32 = 1 << (31 - NUMBER_BITS);

/// The first bytes of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u32,
    /// How often a pack has rewritten it.
    pub(super) generation: u32,
    /// The last tid in the segments before.
    pub(super) previous: Tid,
}

impl SegmentHeader {
    pub(super) fn encode(&self, identity: Identity) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = Encoder::<SEGMENT_HEADER_BYTES>::new();
        out.put(&SEGMENT_MAGIC);
        out.put(&identity.0);
        out.put(&self.number.to_le_bytes());
        out.put(&self.generation.to_le_bytes());
        out.put(&self.previous.to_bytes());
        out.skip_to(SEGMENT_HEADER_BYTES - 4);
        let crc = identity.crc(&[out.written()]);
        out.put(&crc.to_le_bytes());
        out.bytes
    }

    /// `None` if these bytes are not a segment header of the storage.
    pub(super) fn decode(bytes: &[u8], identity: Identity) -> Option<Self> {
        let (body, crc) = bytes.split_at_checked(SEGMENT_HEADER_BYTES - 4)?;
        if crc.first_chunk() != Some(&identity.crc(&[body]).to_le_bytes()) {
            return None;
        }
        let mut fields = Fields(body);
        if fields.take::<8>()? != SEGMENT_MAGIC || fields.take::<16>()? != identity.0 {
            return None;
        }
        let number = u32::from_le_bytes(fields.take()?);
        let generation = u32::from_le_bytes(fields.take()?);
        Some(Self { number, generation, previous: Tid::from_bytes(fields.take()?) })
    }
}

/// What precedes a transaction's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TransactionHeader {
    /// From the header's first byte to the trailer's last.
    pub(super) total_bytes: u64,
    pub(super) tid: Tid,
    /// Below this offset of the segment everything was durable when this was written. So a fault
    /// there is damage, and a fault above it may be a write that a crash interrupted.
    pub(super) durable_to: u64,
    pub(super) user_bytes: u32,
    pub(super) description_bytes: u32,
    pub(super) extension_bytes: u32,
    pub(super) records: u32,
    pub(super) status: u8,
    /// Over user, description, extension and all record headers, which have the data's checksums.
    pub(super) body_crc: u32,
    /// Over this transaction as it was committed, and all before it.
    pub(super) running: RunningDigest,
}

impl TransactionHeader {
    /// Of a transaction that follows those of which `previous` is the digest.
    pub(super) fn new(
        transaction: &LogTransaction<'_>,
        previous: RunningDigest,
        durable_to: u64,
    ) -> Self {
        let LogTransaction { tid, meta, records, .. } = *transaction;
        let mut digest = new_digest();
        for part in [&meta.user, &meta.description, &meta.extension] {
            digest.update(part);
        }
        for record in records {
            digest.update(&RecordHeader::of(record).encode());
        }
        let mut header = Self {
            total_bytes: transaction_bytes(meta, records),
            tid,
            durable_to,
            user_bytes: meta.user.len() as u32,
            description_bytes: meta.description.len() as u32,
            extension_bytes: meta.extension.len() as u32,
            records: records.len() as u32,
            status: meta.status,
            body_crc: digest.finalize() as u32,
            running: RunningDigest::NONE,
        };
        header.running = transaction.digest.unwrap_or_else(|| header.digest_after(previous));
        header
    }

    /// Up to where a log goes that ends with it.
    pub(super) fn position(&self) -> Position {
        Position { tid: self.tid, digest: self.running }
    }

    /// Whether it can come after transactions of which `previous` is the digest. Old ones have none.
    pub(super) fn continues(&self, previous: RunningDigest) -> bool {
        self.running == RunningDigest::NONE || self.running == self.digest_after(previous)
    }

    /// The running digest that this has after `previous`, unless a pack has dropped records of it:
    /// over all that [`Self::body_crc`] stands for, and not over where it is.
    pub(super) fn digest_after(&self, previous: RunningDigest) -> RunningDigest {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let content = [
            self.tid.0,
            pair(self.user_bytes, self.description_bytes),
            pair(self.extension_bytes, self.records),
            pair(self.body_crc, self.status.into()),
        ];
        let digest = content.into_iter().fold(previous.0, |digest, part| mixed(digest ^ part));
        // Zero is for what nobody has made one of.
        RunningDigest(digest.max(1))
    }

    pub(super) fn encode(&self, identity: Identity) -> [u8; TRANSACTION_HEADER_BYTES] {
        let mut out = Encoder::<TRANSACTION_HEADER_BYTES>::new();
        out.put(&TRANSACTION_MAGIC);
        out.put(&self.status.to_le_bytes());
        out.skip_to(8);
        out.put(&self.total_bytes.to_le_bytes());
        out.put(&self.tid.to_bytes());
        out.put(&self.durable_to.to_le_bytes());
        out.put(&self.user_bytes.to_le_bytes());
        out.put(&self.description_bytes.to_le_bytes());
        out.put(&self.extension_bytes.to_le_bytes());
        out.put(&self.records.to_le_bytes());
        out.put(&self.body_crc.to_le_bytes());
        out.put(&self.running.0.to_le_bytes());
        out.skip_to(TRANSACTION_HEADER_BYTES - 4);
        let crc = identity.crc(&[out.written()]);
        out.put(&crc.to_le_bytes());
        out.bytes
    }

    /// `None` if these bytes are not a transaction header of the storage.
    pub(super) fn decode(bytes: &[u8], identity: Identity) -> Option<Self> {
        let (body, crc) = bytes.split_at_checked(TRANSACTION_HEADER_BYTES - 4)?;
        let mut fields = Fields(body);
        if fields.take::<4>()? != TRANSACTION_MAGIC
            || crc.first_chunk() != Some(&identity.crc(&[body]).to_le_bytes())
        {
            return None;
        }
        let status = fields.take::<1>()?[0];
        fields.take::<3>()?;
        Some(Self {
            status,
            total_bytes: u64::from_le_bytes(fields.take()?),
            tid: Tid::from_bytes(fields.take()?),
            durable_to: u64::from_le_bytes(fields.take()?),
            user_bytes: u32::from_le_bytes(fields.take()?),
            description_bytes: u32::from_le_bytes(fields.take()?),
            extension_bytes: u32::from_le_bytes(fields.take()?),
            records: u32::from_le_bytes(fields.take()?),
            body_crc: u32::from_le_bytes(fields.take()?),
            running: RunningDigest(u64::from_le_bytes(fields.take()?)),
        })
    }

    /// Bytes of user, description and extension, without padding.
    pub(super) fn meta_bytes(&self) -> u64 {
        u64::from(self.user_bytes)
            + u64::from(self.description_bytes)
            + u64::from(self.extension_bytes)
    }
}

/// Each bit of the result depends on all bits, and no two numbers have the same result: the finalizer
/// of MurmurHash3 for 64 bits (<https://github.com/aappleby/smhasher>, public domain).
fn mixed(mut bits: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        bits = (bits ^ bits >> 33).wrapping_mul(factor);
    }
    bits ^ bits >> 33
}

/// See [`crate::log::RecordLog::digest_after`]: every log has the same.
pub(crate) fn digest_after(
    previous: RunningDigest,
    transaction: &LogTransaction<'_>,
) -> RunningDigest {
    TransactionHeader::new(transaction, previous, 0).running
}

/// What precedes a record's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) oid: Oid,
    /// As in [`Place::len`].
    pub(super) len: u32,
    /// See [`crate::log::record_crc`].
    pub(super) crc: u32,
    /// The tid of the revision whose data an undo brought back; zero for none.
    pub(super) origin: Tid,
}

impl RecordHeader {
    pub(super) fn of(record: &Record) -> Self {
        Self { oid: record.oid, len: record.len(), crc: record.crc, origin: record.origin }
    }

    pub(super) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = Encoder::<RECORD_HEADER_BYTES>::new();
        out.put(&self.oid.to_bytes());
        out.put(&self.len.to_le_bytes());
        out.put(&self.crc.to_le_bytes());
        out.put(&self.origin.to_bytes());
        out.bytes
    }

    pub(super) fn decode(bytes: &[u8; RECORD_HEADER_BYTES]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self {
            oid: Oid::from_bytes(fields.take()?),
            len: u32::from_le_bytes(fields.take()?),
            crc: u32::from_le_bytes(fields.take()?),
            origin: Tid::from_bytes(fields.take()?),
        })
    }

    /// Bytes of data that follow, without padding.
    pub(super) fn data_bytes(&self) -> u64 {
        match self.len {
            Place::NO_DATA => 0,
            len => u64::from(len & !Place::BLOB),
        }
    }
}

/// Bytes that a transaction takes in a segment.
pub(super) fn transaction_bytes(meta: &Meta, records: &[Record]) -> u64 {
    let meta_bytes = meta.user.len() + meta.description.len() + meta.extension.len();
    let records: u64 = records
        .iter()
        .map(|record| RECORD_HEADER_BYTES as u64 + padded(RecordHeader::of(record).data_bytes()))
        .sum();
    (TRANSACTION_HEADER_BYTES + TRAILER_BYTES) as u64 + padded(meta_bytes as u64) + records
}

/// The next multiple of [`ALIGNMENT`].
pub(super) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Takes fixed-size fields off the front.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

/// Fills a fixed-size array from the front; what is skipped stays zero.
pub(super) struct Encoder<const N: usize> {
    pub(super) bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Encoder<N> {
    pub(super) fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    /// Our own sizes: any slip fails every test.
    pub(super) fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }

    pub(super) fn skip_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.bytes[..self.at]
    }
}
