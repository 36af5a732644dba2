//! Two-phase commit as a client drives it: one transaction at a time on a connection.

use bytes::Bytes;
use protocol::{
    Begin, Codec, Failure, MessageId, Oid, Reply, Request, Tid, TransactionFault, TransactionId,
};
use storage::{Meta, Transaction, Upload};

use crate::host::{Counters, count, uncount};
use crate::session::{Asked, Closed, Joined, Session};

/// ZEO's client sends its ninth vote and then finishes, whatever the answer: so that answer must be
/// an error.
pub(crate) const MAX_VOTES: u32 = 9;

/// A connection's transaction.
pub(crate) struct OpenTransaction {
    pub(crate) id: TransactionId,
    handle: Box<dyn Transaction>,
    /// The tid that a copied transaction brings.
    copied: Option<Tid>,
    /// A one-way request failed: the vote will say so.
    spoiled: Option<Failure>,
    /// Votes that were answered with conflicts.
    pub(crate) conflicting_votes: u32,
}

impl OpenTransaction {
    /// A client that copies says each revision's tid, and must get no other.
    fn restore(
        &mut self,
        oid: Oid,
        tid: Tid,
        data: Option<Bytes>,
        origin: Option<Tid>,
    ) -> Result<(), Failure> {
        match self.copied {
            Some(copied) if copied == tid => self.handle.restore(oid, data, origin),
            Some(copied) => Err(Failure::Arguments(format!(
                "object {oid} is restored as of {tid} in a transaction of {copied}"
            ))),
            None => Err(Failure::Arguments(format!(
                "object {oid} is restored as of {tid} in a transaction that brings no tid"
            ))),
        }
    }

    /// Ends it without a trace.
    pub(crate) fn abort(self, counters: &Counters) {
        count(&counters.aborts);
        uncount(&counters.active_transactions);
    }
}

impl Joined {
    fn transaction(
        &mut self,
        given: TransactionId,
    ) -> Result<&mut OpenTransaction, TransactionFault> {
        let current = self.transaction.as_ref().map(|transaction| transaction.id);
        match &mut self.transaction {
            Some(transaction) if transaction.id == given => Ok(transaction),
            _ => Err(TransactionFault::Wrong { current, given }),
        }
    }

    /// The inner error is the vote's. Gives the blob back, to be ended.
    pub(crate) fn store_blob(
        &mut self,
        given: TransactionId,
        oid: Oid,
        serial: Tid,
        data: Bytes,
        blob: Result<Upload, Failure>,
    ) -> Result<Result<Upload, Failure>, TransactionFault> {
        let open = self.transaction(given)?;
        Ok(blob.and_then(|blob| {
            open.handle.store_blob(oid, serial, data, blob.clone())?;
            Ok(blob)
        }))
    }

    pub(crate) fn abort(&mut self) {
        if let Some(transaction) = self.transaction.take() {
            transaction.abort(&self.hosted.counters);
        }
    }
}

impl<C: Codec> Session<C> {
    pub(crate) fn is_read_only(&self) -> bool {
        self.joined.as_ref().is_some_and(|joined| joined.read_only)
    }

    pub(crate) fn handle_transaction(
        &mut self,
        id: Option<MessageId>,
        request: Request,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        if self.is_read_only() {
            return self.fail(id, Failure::ReadOnly, output);
        }
        match request {
            Request::Vote { transaction } => self.vote(id, transaction, output),
            Request::Finish { transaction } => self.finish(id, transaction, output),
            Request::Abort { transaction } => self.abort(id, transaction, output),
            other => match self.change(other) {
                Ok(()) => self.reply(id, &Reply::Done, output),
                Err(failure) => self.fail(id, failure, output),
            },
        }
    }

    /// Begin, and what goes into a transaction.
    fn change(&mut self, request: Request) -> Result<(), Failure> {
        let Some(joined) = &mut self.joined else {
            return Ok(());
        };
        let (transaction, changed) = match request {
            Request::Begin(begin) => return joined.begin(begin),
            Request::Store { transaction, oid, serial, data } => {
                let open = joined.transaction(transaction)?;
                (transaction, open.handle.store(oid, serial, data))
            }
            Request::Delete { transaction, oid, serial } => {
                let open = joined.transaction(transaction)?;
                (transaction, open.handle.delete(oid, serial))
            }
            Request::CheckCurrentSerial { transaction, oid, serial } => {
                let open = joined.transaction(transaction)?;
                (transaction, open.handle.check_current_serial(oid, serial))
            }
            Request::Restore { transaction, oid, tid, data, origin } => {
                let open = joined.transaction(transaction)?;
                (transaction, open.restore(oid, tid, data, origin))
            }
            Request::Undo { transaction, tid } => {
                let open = joined.transaction(transaction)?;
                (transaction, open.handle.undo(tid))
            }
            _ => return Ok(()),
        };
        match changed {
            // The vote can tell, so the connection need not be closed over it.
            Err(failure @ (Failure::Storage(_) | Failure::Arguments(_))) => {
                self.spoil_transaction(Some(transaction), failure);
                Ok(())
            }
            other => other,
        }
    }

