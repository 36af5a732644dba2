//! Appends batches of transactions: one write, one sync.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use protocol::Tid;

use super::format::{
    RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader,
    TRANSACTION_HEADER_BYTES, TransactionHeader, padded,
};
use super::marks::Marks;
use super::sidecar::{Block, Entry};
use super::space::lacks_space;
use super::{CHECKPOINT_BYTES, Files, Segment, SegmentLog, format};
use crate::disk::{File, Open};
use crate::index::Place;
use crate::log::{AppendError, Digest, LogTransaction, Payload, Position};
use crate::open::Sync;

/// Where the next batch goes.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) segment: Arc<Segment>,
    /// End of what is written. What the file has beyond it was taken back or is garbage.
    pub(super) tail: u64,
    /// End of what is known to be durable.
    pub(super) durable: u64,
    pub(super) last: Position,
    /// What is in no sidecar and not due for one.
    pub(super) block: Block,
}

/// A batch is written in pieces of about this size.
const PIECE_BYTES: usize = 4 << 20;

impl SegmentLog {
    pub(super) fn append_batch(
        &self,
        batch: &[LogTransaction<'_>],
        places: &mut Vec<Place>,
    ) -> Result<Position, AppendError> {
        let mut writer = self.writer();
        if writer.tail >= self.segment_bytes {
            self.roll(&mut writer);
        }
        let first_place = places.len();
        let (tail, digest) = self.write_and_sync(&writer, batch, places).map_err(|trouble| {
            places.truncate(first_place);
            self.take_back(&writer.segment, trouble)
        })?;
        self.space.written(batch.iter().map(|transaction| transaction.promised_bytes).sum(), tail);
        self.bytes.fetch_add(tail - writer.tail, Ordering::Relaxed);
        writer.tail = tail;
        if self.sync != Sync::None {
            writer.durable = tail;
        }
        let mut new_places = places.iter().skip(first_place);
        for transaction in batch {
            let of_transaction = transaction.records.iter().zip(&mut new_places);
            writer.block.entries.extend(of_transaction.map(|(record, place)| Entry {
                oid: record.oid,
                tid: transaction.tid,
                place: *place,
            }));
        }
        if let Some(last) = batch.last() {
            writer.last = Position { tid: last.tid, digest };
            writer.block.last = writer.last;
        }
        writer.segment.marks.grow(writer.last.tid, tail);
        if tail - writer.block.from >= CHECKPOINT_BYTES {
            self.hand_over_block(&mut writer);
        }
        Ok(writer.last)
    }

    /// Syncs a segment, which has all up to `end`; nobody who commits waits for it.
    pub(super) fn make_durable(&self, segment: &Segment, end: u64) -> io::Result<()> {
        segment.file.sync()?;
        let mut writer = self.writer();
        if writer.segment.number == segment.number {
            writer.durable = writer.durable.max(end);
        }
        Ok(())
    }

    /// Marks what the writer remembers as due for the sidecar.
    pub(super) fn hand_over_block(&self, writer: &mut Writer) {
        let mut block = std::mem::replace(&mut writer.block, Block::empty(writer.tail));
        block.to = writer.tail;
        if block.to > block.from {
            self.due().push_back((Arc::clone(&writer.segment), block));
        }
    }

    /// The new tail and digest; on failure anything may be behind the old tail.
    fn write_and_sync(
        &self,
        writer: &Writer,
        batch: &[LogTransaction<'_>],
        places: &mut Vec<Place>,
    ) -> Result<(u64, Digest), Trouble> {
        let Writer { ref segment, tail, durable, last, .. } = *writer;
        let mut out = Output { file: &*segment.file, offset: tail, piece: Vec::new() };
        let mut digest = last.digest;
        for (index, transaction) in batch.iter().enumerate() {
            let unreadable = |error| Trouble::Spilled { transaction: index, error };
            let header = TransactionHeader::new(transaction, digest, durable);
            digest = header.running;
            self.put(transaction, &header, segment.slot, &mut out, places, unreadable)?;
        }
        out.flush()?;
        if self.sync != Sync::None {
            let start = Instant::now();
            segment.file.sync().map_err(Trouble::Sync)?;
            self.syncs.record_duration(start.elapsed());
        }
        Ok((out.offset, digest))
    }

    /// Cuts the segment to what it was before the batch.
    fn take_back(&self, segment: &Segment, trouble: Trouble) -> AppendError {
        let path = segment.path.display();
        let (text, certain) = match &trouble {
            Trouble::Write(error) => (format!("cannot write to {path}: {error}"), true),
            // What it found no space for is behind the tail. Of other failed syncs nobody can say
            // what they left.
            Trouble::Sync(error) => (format!("cannot sync {path}: {error}"), lacks_space(error)),
            Trouble::Spilled { error, .. } => (error.to_string(), true),
        };
        match self.space.cut().and_then(|()| segment.file.sync()) {
            Err(error) => AppendError::InDoubt(format!("{text}; cannot cut {path}: {error}")),
            Ok(()) if !certain => AppendError::InDoubt(text),
            Ok(()) => match trouble {
                Trouble::Spilled { transaction, .. } => {
                    AppendError::Unreadable { transaction, text }
                }
                Trouble::Write(_) | Trouble::Sync(_) => AppendError::TakenBack(text),
            },
        }
    }

    fn put(
        &self,
        transaction: &LogTransaction<'_>,
        header: &TransactionHeader,
        segment: u32,
        out: &mut Output<'_>,
        places: &mut Vec<Place>,
        unreadable: impl Fn(io::Error) -> Trouble,
    ) -> Result<(), Trouble> {
        let LogTransaction { meta, records, .. } = *transaction;
        let start = out.position();
        out.put(&header.encode(self.files.identity))?;
        for part in [&meta.user, &meta.description, &meta.extension] {
            out.put(part)?;
        }
        out.pad_to(start + TRANSACTION_HEADER_BYTES as u64 + padded(header.meta_bytes()))?;
        for record in records {
            let offset = out.position();
            let header = RecordHeader::of(record);
            out.put(&header.encode())?;
            match &record.payload {
                Payload::None => (),
                Payload::Memory(data) => out.put(data)?,
                Payload::Spilled(spilled) => {
                    out.put(&spilled.read(record.oid, record.crc).map_err(&unreadable)?)?;
                }
            }
            out.pad_to(offset + RECORD_HEADER_BYTES as u64 + padded(header.data_bytes()))?;
            places.push(Place { offset, segment, len: header.len });
        }
        Ok(out.put(&header.total_bytes.to_le_bytes())?)
    }

    /// Starts a new segment. If that cannot be done, the current one just goes on growing.
    fn roll(&self, writer: &mut Writer) {
        match self.try_roll(writer) {
            Ok(()) => (),
            Err(error) => tracing::warn!(
                "cannot start a segment after {}: {error}; it is used on",
                writer.segment.path.display()
            ),
        }
    }

    pub(super) fn try_roll(&self, writer: &mut Writer) -> io::Result<()> {
        let old = &writer.segment;
        if writer.durable < writer.tail {
            old.file.sync()?;
            writer.durable = writer.tail;
        }
        let number = old.number + 1;
        if !format::has_slots(number) {
            return Err(io::Error::other("there are as many segments as there can be"));
        }
        let segment = Arc::new(self.files.create_segment(number, writer.last.tid)?);
        let tail = SEGMENT_HEADER_BYTES as u64;
        if let Err(error) = self.space.move_to(&segment, tail) {
            self.files.disk.remove(&segment.path)?;
            return Err(error);
        }
        // Gives back what was allocated and not used.
        if let Err(error) = old.file.set_len(writer.tail) {
            tracing::warn!("cutting {}: {error}", old.path.display());
        }
        self.hand_over_block(writer);
        let mut segments = Vec::clone(&self.segments.load());
        segments.push(Arc::clone(&segment));
        self.segments.store(Arc::new(segments));
        self.bytes.fetch_add(tail, Ordering::Relaxed);
        writer.segment = segment;
        writer.tail = tail;
        writer.durable = tail;
        writer.block = Block::empty(tail);
        Ok(())
    }
}

impl Files {
    /// Makes an empty segment, durably; one that an earlier attempt left is used.
    pub(super) fn create_segment(&self, number: u32, previous: Tid) -> io::Result<Segment> {
        let path = self.segment_path(number);
        let file = self.open_segment(&path, Open::Truncated)?;
        let header = SegmentHeader { number, generation: 0, previous }.encode(self.identity);
        file.write_all_at(&[IoSlice::new(&header)], 0)?;
        file.sync()?;
        self.disk.sync_dir(&self.segments_dir())?;
        Ok(Segment::new(number, format::slot(number, 0), path, file, Marks::new(previous)))
    }
}

/// Why a batch was not written.
enum Trouble {
    Write(io::Error),
    Sync(io::Error),
    /// The temporary file of one of its transactions cannot be read.
    Spilled {
        transaction: usize,
        error: io::Error,
    },
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Collects small parts into large writes.
pub(super) struct Output<'a> {
    pub(super) file: &'a dyn File,
    /// Where `piece` goes.
    pub(super) offset: u64,
    pub(super) piece: Vec<u8>,
}

impl Output<'_> {
    pub(super) fn position(&self) -> u64 {
        self.offset + self.piece.len() as u64
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn pad_to(&mut self, position: u64) -> io::Result<()> {
        let missing = position.saturating_sub(self.position()) as usize;
        self.put([0; 8].get(..missing).unwrap_or_default())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[IoSlice::new(&self.piece)], self.offset)?;
        self.offset += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}
