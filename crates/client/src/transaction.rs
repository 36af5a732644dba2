//! Writing.

use std::fmt;
use std::mem;

use bytes::Bytes;
use protocol::{Conflict, Failure, Oid, Reply, Request, Tid, TransactionId};

use crate::client::{done, tid};
use crate::error::{CallError, FinishError, SendError, VoteError};
use crate::shared::Shared;
use crate::state::{Effect, Written};

/// About a transaction.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Who.
    pub user: Bytes,
    /// What.
    pub description: Bytes,
    /// More, as a MessagePack map; empty for none.
    pub extension: Bytes,
    /// Only to copy a transaction from elsewhere: its tid.
    pub tid: Option<Tid>,
    /// ZODB's status; `b' '` for an ordinary transaction.
    pub status: u8,
}

/// A transaction: writes, [`Self::vote`], [`Self::finish`]. It is aborted when it is dropped.
///
/// Writes are one-way: what is wrong with them is found by the vote.
pub struct Transaction<'client> {
    shared: &'client Shared,
    pub(crate) id: TransactionId,
    /// A copied transaction's tid.
    copied: Option<Tid>,
    /// The connection that it belongs to.
    generation: u64,
    pub(crate) written: Written,
    /// A blob was sent in part.
    pub(crate) uploading: bool,
    /// There was an undo: the server determines data, then.
    undoes: bool,
    over: bool,
}

/// The answer to a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a transaction with conflicts cannot finish"]
pub enum Vote {
    /// A promise: the transaction can finish.
    Voted,
    /// These stores were on old revisions: merge and store them again on the committed serials,
    /// and vote again; or give up.
    Conflicts(Vec<Conflict>),
}

impl<'client> Transaction<'client> {
    pub(crate) fn new(
        shared: &'client Shared,
        id: TransactionId,
        copied: Option<Tid>,
        generation: u64,
    ) -> Self {
        let (uploading, undoes, over) = (false, false, false);
        let written = Written::default();
        Self { shared, id, copied, generation, written, uploading, undoes, over }
    }

    /// Writes a revision on top of revision `serial`; [`Tid::ZERO`] for a new object. A later store
    /// of the same object replaces it.
    pub fn store(&mut self, oid: Oid, serial: Tid, data: Bytes) -> Result<(), SendError> {
        let transaction = self.id;
        self.post(&Request::Store { transaction, oid, serial, data: data.clone() })?;
        self.written.insert(oid, Some(data));
        Ok(())
    }

    /// Deletes an object whose current revision is `serial`.
    pub fn delete(&mut self, oid: Oid, serial: Tid) -> Result<(), SendError> {
        self.post(&Request::Delete { transaction: self.id, oid, serial })?;
        self.written.insert(oid, None);
        Ok(())
    }

    /// Lets the transaction finish only if revision `serial` is still current then.
    pub fn check_current_serial(&mut self, oid: Oid, serial: Tid) -> Result<(), SendError> {
        self.post(&Request::CheckCurrentSerial { transaction: self.id, oid, serial })
    }

    /// Copies a revision from elsewhere; `data` is `None` if the object's creation was undone. `origin`
    /// is the tid of the revision whose data an undo brought back. The vote fails if the transaction was
    /// begun without a tid.
    pub fn restore(
        &mut self,
        oid: Oid,
        data: Option<Bytes>,
        origin: Option<Tid>,
    ) -> Result<(), SendError> {
        let (transaction, tid) = (self.id, self.copied.unwrap_or_default());
        let written = data.clone();
        self.post(&Request::Restore { transaction, oid, tid, data, origin })?;
        self.written.insert(oid, written);
        Ok(())
    }

    /// Undoes an earlier transaction. The vote fails if that is not possible.
    pub fn undo(&mut self, tid: Tid) -> Result<(), SendError> {
        self.undoes = true;
        self.post(&Request::Undo { transaction: self.id, tid })
    }

    /// First phase. May be repeated after conflicts.
    pub fn vote(&mut self) -> Result<Vote, VoteError> {
        if self.uploading {
            return Err(VoteError::BlobIncomplete);
        }
        let request = Request::Vote { transaction: self.id };
        match self.shared.call(self.generation, &request, Effect::Nothing)? {
            Reply::Voted => Ok(Vote::Voted),
            // A server that has changed what was stored, by resolving conflicts, is refused: this
            // client would go on with bytes that are not those of the server.
            Reply::Determined(oids) if self.undoes => {
                self.written.extend(oids.into_iter().map(|oid| (oid, None)));
                Ok(Vote::Voted)
            }
            Reply::Conflicts(conflicts) => Ok(Vote::Conflicts(conflicts)),
            _ => Err(VoteError::Call(CallError::WrongReply)),
        }
    }

    /// Second phase, after [`Vote::Voted`]. Gives the tid of all that was written.
    pub fn finish(mut self) -> Result<Tid, FinishError> {
        let finished = self.send_finish();
        // Otherwise it is aborted: a server keeps what has not voted. Of what is gone there, an abort
        // changes nothing.
        self.over = finished.is_ok();
        finished
    }

    fn send_finish(&mut self) -> Result<Tid, FinishError> {
        let effect = Effect::Finish(mem::take(&mut self.written));
        let request = Request::Finish { transaction: self.id };
        let answer = self
            .shared
            .send(self.generation, &request, effect)
            .map_err(|error| FinishError::NotFinished(error.into()))?;
        self.shared.wait(&answer).and_then(tid).map_err(|error| match error {
            // The server may have failed after it had written, and not know itself.
            CallError::Failed(Failure::Storage(_)) => FinishError::InDoubt(error),
            CallError::Failed(_) | CallError::WrongReply => FinishError::NotFinished(error),
            CallError::Send(_) | CallError::TimedOut => FinishError::InDoubt(error),
        })
    }

    /// Forgets the transaction, and waits until the server has.
    pub fn abort(mut self) -> Result<(), CallError> {
        self.over = true;
        let request = Request::Abort { transaction: self.id };
        self.shared.call(self.generation, &request, Effect::Nothing).and_then(done)
    }

    pub(crate) fn post(&self, request: &Request) -> Result<(), SendError> {
        self.shared.post(self.generation, request)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // A lost connection has aborted it, and nobody waits for the answer.
        if !self.over && self.post(&Request::Abort { transaction: self.id }).is_ok() {
            self.shared.flush();
        }
        self.shared.free_transaction();
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id)
            .field("written", &self.written.len())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Bytes::new(),
            tid: None,
            status: b' ',
        }
    }
}
