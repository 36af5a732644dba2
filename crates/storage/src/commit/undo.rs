//! Undo: the objects of a transaction get their revisions before it again, as a new transaction.
//!
//! Data are opaque, so nothing is merged: an object must have the data that the undone
//! transaction gave it. Which objects those are is read from the log before the locks are taken;
//! what they become is found under the locks. Both is done on the storage's pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Failure, Oid, Tid};

use crate::api::Which;
use crate::commit::room::Room;
use crate::commit::transaction::{MAX_RECORDS, Pending, Stage, State, Write};
use crate::core::Core;
use crate::index::{Lookup, Revision};
use crate::log::{Payload, Record, record_crc};
use crate::past::ORDINARY;
use crate::sync::MutexGuard;

/// A transaction that is to be undone.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) tid: Tid,
    /// As [`Write::order`].
    pub(crate) order: u32,
    /// What it wrote; found by the vote.
    pub(crate) oids: Vec<Oid>,
}

/// What an object becomes.
#[derive(Clone, Copy, Debug)]
struct Effect {
    order: u32,
    /// Whose data it gets; `None`: its creation is undone.
    source: Option<Revision>,
}

/// An object's state when an undo comes to it.
enum Present<'a> {
    /// What was committed, or what an undo of the same transaction made of it.
    Revision(Option<Revision>),
    /// What the same transaction wrote before.
    Written(&'a Write),
}

impl Core {
    /// Finds what the undone transactions wrote, and takes the locks.
    pub(super) fn find_undone(self: &Arc<Self>, pending: &Arc<Pending>) {
        let (core, pending) = (Arc::clone(self), Arc::clone(pending));
        self.pool.run(move || {
            let mut undos = std::mem::take(&mut pending.lock().undos);
            let found = undos.iter_mut().try_for_each(|undo| {
                undo.oids = core.written_by(undo.tid)?;
                Ok(())
            });
            let mut state = pending.lock();
            if !matches!(state.stage, Stage::Voting(_)) {
                return;
            }
            let objects: usize = undos.iter().map(|undo| undo.oids.len()).sum();
            state.undos = undos;
            match found {
                Ok(()) if objects > MAX_RECORDS => {
                    let what = format!("more than {MAX_RECORDS} objects are undone at once");
                    state.answer_vote(Err(Failure::Storage(what)));
                }
                Ok(()) => core.take_locks(&pending, state),
                Err(failure) => state.answer_vote(Err(failure)),
            }
        });
    }

    /// Makes records of all that a transaction with undos writes, under its locks, and goes on with
    /// the vote.
    pub(super) fn resolve_undos(
        self: &Arc<Self>,
        pending: &Arc<Pending>,
        mut state: MutexGuard<'_, State>,
    ) {
        let writes = std::mem::take(&mut state.writes);
        let undos = std::mem::take(&mut state.undos);
        let mut room = std::mem::take(&mut state.room);
        drop(state);
        let (core, pending) = (Arc::clone(self), Arc::clone(pending));
        self.pool.run(move || {
            let resolved = core.effects(&undos, &writes).and_then(|effects| {
                let oids = effects.keys().copied().collect();
                Ok((core.records(writes, effects, &mut room)?, oids))
            });
            match resolved {
                Ok((records, oids)) => {
                    let mut state = pending.lock();
                    if matches!(state.stage, Stage::Voting(_)) {
                        (state.records, state.determined, state.room) = (records, oids, room);
                        core.secure_space(&pending, state);
                    }
                }
                Err(failure) => {
                    core.release(pending.owner);
                    core.refuse(pending, Err(failure));
                }
            }
        });
    }

    /// The objects that a transaction wrote, if it can be undone.
    fn written_by(&self, tid: Tid) -> Result<Vec<Oid>, Failure> {
        let invalid = || Failure::NotUndoable("Invalid transaction id".to_owned());
        if tid <= self.packed_to() {
            return Err(invalid());
        }
        let found = self.log.seek(tid, self.publisher.last_tid())?.next()?;
        let mut found = found.filter(|found| found.head.tid == tid).ok_or_else(invalid)?;
        if self.status(&found.head) != ORDINARY {
            return Err(Failure::NotUndoable("non-undoable transaction".to_owned()));
        }
        let mut oids = Vec::new();
        while let Some(oid) = found.records.skip()? {
            oids.push(oid);
        }
        Ok(oids)
    }

