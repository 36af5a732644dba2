//! Requests that look into the past of a storage, or have it dropped: all are answered later.

use protocol::{Codec, CurrentRecord, Failure, MessageId, Oid, Reply, Request, Tid};

use crate::session::{Asked, Closed, Session};

impl<C: Codec> Session<C> {
    pub(crate) fn handle_past(&mut self, id: Option<MessageId>, request: Request) {
        let asked = match request {
            Request::UndoLog(_) => Asked::UndoLog { id },
            Request::History { .. } => Asked::History { id },
            Request::NextRecord { oid } => Asked::NextRecord { id, oid },
            Request::Pack { wait: true, .. } => Asked::Pack { id },
            Request::Pack { wait: false, .. } => Asked::Pack { id: None },
            _ => return,
        };
        let reply = self.ask(asked);
        let Some(storage) = self.storage() else {
            return;
        };
        match request {
            Request::UndoLog(query) => storage.undo_log(query, reply),
            Request::History { oid, count } => storage.history(oid, count, reply),
            Request::NextRecord { oid } => storage.next_record(oid, reply),
            Request::Pack { before, .. } => storage.pack(before, reply),
            _ => (),
        }
    }

    /// A record that was overtaken by a commit, whose invalidation may have been sent, is asked for
    /// anew: its client takes it for current.
    pub(crate) fn current_record_came(
        &mut self,
        id: Option<MessageId>,
        oid: Option<Oid>,
        record: Result<CurrentRecord, Failure>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let overtaken = |storage: &std::sync::Arc<dyn storage::Storage>| {
            let record = record.as_ref().ok();
            record.is_some_and(|record| storage.end_tid(record.oid, record.tid).is_some())
        };
        if self.storage().is_some_and(overtaken) {
            self.handle_past(id, Request::NextRecord { oid });
            return Ok(());
        }
        self.answer(id, record.map(Reply::CurrentRecord), output)
    }

    /// What changed since the client was here, as of now: what comes later is told it as it comes,
    /// be it before this answer, which says up to where it goes.
    pub(crate) fn invalidations(
        &mut self,
        id: Option<MessageId>,
        since: Tid,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let Some(joined) = &self.joined else {
            return Ok(());
        };
        let until = joined.seen;
        let storage = std::sync::Arc::clone(&joined.hosted.storage);
        if let Some(oids) = storage.invalidations(since, until) {
            return self.reply(id, &Reply::Invalidations(Some((until, oids))), output);
        }
        let reply = self.ask(Asked::Invalidations { id, until });
        storage.invalidations_later(since, until, reply);
        Ok(())
    }
}
