//! Transactions that another storage has committed, on their way into this one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use protocol::{Failure, Oid, Tid, TransactionHead, TransactionRecord};

use super::{Digest, Position, Role};
use crate::api::Meta;
use crate::blobs::Upload;
use crate::commit::committer::{self, Appended, Committing, Finish};
use crate::commit::room::Room;
use crate::commit::transaction::{MAX_RECORDS, Pending};
use crate::core::Core;
use crate::index::Place;
use crate::locks::Owner;
use crate::log::{LogTransaction, Payload, Record, record_crc};
use crate::oids;
use crate::pack::{Packed, Stage};

/// Whole transactions that wait to be applied, and one that is coming in. What it has not applied is
/// forgotten when it is dropped.
pub struct Incoming {
    core: Arc<Core>,
    whole: Vec<Committing>,
    /// Of data in `whole`.
    bytes: u64,
    /// After `whole`.
    last: Position,
    open: Option<Open>,
}

/// A transaction of which not all is there.
struct Open {
    tid: Tid,
    meta: Meta,
    records: Vec<Record>,
    blobs: BTreeMap<Oid, Upload>,
    room: Room,
    /// Of data.
    bytes: u64,
}

impl Incoming {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        let last = core.replication.position();
        Self { core: Arc::clone(core), whole: Vec::new(), bytes: 0, last, open: None }
    }

    /// A transaction comes. Its tid is above that of the one before.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if it cannot follow; as for all else here, nothing more can be taken
    /// then, but what is whole may be applied.
    pub fn begin(&mut self, head: TransactionHead) -> Result<(), Failure> {
        let TransactionHead { tid, status, user, description, extension } = head;
        if self.open.is_some() || tid <= self.last.tid || tid >= Tid::MAX {
            let last = self.last.tid;
            return Err(Failure::Storage(format!("transaction {tid} cannot follow {last}")));
        }
        let meta = Meta { user, description, extension, tid: Some(tid), status };
        let (records, blobs, room) = (Vec::new(), BTreeMap::new(), Room::default());
        self.open = Some(Open { tid, meta, records, blobs, room, bytes: 0 });
        Ok(())
    }

    /// A record of it.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if there can be no such record, or it cannot be kept.
    pub fn record(&mut self, record: TransactionRecord) -> Result<(), Failure> {
        let TransactionRecord { oid, data, origin, has_blob, .. } = record;
        let open = self.open.as_mut().ok_or_else(no_transaction)?;
        let len = data.as_ref().map_or(0, bytes::Bytes::len);
        if oid.0 >= oids::LIMIT || len >= Place::DATA_BYTES_END || open.records.len() >= MAX_RECORDS
        {
            let tid = open.tid;
            return Err(Failure::Storage(format!("transaction {tid} has an impossible record")));
        }
        open.room.count(size_of::<Record>());
        let crc = record_crc(oid, data.as_deref());
        let payload = match data {
            None => Payload::None,
            Some(data) => open.room.keep(&self.core, data)?,
        };
        let origin = origin.unwrap_or(Tid::ZERO);
        open.records.push(Record { oid, payload, has_blob, origin, crc });
        open.bytes += len as u64;
        Ok(())
    }

    /// The blob of the record of `oid`; all its bytes were written.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if there is no transaction.
    pub fn blob(&mut self, oid: Oid, blob: Upload) -> Result<(), Failure> {
        self.open.as_mut().ok_or_else(no_transaction)?.blobs.insert(oid, blob);
        Ok(())
    }

    /// The transaction is whole; over it and all before it there is `digest`. `false`: here there is
    /// another one, since the histories differ; nothing more can be taken.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if there is no space.
    pub fn end(&mut self, digest: Digest) -> Result<bool, Failure> {
        let open = self.open.take().ok_or_else(no_transaction)?;
        let core = &self.core;
        // Of what a pack has left, nobody can make the digest.
        if open.tid <= core.packed_to() && core.replication.role() == Role::Copying {
            return self.keep(open, digest, Some(digest)).map(|()| true);
        }
        if self.digest_after(&open) != digest {
            return Ok(false);
        }
        self.keep(open, digest, None).map(|()| true)
    }

    /// The same, from somebody who has no digests.
    ///
    /// # Errors
    ///
    /// [`Failure::Storage`] if there is no space.
    pub fn end_unchecked(&mut self) -> Result<(), Failure> {
        let open = self.open.take().ok_or_else(no_transaction)?;
        let digest = self.digest_after(&open);
        self.keep(open, digest, None)
    }

    fn digest_after(&self, open: &Open) -> Digest {
        let Open { tid, meta, records, .. } = open;
        let transaction =
            LogTransaction { tid: *tid, meta, records, promised_bytes: 0, digest: None };
        self.core.log.digest_after(self.last.digest, &transaction)
    }

    /// `given`: the digest that nobody can make.
    fn keep(&mut self, open: Open, digest: Digest, given: Option<Digest>) -> Result<(), Failure> {
        let Open { tid, meta, records, blobs, room, bytes } = open;
        let core = &self.core;
        let promised_bytes = core.log.transaction_bytes(&meta, &records);
        core.log.promise_blocking(promised_bytes)?;
        if let Some(oid) = records.iter().map(|record| record.oid).max() {
            core.oids.raise_above(oid);
        }
        let owner = Owner(core.owners.fetch_add(1, Ordering::Relaxed));
        let pending = Arc::new(Pending::received(owner, meta, room));
        let (reply, asked) = (None, Instant::now());
        let finish =
            Finish { pending, records, blobs, promised_bytes, reply, digest: given, asked };
        self.last = Position { tid, digest };
        self.bytes += bytes;
        self.whole.push(Committing { tid, finish });
        Ok(())
    }

    /// Bytes of data that are not applied.
    pub fn bytes(&self) -> u64 {
        self.bytes + self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// How many whole transactions are not applied.
    pub fn transactions(&self) -> usize {
        self.whole.len()
    }

    /// Makes all whole transactions durable, with one write and one sync, and then visible: all or
    /// none. Says up to where the storage has all then.
    ///
    /// # Errors
    ///
    /// [`Failure::ReadOnly`] if the storage is not a secondary any more; [`Failure::Storage`] if it
    /// cannot be done. Nothing of them is there then, and this is of no more use.
    pub fn apply(&mut self) -> Result<Position, Failure> {
        let core = Arc::clone(&self.core);
        if !self.whole.is_empty() {
            let whole = self.whole.iter();
            let blobs = whole.flat_map(|committing| &committing.finish.blobs);
            let blobs: Vec<_> = blobs.map(|(oid, blob)| (*oid, blob.clone())).collect();
            if !blobs.is_empty() {
                core.make_ready(&blobs)?;
            }
            let role = core.replication.role();
            let who = if role == Role::Copying { role } else { Role::Secondary };
            let applied = committer::append_and_publish(&core, &self.whole, &mut Vec::new(), who);
            if let Appended::Unapproved(failure) = applied.map_err(|(_, failure)| failure)? {
                return Err(failure);
            }
            self.whole.clear();
            self.bytes = 0;
            core.checkpoint_if_due();
            self.end_copy()?;
        }
        Ok(core.replication.position())
    }

    /// Lets clients read, if all is there now that was left by a pack.
    fn end_copy(&self) -> Result<(), Failure> {
        let core = &self.core;
        let to = core.packed_to();
        if core.replication.role() == Role::Copying && core.replication.position().tid >= to {
            core.packer.remember(Packed { to, stage: Stage::Done })?;
            core.replication.set_role(Role::Secondary);
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        for committing in &self.whole {
            committing.finish.take_back_blobs();
            self.core.log.forget(committing.finish.promised_bytes);
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("transactions", &self.whole.len())
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

fn no_transaction() -> Failure {
    Failure::Storage("there is no transaction that it belongs to".to_owned())
}
