//! The rest of what the server can: blobs, undo, history, iteration and pack.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use protocol::{
    Codec, CurrentRecord, Failure, Oid, Push, Reply, Request, Tid, TransactionHead,
    TransactionRecord, TransactionSummary, UndoLog,
};

use super::{Connection, State, framed};

/// What a connection has beside its writes.
#[derive(Default)]
pub(crate) struct Extras {
    /// By object; ZEO's clients do not say of which until the end.
    uploads: BTreeMap<Option<Oid>, Vec<u8>>,
    pub(super) blobs: BTreeMap<Oid, Bytes>,
    pub(super) undone: Vec<Tid>,
    iterators: BTreeMap<u64, Iterator>,
    iterators_begun: u64,
}

enum Iterator {
    Transactions(VecDeque<Tid>),
    Records(VecDeque<TransactionRecord>),
}

impl State {
    /// The tids of all transactions that changed something.
    fn tids(&self) -> Vec<Tid> {
        let mut tids: Vec<_> = self.objects.values().flatten().map(|(tid, _)| *tid).collect();
        tids.sort_unstable();
        tids.dedup();
        tids
    }

    fn history(&self, oid: Oid, count: u32) -> Reply {
        let Some(revisions) = self.objects.get(&oid) else {
            return Reply::Failed(Failure::UnknownOid(oid));
        };
        let size = |data: &Option<Bytes>| data.as_ref().map_or(0, |data| data.len() as u64);
        let newest = revisions.iter().rev().take(usize::try_from(count).unwrap());
        Reply::History(newest.map(|(tid, data)| summary(*tid, size(data))).collect())
    }

    fn undo_log(&self, wanted: &UndoLog) -> Reply {
        let count = usize::try_from(wanted.last - wanted.first).unwrap();
        let tids = self.tids().into_iter().rev().skip(usize::try_from(wanted.first).unwrap());
        Reply::UndoLog(tids.take(count).map(|tid| summary(tid, 9)).collect())
    }

    fn next_record(&self, from: Oid) -> Reply {
        let mut current = self.objects.range(from..).filter_map(|(oid, revisions)| {
            let (tid, data) = revisions.last()?;
            Some((*oid, *tid, data.clone()?))
        });
        let Some((oid, tid, data)) = current.next() else {
            return Reply::Failed(Failure::UnknownOid(from));
        };
        let next = current.next().map(|(oid, ..)| oid);
        Reply::CurrentRecord(CurrentRecord { oid, tid, data, next })
    }

    fn records(&self, of: Tid) -> VecDeque<TransactionRecord> {
        let record = |(oid, revisions): (&Oid, &Vec<(Tid, Option<Bytes>)>)| {
            let (tid, data) = revisions.iter().find(|(tid, _)| *tid == of)?;
            let has_blob = self.blobs.contains_key(&(*oid, of));
            Some(TransactionRecord {
                oid: *oid,
                tid: *tid,
                data: data.clone(),
                origin: None,
                has_blob,
            })
        };
        self.objects.iter().filter_map(record).collect()
    }

    /// What the objects of a transaction were before it.
    pub(super) fn undo(&self, undone: Tid) -> Result<Vec<(Oid, Option<Bytes>)>, Failure> {
        let (mut before, mut later) = (Vec::new(), Vec::new());
        for (oid, revisions) in &self.objects {
            let Some(index) = revisions.iter().position(|(tid, _)| *tid == undone) else {
                continue;
            };
            match index + 1 == revisions.len() {
                true if index == 0 => before.push((*oid, None)),
                true => before.push((*oid, revisions[index - 1].1.clone())),
                false => later.push((*oid, "changed later".to_owned())),
            }
        }
        match (before.is_empty(), later.is_empty()) {
            (_, false) => Err(Failure::Undo(later)),
            (true, true) => Err(Failure::NotUndoable("Invalid transaction id".to_owned())),
            (false, true) => Ok(before),
        }
    }
}