    /// What becomes of the objects of the undone transactions. Of the first transaction that cannot
    /// be undone, all objects are told that are in the way.
    fn effects(&self, undos: &[Undo], writes: &[Write]) -> Result<BTreeMap<Oid, Effect>, Failure> {
        let mut effects: BTreeMap<Oid, Effect> = BTreeMap::new();
        for undo in undos {
            let mut in_the_way = Vec::new();
            for &oid in &undo.oids {
                let effect = effects.get(&oid);
                let write = written(writes, oid).filter(|write| {
                    let last = effect.map_or(0, |effect| effect.order);
                    (last..undo.order).contains(&write.order)
                });
                let present = match (write, effect) {
                    (Some(write), _) => Present::Written(write),
                    (None, Some(effect)) => Present::Revision(effect.source),
                    (None, None) => Present::Revision(self.index.current(oid)),
                };
                match self.undo(oid, undo.tid, &present)? {
                    Ok(source) => {
                        effects.insert(oid, Effect { order: undo.order, source });
                    }
                    Err(reason) => in_the_way.push((oid, reason.to_owned())),
                }
            }
            // A pack may have come in between, and taken what is to be brought back.
            if undo.tid <= self.packed_to() {
                return Err(Failure::NotUndoable("Invalid transaction id".to_owned()));
            }
            if !in_the_way.is_empty() {
                return Err(Failure::Undo(in_the_way));
            }
        }
        Ok(effects)
    }

    /// The revision that an object goes back to, or why it does not.
    fn undo(
        &self,
        oid: Oid,
        tid: Tid,
        present: &Present<'_>,
    ) -> Result<Result<Option<Revision>, &'static str>, Failure> {
        let Lookup::Revision { revision: undone, .. } = self.index.find(oid, Which::Serial(tid))
        else {
            return Ok(Err("The revision that is undone is gone"));
        };
        let before = match self.index.find(oid, Which::Before(tid)) {
            Lookup::Revision { revision, .. } => Some(revision),
            Lookup::Younger | Lookup::Unknown => None,
        };
        if self.has_data_of(oid, present, undone)? {
            return Ok(Ok(before.filter(|revision| revision.place.has_data())));
        }
        Ok(Err(match before {
            Some(_) => "Some data were modified by a later transaction",
            None => "Can't undo an add transaction followed by conflicting transactions.",
        }))
    }

    /// Whether an object has the data that `undone` gave it.
    fn has_data_of(
        &self,
        oid: Oid,
        present: &Present<'_>,
        undone: Revision,
    ) -> Result<bool, Failure> {
        let present = match present {
            Present::Revision(present) => present.filter(|revision| revision.place.has_data()),
            Present::Written(write) => {
                return match &write.payload {
                    Payload::None => Ok(!undone.place.has_data()),
                    // The blobs would have to be compared.
                    _ if undone.place.has_blob() => Ok(false),
                    payload => Ok(payload.len() == undone.place.len
                        && payload.read(oid, write.crc)? == self.data(oid, undone)?),
                };
            }
        };
        let Some(present) = present else {
            return Ok(!undone.place.has_data());
        };
        if present.tid == undone.tid {
            return Ok(true);
        }
        if present.place.len != undone.place.len {
            return Ok(false);
        }
        // Records of two blobs may be equal.
        if present.place.has_blob() && self.source(oid, present)? != self.source(oid, undone)? {
            return Ok(false);
        }
        Ok(self.data(oid, present)? == self.data(oid, undone)?)
    }

    /// The tid of the revision that first had the data of `revision`, as far as undos moved them.
    fn source(&self, oid: Oid, mut revision: Revision) -> Result<Tid, Failure> {
        while let Some(origin) = self.located(oid, revision, |place| self.log.origin(oid, place))? {
            match self.index.find(oid, Which::Serial(origin)) {
                Lookup::Revision { revision: found, .. } if found.tid < revision.tid => {
                    revision = found;
                }
                _ => break,
            }
        }
        Ok(revision.tid)
    }

    fn data(&self, oid: Oid, revision: Revision) -> Result<Bytes, Failure> {
        let mut data = Vec::new();
        self.read(oid, revision, &mut data)?;
        Ok(data.into())
    }

    /// Of what is written and what is undone, by ascending oid; the last of both counts.
    fn records(
        &self,
        writes: Vec<Write>,
        mut effects: BTreeMap<Oid, Effect>,
        room: &mut Room,
    ) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::with_capacity(writes.len() + effects.len());
        for write in writes {
            match effects.get(&write.oid) {
                Some(effect) if effect.order > write.order => (),
                _ => {
                    effects.remove(&write.oid);
                    records.push(write.into_record());
                }
            }
        }
        for (oid, effect) in effects {
            records.push(self.brought_back(oid, effect.source, room)?);
        }
        records.sort_unstable_by_key(|record| record.oid);
        Ok(records)
    }

    /// A record with the data of an earlier one.
    fn brought_back(
        &self,
        oid: Oid,
        source: Option<Revision>,
        room: &mut Room,
    ) -> Result<Record, Failure> {
        let Some(source) = source else {
            let (payload, crc) = (Payload::None, record_crc(oid, None));
            return Ok(Record { oid, payload, has_blob: false, origin: Tid::ZERO, crc });
        };
        let data = self.data(oid, source)?;
        let crc = record_crc(oid, Some(&data));
        let payload = room.keep(self, data)?;
        let has_blob = source.place.has_blob();
        Ok(Record { oid, payload, has_blob, origin: source.tid, crc })
    }
}

/// The write of an object, in a list by ascending oid.
fn written(writes: &[Write], oid: Oid) -> Option<&Write> {
    let position = writes.binary_search_by_key(&oid, |write| write.oid).ok()?;
    writes.get(position)
}
