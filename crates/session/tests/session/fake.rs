//! A storage whose late answers are the test's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use protocol::{
    CurrentRecord, Failure, Loaded, Oid, Tid, TransactionHead, TransactionRecord, UndoLog,
};
use storage::{
    Abilities, Completion, Event, Extent, Found, Invalidation, Iterated, LockState, Mailbox,
    Measures, Meta, RecordCursor, ReplyTo, Storage, Transaction, TransactionCursor, Upload, Vote,
    Which,
};

#[derive(Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) subscribers: Vec<Arc<Mailbox>>,
    pub(crate) last: Tid,
    /// The tids of each object's revisions.
    revisions: BTreeMap<Oid, Vec<Tid>>,
    /// No data are in memory.
    pub(crate) is_cold: bool,
    /// How large records are.
    pub(crate) record_bytes: usize,
    /// Loads that wait, with what they found when they were asked.
    pub(crate) loads: Vec<(ReplyTo, Tid, Option<Tid>)>,
    pub(crate) votes: Vec<ReplyTo>,
    /// Questions about missed invalidations that wait.
    pub(crate) missed: Vec<ReplyTo>,
    /// Questions for a current record that wait.
    pub(crate) records: Vec<ReplyTo>,
    /// Cursors that were handed in, and who waits for them.
    pub(crate) cursors: Vec<(Box<dyn TransactionCursor>, ReplyTo)>,
    pub(crate) finishes: Vec<ReplyTo>,
    /// What the next store fails with.
    pub(crate) store_fails: Option<Failure>,
    /// Transactions that were dropped.
    pub(crate) dropped: usize,
}

impl Fake {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under it")
    }

    /// Another connection's transaction.
    pub(crate) fn commit(&self, oid: Oid) -> Tid {
        let mut state = self.state();
        state.last = state.last.next();
        let tid = state.last;
        state.revisions.entry(oid).or_default().push(tid);
        for mailbox in &state.subscribers {
            mailbox.push([Event::Invalidated(Invalidation { tid, oids: [oid].into() })]);
        }
        tid
    }

    /// Answers the load that has waited longest, with what it found then.
    pub(crate) fn answer_load(&self) {
        let mut state = self.state();
        let (reply, tid, end) = state.loads.remove(0);
        let data = vec![7; state.record_bytes];
        reply.send(Completion::Loaded(Ok(Some(Loaded { data, tid, end }))));
    }

    pub(crate) fn answer_vote(&self, vote: Vote) {
        let reply = self.state().votes.remove(0);
        reply.send(Completion::Voted(Ok(vote)));
    }

    /// Answers who has waited longest for what was missed.
    pub(crate) fn answer_missed(&self, oids: Option<Vec<Oid>>) {
        self.state().missed.remove(0).send(Completion::Invalidations(oids));
    }

    /// Answers who has waited longest for a current record, with what is current now.
    pub(crate) fn answer_record(&self, oid: Oid, tid: Tid) {
        let record = CurrentRecord { oid, tid, data: Bytes::new(), next: None };
        self.state().records.remove(0).send(Completion::CurrentRecord(Ok(record)));
    }

    /// Moves the cursor that was handed in first, and gives it back.
    pub(crate) fn move_cursor(&self) {
        let (mut cursor, reply) = self.state().cursors.remove(0);
        let next = cursor.next();
        reply.send(Completion::Transaction { cursor, next });
    }

    pub(crate) fn answer_finish(&self) -> Tid {
        let mut state = self.state();
        state.last = state.last.next();
        state.finishes.remove(0).send(Completion::Finished(Ok(state.last)));
        state.last
    }
}

impl State {
    fn find(&self, oid: Oid, which: Which) -> Result<Option<(Tid, Option<Tid>)>, Failure> {
        let tids = self.revisions.get(&oid).ok_or(Failure::UnknownOid(oid))?;
        let index = tids.iter().rposition(|tid| match which {
            Which::Before(before) => *tid < before,
            Which::Serial(serial) => *tid == serial,
        });
        Ok(index.and_then(|index| Some((*tids.get(index)?, tids.get(index + 1).copied()))))
    }
}

impl Storage for Fake {
    fn name(&self) -> String {
        "fake".to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities { undo: true, iteration: true, record_iteration: true, blobs: false }
    }

    fn extent(&self) -> Extent {
        Extent { objects: 3, bytes: 4 }
    }

    fn load(&self, oid: Oid, which: Which, data: &mut Vec<u8>) -> Result<Found, Failure> {
        let state = self.state();
        Ok(match state.find(oid, which)? {
            None => Found::Younger,
            Some(_) if state.is_cold => Found::Later,
            Some((tid, end)) => {
                data.resize(data.len() + state.record_bytes, 7);
                Found::Revision { tid, end }
            }
        })
    }

    fn load_later(&self, oid: Oid, which: Which, reply: ReplyTo) {
        let mut state = self.state();
        let found = state.find(oid, which).expect("it was found before");
        let (tid, end) = found.expect("it was found before");
        state.loads.push((reply, tid, end));
    }

