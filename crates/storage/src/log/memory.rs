//! `memory:`: a log that no restart remembers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use protocol::{Failure, Oid, Tid, TransactionHead, TransactionRecord};

use super::read::{LogCursor, LoggedTransaction, RecordCursor};
use super::{
    AppendError, At, Digest, Followed, LogTransaction, Payload, Plan, Position, Record, RecordLog,
    Rewritten,
};
use crate::api::Meta;
use crate::index::Place;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    /// Cursors share it.
    kept: Arc<RwLock<Kept>>,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    /// By their number, which is their [`Place::offset`].
    records: Vec<KeptRecord>,
    /// By ascending tid.
    transactions: Vec<KeptTransaction>,
}

#[derive(Debug)]
struct KeptRecord {
    /// Packed away.
    is_gone: bool,
    oid: Oid,
    /// As in [`Place::len`].
    len: u32,
    /// Zero for none.
    origin: Tid,
    data: Bytes,
}

#[derive(Debug)]
struct KeptTransaction {
    tid: Tid,
    meta: Meta,
    digest: Digest,
    /// The number of its first record.
    first: usize,
    records: usize,
}

impl MemoryLog {
    fn read_kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordLog for MemoryLog {
    fn name(&self) -> String {
        "memory:".to_owned()
    }

    fn size_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn transaction_bytes(&self, _: &Meta, records: &[Record]) -> u64 {
        records
            .iter()
            .map(|record| record.payload.len())
            .filter(|len| *len != Place::NO_DATA)
            .map(u64::from)
            .sum()
    }

    fn promise(&self, _: u64) -> bool {
        true
    }

    fn promise_blocking(&self, _: u64) -> Result<(), Failure> {
        Ok(())
    }

    fn forget(&self, _: u64) {}

    fn append(
        &self,
        batch: &[LogTransaction<'_>],
        places: &mut Vec<Place>,
    ) -> Result<Position, AppendError> {
        let mut data = Vec::new();
        for (index, transaction) in batch.iter().enumerate() {
            for record in transaction.records {
                data.push(match &record.payload {
                    Payload::None => Bytes::new(),
                    Payload::Memory(data) => data.clone(),
                    Payload::Spilled(spilled) => {
                        spilled.read(record.oid, record.crc).map_err(|error| {
                            AppendError::Unreadable { transaction: index, text: error.to_string() }
                        })?
                    }
                });
            }
        }
        let mut data = data.into_iter();
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        for transaction in batch {
            let LogTransaction { tid, meta, records, digest, .. } = *transaction;
            let previous = kept.position().digest;
            let digest = digest.unwrap_or_else(|| self.digest_after(previous, transaction));
            let first = kept.records.len();
            let (meta, count) = (meta.clone(), records.len());
            kept.transactions.push(KeptTransaction { tid, meta, digest, first, records: count });
            for (record, data) in records.iter().zip(&mut data) {
                let &Record { oid, origin, .. } = record;
                let offset = kept.records.len() as u64;
                places.push(Place { offset, segment: 0, len: record.len() });
                self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                let len = record.len();
                kept.records.push(KeptRecord { is_gone: false, oid, len, origin, data });
            }
        }
        Ok(kept.position())
    }

    fn position(&self) -> Position {
        self.read_kept().position()
    }

    fn read_cached(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<At<bool>, Failure> {
        Ok(match self.read(oid, place, data)? {
            At::Here(()) => At::Here(true),
            At::Moved => At::Moved,
        })
    }

    fn read(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<At<()>, Failure> {
        let kept = self.read_kept();
        let record = kept.at(oid, place)?;
        if record.is_gone {
            return Ok(At::Moved);
        }
        data.extend_from_slice(&record.data);
        Ok(At::Here(()))
    }

    fn seek(&self, from: Tid, last: Tid) -> Result<Box<dyn LogCursor>, Failure> {
        Ok(Box::new(MemoryCursor { kept: Arc::clone(&self.kept), from, last }))
    }

    fn follow(&self, from: Tid) -> Result<Followed, Failure> {
        Ok(Followed { cursor: self.seek(from, Tid::MAX)?, is_held: false })
    }

    fn origin(&self, oid: Oid, place: Place) -> Result<At<Option<Tid>>, Failure> {
        let origin = self.read_kept().at(oid, place)?.origin;
        Ok(At::Here((origin != Tid::ZERO).then_some(origin)))
    }

    fn parts(&self, _: Tid) -> Result<Vec<u32>, Failure> {
        Ok(vec![0])
    }

    fn visit(&self, _: u32, each: &mut dyn FnMut(Oid, Tid)) -> Result<(), Failure> {
        let mut from = Tid::ZERO;
        while let Some(tid) = self.read_kept().each_record(from, Tid::MAX, |tid, record, _| {
            each(record.oid, tid);
        }) {
            from = tid.next();
        }
        Ok(())
    }

    fn rewrite(&self, _: u32, plan: &mut Plan<'_>) -> Result<Rewritten, Failure> {
        let (mut from, mut freed) = (Tid::ZERO, 0);
        loop {
            if (plan.is_cancelled)() {
                return Ok(Rewritten::Cancelled);
            }
            let mut gone = Vec::new();
            let until = self.read_kept().each_record(from, plan.to, |tid, record, number| {
                if !(plan.keeps)(record.oid, tid) {
                    gone.push(number);
                }
            });
            let Some(until) = until else { break };
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            let bytes = gone.into_iter().map(|number| kept.forget(number)).sum();
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            freed += bytes;
            from = until.next();
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.forget_empty(plan.to);
        Ok(Rewritten::Freed(freed))
    }

    fn wants_checkpoint(&self) -> bool {
        false
    }

    fn checkpoint(&self) {}

    fn close(&self) {}
}

impl Kept {
    fn position(&self) -> Position {
        let last = self.transactions.last();
        last.map_or_else(Position::default, |last| Position { tid: last.tid, digest: last.digest })
    }

    /// The records of a transaction that are not gone, with their numbers.
    fn records_of(
        &self,
        transaction: &KeptTransaction,
    ) -> impl Iterator<Item = (&KeptRecord, u64)> {
        let &KeptTransaction { first, records, .. } = transaction;
        let records = self.records.get(first..).unwrap_or_default().iter().take(records);
        records.zip(first as u64..).filter(|(record, _)| !record.is_gone)
    }

    /// Shows the records of some transactions, from the first one from `from` on and none above
    /// `last`, with their tids and numbers. Says which transaction was the last one; `None`: there
    /// is none. They are few, so that nobody waits long for the lock.
    fn each_record(
        &self,
        from: Tid,
        last: Tid,
        mut each: impl FnMut(Tid, &KeptRecord, u64),
    ) -> Option<Tid> {
        let transactions = self.transactions.iter().skip(self.below(from));
        let mut records = 0;
        let mut until = None;
        for transaction in transactions.take_while(|transaction| transaction.tid <= last) {
            for (record, number) in self.records_of(transaction) {
                each(transaction.tid, record, number);
            }
            until = Some(transaction.tid);
            records += transaction.records + 1;
            if records >= RECORDS_AT_ONCE {
                break;
            }
        }
        until
    }

    /// Forgets transactions up to `to` that have no records, but for the last of all.
    fn forget_empty(&mut self, to: Tid) {
        let last = self.transactions.last().map(|transaction| transaction.tid);
        let records = &self.records;
        let has_records = |transaction: &KeptTransaction| {
            let records = records.get(transaction.first..).unwrap_or_default();
            records.iter().take(transaction.records).any(|record| !record.is_gone)
        };
        self.transactions.retain(|transaction| {
            transaction.tid > to || Some(transaction.tid) == last || has_records(transaction)
        });
    }

    /// Gives back the bytes of a record, and says how many.
    fn forget(&mut self, number: u64) -> u64 {
        let record = usize::try_from(number).ok().and_then(|n| self.records.get_mut(n));
        record.map_or(0, |record| {
            record.is_gone = true;
            std::mem::take(&mut record.data).len() as u64
        })
    }

    fn at(&self, oid: Oid, place: Place) -> Result<&KeptRecord, Failure> {
        let record = usize::try_from(place.offset).ok().and_then(|n| self.records.get(n));
        record.ok_or(Failure::UnknownOid(oid))
    }

    /// How many transactions are below `tid`.
    fn below(&self, tid: Tid) -> usize {
        self.transactions.partition_point(|transaction| transaction.tid < tid)
    }

    fn logged(&self, kept: &Arc<RwLock<Self>>, position: usize) -> Option<LoggedTransaction> {
        let KeptTransaction { tid, ref meta, digest, first, records } =
            *self.transactions.get(position)?;
        let Meta { user, description, extension, status, .. } = meta.clone();
        let bytes = self.records.iter().skip(first).take(records);
        Some(LoggedTransaction {
            head: TransactionHead { tid, status, user, description, extension },
            bytes: bytes.map(|record| record.data.len() as u64).sum(),
            digest,
            records: Box::new(MemoryRecords { kept: Arc::clone(kept), tid, next: 0 }),
        })
    }
}

/// A pack goes through so many records, and whole transactions, before it lets others go on.
const RECORDS_AT_ONCE: usize = 1000;

#[derive(Debug)]
struct MemoryCursor {
    kept: Arc<RwLock<Kept>>,
    /// The next transaction is the first one from here on.
    from: Tid,
    last: Tid,
}

impl LogCursor for MemoryCursor {
    fn next(&mut self) -> Result<Option<LoggedTransaction>, Failure> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let next = kept.logged(&self.kept, kept.below(self.from));
        let next = next.filter(|next| next.head.tid <= self.last);
        if let Some(next) = &next {
            self.from = next.head.tid.next();
        }
        Ok(next)
    }

    fn previous(&mut self) -> Result<Option<LoggedTransaction>, Failure> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let position = kept.below(self.from).checked_sub(1);
        let previous = position.and_then(|position| kept.logged(&self.kept, position));
        if let Some(previous) = &previous {
            self.from = previous.head.tid;
        }
        Ok(previous)
    }
}

#[derive(Debug)]
struct MemoryRecords {
    kept: Arc<RwLock<Kept>>,
    tid: Tid,
    /// How many of its records were given.
    next: usize,
}

impl MemoryRecords {
    fn step<T>(&mut self, look: impl FnOnce(Tid, &KeptRecord) -> T) -> Option<T> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = kept.transactions.get(kept.below(self.tid));
        let transaction = transaction.filter(|transaction| transaction.tid == self.tid)?;
        loop {
            let left = self.next < transaction.records;
            let number = left.then_some(transaction.first + self.next)?;
            self.next += 1;
            let record = kept.records.get(number)?;
            if !record.is_gone {
                return Some(look(self.tid, record));
            }
        }
    }
}

impl RecordCursor for MemoryRecords {
    fn next(&mut self) -> Result<Option<TransactionRecord>, Failure> {
        Ok(self.step(|tid, record| {
            let place = Place { len: record.len, ..Place::default() };
            TransactionRecord {
                oid: record.oid,
                tid,
                data: place.has_data().then(|| record.data.clone()),
                origin: (record.origin != Tid::ZERO).then_some(record.origin),
                has_blob: place.has_blob(),
            }
        }))
    }

    fn skip(&mut self) -> Result<Option<Oid>, Failure> {
        Ok(self.step(|_, record| record.oid))
    }

    fn again(&self) -> Box<dyn RecordCursor> {
        Box::new(Self { kept: Arc::clone(&self.kept), tid: self.tid, next: 0 })
    }
}
