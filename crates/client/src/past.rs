//! What was committed: history, undo, iteration and pack.

use std::fmt;

use protocol::{
    CurrentRecord, Oid, Reply, Request, Tid, TransactionHead, TransactionRecord,
    TransactionSummary, UndoLog,
};

use crate::client::{Client, done};
use crate::error::{CallError, LoadError};
use crate::shared::Shared;
use crate::state::Effect;

impl Client {
    /// The newest `count` revisions of an object, newest first.
    pub fn history(&self, oid: Oid, count: u32) -> Result<Vec<TransactionSummary>, LoadError> {
        match self.call(&Request::History { oid, count })? {
            Reply::History(revisions) => Ok(revisions),
            _ => Err(LoadError::Call(CallError::WrongReply)),
        }
    }

    /// Transactions that can be undone, newest first. (ZEO's MessagePack has no form for a prefix.)
    pub fn undo_log(&self, wanted: UndoLog) -> Result<Vec<TransactionSummary>, CallError> {
        match self.call(&Request::UndoLog(wanted))? {
            Reply::UndoLog(transactions) => Ok(transactions),
            _ => Err(CallError::WrongReply),
        }
    }

    /// The current revision of the first object that has one at or after `oid`; `None`: from the first
    /// object on.
    pub fn next_record(&self, oid: Option<Oid>) -> Result<CurrentRecord, LoadError> {
        match self.call(&Request::NextRecord { oid })? {
            Reply::CurrentRecord(record) => Ok(record),
            _ => Err(LoadError::Call(CallError::WrongReply)),
        }
    }

    /// Transactions from `start` to `stop`, both included, in tid order; `None`: no bound.
    pub fn transactions(
        &self,
        start: Option<Tid>,
        stop: Option<Tid>,
    ) -> Result<Transactions<'_>, CallError> {
        let generation = self.shared.state().connected()?;
        let cursor = Cursor::begin(&self.shared, generation, &Request::Iterate { start, stop })?;
        Ok(Transactions { cursor })
    }

    /// Drops the revisions that were superseded before a time, given as a tid, and waits until that is
    /// done, which can take long. (ZEO's protocols have the time to the microsecond.)
    pub fn pack(&self, before: Tid) -> Result<(), CallError> {
        done(self.call(&Request::Pack { before, wait: true })?)
    }

    /// Same as [`Self::pack`], but waits only until the server has been asked. Nothing is told of
    /// what becomes of it, not even that another pack is under way.
    pub fn ask_for_pack(&self, before: Tid) -> Result<(), CallError> {
        done(self.call(&Request::Pack { before, wait: false })?)
    }
}

/// Transactions, as [`Client::transactions`] gives them. After an error there are no further ones.
#[derive(Debug)]
pub struct Transactions<'client> {
    cursor: Cursor<'client>,
}

impl<'client> Transactions<'client> {
    /// What was written by the transaction of that tid, which has to be the one given last.
    pub fn records(&self, tid: Tid) -> Result<Records<'client>, CallError> {
        let Cursor { shared, generation, number, .. } = self.cursor;
        let request = Request::IterateRecords { iterator: number, tid };
        Ok(Records { cursor: Cursor::begin(shared, generation, &request)? })
    }
}

impl Iterator for Transactions<'_> {
    type Item = Result<TransactionHead, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = |iterator| Request::NextTransaction { iterator };
        self.cursor.step(step, |reply| match reply {
            Reply::Transaction(head) => Some(head),
            _ => None,
        })
    }
}

/// What a transaction wrote, as [`Transactions::records`] gives it. After an error there is no more.
#[derive(Debug)]
pub struct Records<'client> {
    cursor: Cursor<'client>,
}

impl Iterator for Records<'_> {
    type Item = Result<TransactionRecord, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = |iterator| Request::NextTransactionRecord { iterator };
        self.cursor.step(step, |reply| match reply {
            Reply::TransactionRecord(record) => Some(record),
            _ => None,
        })
    }
}

/// An iterator at the server.
struct Cursor<'client> {
    shared: &'client Shared,
    /// The connection that it belongs to.
    generation: u64,
    number: u64,
    /// The server has forgotten it, or will not be asked again.
    over: bool,
}

impl<'client> Cursor<'client> {
    fn begin(
        shared: &'client Shared,
        generation: u64,
        request: &Request,
    ) -> Result<Self, CallError> {
        match shared.call(generation, request, Effect::Nothing)? {
            Reply::Iterator(number) => Ok(Self { shared, generation, number, over: false }),
            _ => Err(CallError::WrongReply),
        }
    }

    /// `found` is `None` of a reply of another kind.
    fn step<T>(
        &mut self,
        request: impl FnOnce(u64) -> Request,
        found: impl FnOnce(Reply) -> Option<Option<T>>,
    ) -> Option<Result<T, CallError>> {
        if self.over {
            return None;
        }
        let reply = self.shared.call(self.generation, &request(self.number), Effect::Nothing);
        match reply.and_then(|reply| found(reply).ok_or(CallError::WrongReply)) {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) => {
                self.over = true;
                None
            }
            Err(error) => {
                self.end();
                Some(Err(error))
            }
        }
    }

    fn end(&mut self) {
        if !self.over {
            self.over = true;
            let request = Request::EndIterators { iterators: vec![self.number] };
            // Fails if the connection is lost, and the iterator with it.
            _ = self.shared.post(self.generation, &request);
        }
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("number", &self.number)
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}