impl<C: Codec> Connection<C> {
    pub(super) fn handle_past(
        &mut self,
        request: Request,
        state: &mut State,
        stream: &UnixStream,
    ) -> io::Result<Reply> {
        let extras = &mut self.extras;
        match request {
            Request::Undo { tid, .. } => extras.undone.push(tid),
            Request::BlobStart { oid } => {
                assert!(extras.uploads.insert(oid, Vec::new()).is_none(), "one at a time");
            }
            Request::BlobChunk { oid, data } => {
                extras.uploads.get_mut(&oid).unwrap().extend_from_slice(&data);
            }
            Request::BlobEnd { oid, serial, data, .. } => {
                let named = extras.uploads.remove(&Some(oid));
                let blob = named.or_else(|| extras.uploads.remove(&None)).unwrap();
                extras.blobs.insert(oid, blob.into());
                self.writes.insert(oid, (serial, Some(data)));
            }
            Request::EndIterators { iterators } => {
                for number in iterators {
                    state.iterators_ended += u64::from(extras.iterators.remove(&number).is_some());
                }
            }
            Request::Pack { before, wait } => state.packed = Some((before, wait)),
            Request::LoadBlob { oid, serial } => return self.load_blob(oid, serial, state, stream),
            Request::History { oid, count } => return Ok(state.history(oid, count)),
            Request::UndoLog(wanted) => return Ok(state.undo_log(&wanted)),
            Request::NextRecord { oid } => return Ok(state.next_record(oid.unwrap_or_default())),
            Request::Iterate { start, stop } => {
                let (start, stop) = (start.unwrap_or_default(), stop.unwrap_or(Tid::MAX));
                let tids = state.tids().into_iter().filter(|tid| (start..=stop).contains(tid));
                return Ok(extras.begin(Iterator::Transactions(tids.collect())));
            }
            Request::IterateRecords { tid, .. } => {
                return Ok(extras.begin(Iterator::Records(state.records(tid))));
            }
            Request::NextTransaction { iterator } | Request::NextTransactionRecord { iterator } => {
                if state.iterators_are_lost {
                    return Ok(Reply::Failed(Failure::UnknownIterator(iterator)));
                }
                return Ok(extras.step(iterator));
            }
            _ => {}
        }
        Ok(Reply::Done)
    }

    fn load_blob(
        &mut self,
        oid: Oid,
        serial: Tid,
        state: &State,
        mut stream: &UnixStream,
    ) -> io::Result<Reply> {
        let Some(blob) = state.blobs.get(&(oid, serial)) else {
            return Ok(Reply::Failed(Failure::UnknownBlob { oid, serial }));
        };
        let chunks = blob.chunks(59_000).map(|chunk| Push::BlobChunk {
            oid,
            serial,
            data: Bytes::copy_from_slice(chunk),
        });
        let start = std::iter::once(Push::BlobStart { oid, serial });
        for push in start.chain(chunks).chain([Push::BlobStop { oid, serial }]) {
            stream.write_all(&framed(|out| self.codec.encode_push(&push, out)))?;
            if state.blobs_break_off && matches!(push, Push::BlobChunk { .. }) {
                return Err(io::Error::other("in the middle"));
            }
        }
        Ok(Reply::Done)
    }
}

impl Extras {
    /// A transaction is over, and what belongs to it.
    pub(super) fn end(&mut self) {
        self.uploads.clear();
        self.blobs.clear();
        self.undone.clear();
    }

    fn begin(&mut self, iterator: Iterator) -> Reply {
        self.iterators_begun += 1;
        self.iterators.insert(self.iterators_begun, iterator);
        Reply::Iterator(self.iterators_begun)
    }

    fn step(&mut self, number: u64) -> Reply {
        let step = match self.iterators.get_mut(&number) {
            Some(Iterator::Transactions(tids)) => Reply::Transaction(tids.pop_front().map(head)),
            Some(Iterator::Records(records)) => Reply::TransactionRecord(records.pop_front()),
            None => Reply::Failed(Failure::UnknownIterator(number)),
        };
        if matches!(step, Reply::Transaction(None) | Reply::TransactionRecord(None)) {
            self.iterators.remove(&number);
        }
        step
    }
}

fn summary(tid: Tid, size: u64) -> TransactionSummary {
    let TransactionHead { tid, user, description, extension, .. } = head(tid);
    TransactionSummary { tid, size, user, description, extension }
}

fn head(tid: Tid) -> TransactionHead {
    TransactionHead {
        tid,
        status: b' ',
        user: Bytes::from("user"),
        description: Bytes::from("what"),
        extension: Bytes::from_static(b"\x81\xa1k\xa1v"),
    }
}
