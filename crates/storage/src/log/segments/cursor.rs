//! Reads transactions of segment files back; see [`crate::log::read`].

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use crc_fast::Digest;
use protocol::{Failure, Oid, Tid, TransactionHead, TransactionRecord};

use super::Segment;
use super::format::{
    Identity, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, TRAILER_BYTES,
    TRANSACTION_HEADER_BYTES, TransactionHeader, new_digest, padded,
};
use super::marks::Mark;
use crate::index::Place;
use crate::log::read::{LogCursor, LoggedTransaction, RecordCursor};
use crate::log::record_crc;

/// The segments of a log, by ascending number.
type Segments = Arc<ArcSwap<Vec<Arc<Segment>>>>;

/// A place in a segment. Another file may take the segment's place meanwhile: the cursor goes on
/// in the one it holds.
#[derive(Debug)]
pub(super) struct SegmentCursor {
    segments: Segments,
    identity: Identity,
    segment: Arc<Segment>,
    offset: u64,
    /// No transaction above this is shown.
    last: Tid,
}

impl SegmentCursor {
    /// Before the first transaction with a tid of at least `from`.
    pub(super) fn seek(
        segments: &Segments,
        identity: Identity,
        from: Tid,
        last: Tid,
    ) -> Result<Self, Failure> {
        let all = segments.load();
        let position = all.partition_point(|segment| segment.marks.first().after < from);
        let segment = all.get(position.saturating_sub(1)).ok_or_else(no_segment)?;
        let mark = segment.marks.before(from).unwrap_or_else(|| segment.marks.first());
        let mut cursor = Self {
            segments: Arc::clone(segments),
            identity,
            segment: Arc::clone(segment),
            offset: mark.offset,
            last,
        };
        while cursor.offset < cursor.segment.marks.end() {
            let header = cursor.header(cursor.offset)?;
            if header.tid >= from {
                break;
            }
            cursor.offset += header.total_bytes;
            cursor.segment.marks.note(Mark { after: header.tid, offset: cursor.offset });
        }
        Ok(cursor)
    }

    /// The file that the cursor is in, and the offset there.
    pub(super) fn position(&self) -> (&Path, u64) {
        (&self.segment.path, self.offset)
    }

    /// The header of the transaction at `offset`, which ends where the segment may be read.
    fn header(&self, offset: u64) -> Result<TransactionHeader, Failure> {
        let mut bytes = [0; TRANSACTION_HEADER_BYTES];
        read(&self.segment, &mut bytes, offset)?;
        let header = TransactionHeader::decode(&bytes, self.identity)
            .ok_or_else(|| damaged(&self.segment, offset, "no transaction header"))?;
        let least = (TRANSACTION_HEADER_BYTES + TRAILER_BYTES) as u64;
        let least = least.saturating_add(padded(header.meta_bytes()));
        let end = offset.checked_add(header.total_bytes);
        if header.total_bytes < least || end.is_none_or(|end| end > self.segment.marks.end()) {
            return Err(damaged(&self.segment, offset, "a transaction's length is wrong"));
        }
        Ok(header)
    }

    /// All of a transaction but its records.
    fn transaction(
        &self,
        offset: u64,
        header: &TransactionHeader,
    ) -> Result<LoggedTransaction, Failure> {
        // What `header` has checked to be in the file.
        let len = usize::try_from(header.meta_bytes()).unwrap_or(usize::MAX);
        let mut meta = vec![0; len];
        let start = offset + TRANSACTION_HEADER_BYTES as u64;
        read(&self.segment, &mut meta, start)?;
        let mut digest = new_digest();
        digest.update(&meta);
        // With records it is checked at the last one.
        if header.records == 0 && digest.finalize() as u32 != header.body_crc {
            return Err(damaged(&self.segment, offset, "the transaction's checksum is wrong"));
        }
        let mut rest = Bytes::from(meta);
        let mut take = |bytes: u32| rest.split_to((bytes as usize).min(rest.len()));
        let head = TransactionHead {
            tid: header.tid,
            status: header.status,
            user: take(header.user_bytes),
            description: take(header.description_bytes),
            extension: take(header.extension_bytes),
        };
        let extent = Extent {
            segment: Arc::clone(&self.segment),
            tid: header.tid,
            first: start + padded(header.meta_bytes()),
            end: offset + header.total_bytes - TRAILER_BYTES as u64,
            records: header.records,
            digest,
            body_crc: header.body_crc,
        };
        let records = Box::new(SegmentRecords::new(extent));
        let (bytes, digest) = (header.total_bytes, header.running);
        Ok(LoggedTransaction { head, bytes, digest, records })
    }
}

impl LogCursor for SegmentCursor {
    fn next(&mut self) -> Result<Option<LoggedTransaction>, Failure> {
        while self.offset >= self.segment.marks.end() {
            let all = self.segments.load();
            let next = all.partition_point(|segment| segment.number <= self.segment.number);
            let Some(segment) = all.get(next) else {
                return Ok(None);
            };
            self.segment = Arc::clone(segment);
            self.offset = SEGMENT_HEADER_BYTES as u64;
        }
        let header = self.header(self.offset)?;
        if header.tid > self.last {
            return Ok(None);
        }
        let transaction = self.transaction(self.offset, &header)?;
        self.offset += header.total_bytes;
        Ok(Some(transaction))
    }