    /// Lets the vote of the connection's transaction fail; `false`: it is not `expected`.
    pub(crate) fn spoil_transaction(
        &mut self,
        expected: Option<TransactionId>,
        failure: Failure,
    ) -> bool {
        let current = self.joined.as_mut().and_then(|joined| joined.transaction.as_mut());
        match current.filter(|current| expected.is_none_or(|expected| expected == current.id)) {
            Some(transaction) => {
                transaction.spoiled.get_or_insert(failure);
                true
            }
            None => false,
        }
    }

    fn vote(
        &mut self,
        id: Option<MessageId>,
        transaction: TransactionId,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let reply_to = self.ask(Asked::Vote { id: id.clone() });
        let ticket = reply_to.ticket;
        let Some(joined) = &mut self.joined else {
            return Ok(());
        };
        let open = joined.transaction(transaction).map_err(Failure::from);
        let voted = open.and_then(|open| match open.spoiled.take() {
            Some(failure) => Err(failure),
            None => open.handle.vote(reply_to),
        });
        let Err(failure) = voted else {
            return Ok(());
        };
        self.asked.remove(&ticket);
        if !matches!(failure, Failure::Transaction(_)) {
            joined.abort();
        }
        self.fail(id, failure, output)
    }

    fn finish(
        &mut self,
        id: Option<MessageId>,
        transaction: TransactionId,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let reply_to = self.ask(Asked::Finish { id: id.clone() });
        let ticket = reply_to.ticket;
        let Some(joined) = &mut self.joined else {
            return Ok(());
        };
        let asked = match joined.transaction(transaction) {
            Ok(open) => open.handle.finish(reply_to),
            Err(fault) => {
                self.asked.remove(&ticket);
                return self.reply(id, &Reply::NotFinished(fault), output);
            }
        };
        match asked {
            Ok(()) => {
                // From here on it is the committer's; the client may begin another one.
                joined.transaction = None;
                uncount(&joined.hosted.counters.active_transactions);
                Ok(())
            }
            Err(failure) => {
                self.asked.remove(&ticket);
                self.fail(id, failure, output)
            }
        }
    }

    fn abort(
        &mut self,
        id: Option<MessageId>,
        transaction: TransactionId,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let is_current = |joined: &mut Joined| joined.transaction(transaction).is_ok();
        if self.joined.as_mut().is_some_and(is_current) {
            // A vote that waits is answered, too.
            let waiting: Vec<_> =
                self.asked.extract_if(.., |_, asked| matches!(asked, Asked::Vote { .. })).collect();
            for (_, asked) in waiting {
                if let Asked::Vote { id: vote @ Some(_) } = asked {
                    self.fail(vote, TransactionFault::Aborted.into(), output)?;
                }
            }
            self.joined.iter_mut().for_each(Joined::abort);
            self.blobs.abandon();
        }
        self.reply(id, &Reply::Done, output)
    }
}

impl Joined {
    /// A second begin of the same transaction is ignored, as ZEO does.
    fn begin(&mut self, begin: Begin) -> Result<(), Failure> {
        let Begin { transaction, user, description, extension, tid, status } = begin;
        match self.transaction.as_ref().map(|current| current.id) {
            Some(current) if current == transaction => return Ok(()),
            Some(current) => {
                let fault = TransactionFault::Wrong { current: Some(current), given: transaction };
                return Err(fault.into());
            }
            None => (),
        }
        let meta = Meta { user, description, extension, tid, status };
        self.transaction = Some(OpenTransaction {
            id: transaction,
            handle: self.hosted.storage.begin(meta),
            copied: tid,
            spoiled: None,
            conflicting_votes: 0,
        });
        count(&self.hosted.counters.active_transactions);
        Ok(())
    }
}
