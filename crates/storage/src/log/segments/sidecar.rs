//! A segment's index file: what stands where in the segment, so that a start need not read it.
//!
//! ```text
//! sidecar = block*
//! block   = magic, checksum, from, to, last tid, its digest, number of entries, entry*
//! ```
//!
//! Blocks are appended when the bytes `from..to` of the segment are durable, each block where the
//! one before it ended. Each has a checksum that also covers the storage's identity and the segment's
//! number; a block that is not right ends the file, and the segment is read from there: the segment
//! is the truth. But a block that is right and describes more than the segment has proves that a
//! part of the segment is lost.

use std::io::{self, IoSlice};

use protocol::{Oid, Tid};

use super::format::{Encoder, Fields, Identity};
use crate::disk::File;
use crate::index::Place;
use crate::log::{Digest, Position};

const MAGIC: [u8; 4] = *b"ZIX2";
const BLOCK_HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 28;

/// A record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) oid: Oid,
    pub(super) tid: Tid,
    pub(super) place: Place,
}

/// The records of a part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The bytes of the segment that it describes.
    pub(super) from: u64,
    pub(super) to: u64,
    /// The last transaction, also if that has no records; zero if there is no transaction.
    pub(super) last: Position,
    /// In the order of the segment.
    pub(super) entries: Vec<Entry>,
}

impl Block {
    /// Describes nothing, from `offset` on.
    pub(super) fn empty(offset: u64) -> Self {
        Self { from: offset, to: offset, last: Position::default(), entries: Vec::new() }
    }

    /// Appends it to a sidecar of `offset` bytes and returns the new length.
    pub(super) fn append(
        &self,
        file: &dyn File,
        offset: u64,
        segment: u32,
        identity: Identity,
    ) -> io::Result<u64> {
        let mut bytes = Vec::with_capacity(BLOCK_HEADER_BYTES + self.entries.len() * ENTRY_BYTES);
        bytes.extend_from_slice(&self.header(0));
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.encode());
        }
        let crc = identity.crc(&[&segment.to_le_bytes(), &bytes]);
        let header = self.header(crc);
        let entries = bytes.get(BLOCK_HEADER_BYTES..).unwrap_or_default();
        file.write_all_at(&[IoSlice::new(&header), IoSlice::new(entries)], offset)?;
        Ok(offset + bytes.len() as u64)
    }

    fn header(&self, crc: u32) -> [u8; BLOCK_HEADER_BYTES] {
        let mut out = Encoder::<BLOCK_HEADER_BYTES>::new();
        out.put(&MAGIC);
        out.put(&crc.to_le_bytes());
        out.put(&self.from.to_le_bytes());
        out.put(&self.to.to_le_bytes());
        out.put(&self.last.tid.to_bytes());
        out.put(&self.last.digest.0.to_le_bytes());
        out.put(&(self.entries.len() as u64).to_le_bytes());
        out.bytes
    }

    /// Takes the block off the front of `bytes`, if it is right.
    fn decode(bytes: &mut &[u8], segment: u32, identity: Identity) -> Option<Self> {
        let mut fields = Fields(bytes);
        if fields.take()? != MAGIC {
            return None;
        }
        let crc = u32::from_le_bytes(fields.take()?);
        let from = u64::from_le_bytes(fields.take()?);
        let to = u64::from_le_bytes(fields.take()?);
        let tid = Tid::from_bytes(fields.take()?);
        let digest = Digest(u64::from_le_bytes(fields.take()?));
        let count = usize::try_from(u64::from_le_bytes(fields.take()?)).ok()?;
        let entry_bytes = count.checked_mul(ENTRY_BYTES)?;
        let (raw_entries, rest) = fields.0.split_at_checked(entry_bytes)?;
        let mut block = Self { from, to, last: Position { tid, digest }, entries: Vec::new() };
        // The checksum was made with the number of entries and a checksum of zero in the header.
        let mut header = block.header(0);
        header.last_chunk_mut::<8>()?.copy_from_slice(&(count as u64).to_le_bytes());
        if identity.crc(&[&segment.to_le_bytes(), &header, raw_entries]) != crc {
            return None;
        }
        let (raw_entries, _) = raw_entries.as_chunks::<ENTRY_BYTES>();
        block.entries = raw_entries.iter().filter_map(|raw| Entry::decode(raw, segment)).collect();
        *bytes = rest;
        Some(block)
    }
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = Encoder::<ENTRY_BYTES>::new();
        out.put(&self.oid.to_bytes());
        out.put(&self.tid.to_bytes());
        out.put(&self.place.offset.to_le_bytes());
        out.put(&self.place.len.to_le_bytes());
        out.bytes
    }

    fn decode(bytes: &[u8], segment: u32) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self {
            oid: Oid::from_bytes(fields.take()?),
            tid: Tid::from_bytes(fields.take()?),
            place: Place {
                offset: u64::from_le_bytes(fields.take()?),
                len: u32::from_le_bytes(fields.take()?),
                segment,
            },
        })
    }
}

/// What a sidecar says of the bytes of its segment from `from` on and below `segment_len`.
#[derive(Debug)]
pub(super) struct Sidecar {
    /// Consecutive, the first one from `from` on.
    pub(super) blocks: Vec<Block>,
    /// Length of the part of the file that is right.
    pub(super) right_bytes: u64,
    /// Whether there was more.
    pub(super) damaged: bool,
    /// Whether the next block is right but for the segment, which does not have what it describes.
    pub(super) exceeds: bool,
}

impl Sidecar {
    pub(super) fn read(
        file: &dyn File,
        segment: u32,
        from: u64,
        segment_len: u64,
        identity: Identity,
    ) -> io::Result<Self> {
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        let mut blocks: Vec<Block> = Vec::new();
        let mut rest = &bytes[..];
        let mut right_bytes = 0;
        let mut next = from;
        let mut exceeds = false;
        while let Some(block) = Block::decode(&mut rest, segment, identity) {
            exceeds = block.from == next && block.to > segment_len;
            if block.from != next || exceeds {
                break;
            }
            next = block.to;
            right_bytes = (len - rest.len()) as u64;
            blocks.push(block);
        }
        Ok(Self { blocks, right_bytes, damaged: right_bytes != len as u64, exceeds })
    }
}