    fn previous(&mut self) -> Result<Option<LoggedTransaction>, Failure> {
        while self.offset <= SEGMENT_HEADER_BYTES as u64 {
            let all = self.segments.load();
            let here = all.partition_point(|segment| segment.number < self.segment.number);
            let Some(segment) = here.checked_sub(1).and_then(|before| all.get(before)) else {
                return Ok(None);
            };
            self.segment = Arc::clone(segment);
            self.offset = segment.marks.end();
        }
        let mut trailer = [0; TRAILER_BYTES];
        let wrong = || damaged(&self.segment, self.offset, "a transaction's length is wrong");
        let at = self.offset.checked_sub(TRAILER_BYTES as u64).ok_or_else(wrong)?;
        read(&self.segment, &mut trailer, at)?;
        let total = u64::from_le_bytes(trailer);
        let start = self.offset.checked_sub(total).filter(|at| *at >= SEGMENT_HEADER_BYTES as u64);
        let start = start.ok_or_else(wrong)?;
        let header = self.header(start)?;
        if header.total_bytes != total {
            return Err(wrong());
        }
        let transaction = self.transaction(start, &header)?;
        self.offset = start;
        Ok(Some(transaction))
    }
}

/// Where a transaction's records are.
#[derive(Clone, Debug)]
struct Extent {
    segment: Arc<Segment>,
    tid: Tid,
    first: u64,
    end: u64,
    records: u32,
    /// Over what is before the first record.
    digest: Digest,
    body_crc: u32,
}

/// A place between two records.
#[derive(Debug)]
struct SegmentRecords {
    extent: Extent,
    at: u64,
    left: u32,
    /// Over what is before `at`, as the transaction's checksum is made.
    digest: Digest,
}

impl SegmentRecords {
    fn new(extent: Extent) -> Self {
        let Extent { first, records, digest, .. } = extent;
        Self { extent, at: first, left: records, digest }
    }

    /// Goes over the next record; also tells where its data are.
    fn header(&mut self) -> Result<Option<(RecordHeader, u64)>, Failure> {
        let segment = &self.extent.segment;
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        let mut bytes = [0; RECORD_HEADER_BYTES];
        read(segment, &mut bytes, self.at)?;
        let header = RecordHeader::decode(&bytes)
            .ok_or_else(|| damaged(segment, self.at, "no record header"))?;
        let data = self.at + RECORD_HEADER_BYTES as u64;
        let end = data + padded(header.data_bytes());
        let mut digest = self.digest;
        digest.update(&bytes);
        let is_last = left == 0;
        if end > self.extent.end || is_last && end != self.extent.end {
            return Err(damaged(segment, self.at, "a record's length is wrong"));
        }
        if is_last && digest.finalize() as u32 != self.extent.body_crc {
            return Err(damaged(segment, self.at, "the transaction's checksum is wrong"));
        }
        (self.digest, self.at, self.left) = (digest, end, left);
        Ok(Some((header, data)))
    }
}

impl RecordCursor for SegmentRecords {
    fn next(&mut self) -> Result<Option<TransactionRecord>, Failure> {
        let Some((header, at)) = self.header()? else {
            return Ok(None);
        };
        let segment = &self.extent.segment;
        let has_data = header.len != Place::NO_DATA;
        let mut data = vec![0; usize::try_from(header.data_bytes()).unwrap_or(usize::MAX)];
        read(segment, &mut data, at)?;
        let data = has_data.then_some(data);
        if record_crc(header.oid, data.as_deref()) != header.crc {
            return Err(damaged(segment, at, "a record's checksum is wrong"));
        }
        Ok(Some(TransactionRecord {
            oid: header.oid,
            tid: self.extent.tid,
            data: data.map(Bytes::from),
            origin: (header.origin != Tid::ZERO).then_some(header.origin),
            has_blob: has_data && header.len & Place::BLOB != 0,
        }))
    }

    fn skip(&mut self) -> Result<Option<Oid>, Failure> {
        Ok(self.header()?.map(|(header, _)| header.oid))
    }

    fn again(&self) -> Box<dyn RecordCursor> {
        Box::new(Self::new(self.extent.clone()))
    }
}

fn read(segment: &Segment, buf: &mut [u8], offset: u64) -> Result<(), Failure> {
    let read = segment.file.read_exact_at(buf, offset);
    read.map_err(|error: io::Error| damaged(segment, offset, &error.to_string()))
}

fn damaged(segment: &Segment, offset: u64, what: &str) -> Failure {
    let path = segment.path.display();
    let text = format!("{path}: cannot read the transactions at offset {offset}: {what}");
    tracing::error!("{text}");
    Failure::Storage(text)
}

fn no_segment() -> Failure {
    Failure::Storage("the log has no segment".to_owned())
}