    fn end_tid(&self, oid: Oid, tid: Tid) -> Option<Tid> {
        self.state().find(oid, Which::Serial(tid)).ok()??.1
    }

    fn current_tid(&self, oid: Oid) -> Result<Tid, Failure> {
        let found = self.state().find(oid, Which::Before(Tid::MAX))?;
        found.map(|found| found.0).ok_or(Failure::UnknownOid(oid))
    }

    fn new_oids(&self, _: u32, _: ReplyTo) -> Option<Vec<Oid>> {
        Some(vec![Oid(1)])
    }

    fn begin(&self, _: Meta) -> Box<dyn Transaction> {
        Box::new(Handle(Arc::clone(&self.0)))
    }

    fn subscribe(&self, mailbox: &Arc<Mailbox>) -> Tid {
        let mut state = self.state();
        state.subscribers.push(Arc::clone(mailbox));
        state.last
    }

    fn unsubscribe(&self, mailbox: &Arc<Mailbox>) {
        self.state().subscribers.retain(|subscriber| !Arc::ptr_eq(subscriber, mailbox));
    }

    fn invalidations(&self, _: Tid, _: Tid) -> Option<Vec<Oid>> {
        None
    }

    fn invalidations_later(&self, _: Tid, _: Tid, reply: ReplyTo) {
        self.state().missed.push(reply);
    }

    fn undo_log(&self, _: UndoLog, reply: ReplyTo) {
        reply.send(Completion::UndoLog(Ok(Vec::new())));
    }

    fn history(&self, oid: Oid, _: u32, reply: ReplyTo) {
        reply.send(Completion::History(Err(Failure::UnknownOid(oid))));
    }

    fn next_record(&self, _: Option<Oid>, reply: ReplyTo) {
        self.state().records.push(reply);
    }

    fn pack(&self, _: Tid, reply: ReplyTo) {
        reply.mailbox.push([Event::ExtentChanged]);
        reply.send(Completion::Packed(Ok(())));
    }

    fn iterate(&self, start: Option<Tid>, stop: Option<Tid>) -> Box<dyn TransactionCursor> {
        let last = stop.unwrap_or(self.state().last);
        Box::new(Cursor { next: start.unwrap_or(Tid(1)), last })
    }

    fn next_transaction(&self, cursor: Box<dyn TransactionCursor>, reply: ReplyTo) {
        self.state().cursors.push((cursor, reply));
    }

    fn next_transaction_record(&self, mut cursor: Box<dyn RecordCursor>, reply: ReplyTo) {
        let next = cursor.next();
        reply.send(Completion::TransactionRecord { cursor, next });
    }

    fn lock_state(&self) -> LockState {
        LockState::default()
    }

    fn measures(&self) -> Measures {
        Measures::default()
    }

    fn close(&self) {}
}

/// Every tid is a transaction, with one record.
#[derive(Clone, Debug)]
struct Cursor {
    next: Tid,
    last: Tid,
}

impl TransactionCursor for Cursor {
    fn next(&mut self) -> Result<Option<Iterated>, Failure> {
        if self.next > self.last {
            return Ok(None);
        }
        let tid = self.next;
        self.next = tid.next();
        let [user, description, extension] = [Bytes::new(), Bytes::new(), Bytes::new()];
        let head = TransactionHead { tid, status: b' ', user, description, extension };
        let records = Box::new(Self { next: tid, last: tid });
        Ok(Some(Iterated { head, records }))
    }
}

impl RecordCursor for Cursor {
    fn next(&mut self) -> Result<Option<TransactionRecord>, Failure> {
        let tid = self.next;
        self.next = tid.next();
        let record =
            TransactionRecord { oid: Oid(1), tid, data: None, origin: None, has_blob: false };
        Ok((tid <= self.last).then_some(record))
    }

    fn again(&self) -> Box<dyn RecordCursor> {
        Box::new(Self { next: self.last, last: self.last })
    }
}

struct Handle(Arc<Mutex<State>>);

impl Handle {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under it")
    }
}

impl Transaction for Handle {
    fn store(&mut self, _: Oid, _: Tid, _: Bytes) -> Result<(), Failure> {
        self.state().store_fails.take().map_or(Ok(()), Err)
    }

    fn store_blob(&mut self, oid: Oid, serial: Tid, data: Bytes, _: Upload) -> Result<(), Failure> {
        self.store(oid, serial, data)
    }

    fn delete(&mut self, _: Oid, _: Tid) -> Result<(), Failure> {
        Ok(())
    }

    fn check_current_serial(&mut self, _: Oid, _: Tid) -> Result<(), Failure> {
        Ok(())
    }

    fn restore(&mut self, _: Oid, _: Option<Bytes>, _: Option<Tid>) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&mut self, _: Tid) -> Result<(), Failure> {
        Ok(())
    }

    fn vote(&mut self, reply: ReplyTo) -> Result<(), Failure> {
        self.state().votes.push(reply);
        Ok(())
    }

    fn finish(&mut self, reply: ReplyTo) -> Result<(), Failure> {
        self.state().finishes.push(reply);
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state().dropped += 1;
    }
}
