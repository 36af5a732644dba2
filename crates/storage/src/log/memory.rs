//! `memory:`: a log that no restart remembers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use protocol::{Failure, Oid};

use super::{AppendError, LogTransaction, Payload, Record, RecordLog};
use crate::api::Meta;
use crate::index::Place;

/// Records by their number, which is their [`Place::offset`].
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    records: RwLock<Vec<Bytes>>,
    bytes: AtomicU64,
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
    ) -> Result<(), AppendError> {
        let mut kept = Vec::new();
        for (index, transaction) in batch.iter().enumerate() {
            for record in transaction.records {
                kept.push(match &record.payload {
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
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for (record, data) in batch.iter().flat_map(|transaction| transaction.records).zip(kept) {
            let offset = records.len() as u64;
            places.push(Place { offset, segment: 0, len: record.len() });
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
            records.push(data);
        }
        Ok(())
    }

    fn read_cached(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<bool, Failure> {
        self.read(oid, place, data).map(|()| true)
    }

    fn read(&self, oid: Oid, place: Place, data: &mut Vec<u8>) -> Result<(), Failure> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let record = usize::try_from(place.offset).ok().and_then(|number| records.get(number));
        data.extend_from_slice(record.ok_or(Failure::UnknownOid(oid))?);
        Ok(())
    }

    fn wants_checkpoint(&self) -> bool {
        false
    }

    fn checkpoint(&self) {}

    fn close(&self) {}
}
