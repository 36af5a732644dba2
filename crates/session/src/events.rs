//! What comes through the mailbox: invalidations, and answers that could not be given at once.

use std::collections::VecDeque;

use protocol::{Codec, Failure, Loaded, MessageId, Oid, Push, Reply, Tid};
use storage::{Completion, Event, Extent, Invalidation, Vote};

use crate::host::count;
use crate::session::{Asked, Closed, Session};
use crate::transactions::MAX_VOTES;

impl<C: Codec> Session<C> {
    /// Appends what waits in the mailbox.
    pub fn handle_mailbox(&mut self, output: &mut Vec<u8>) -> Result<(), Closed> {
        self.mailbox.drain(&mut self.events)?;
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Invalidated(invalidation) => self.invalidated(invalidation, output)?,
                Event::ExtentChanged => self.tell_extent(output)?,
                Event::Completed { ticket, completion } => {
                    // Nobody asks any more after an abort.
                    if let Some(asked) = self.asked.remove(&ticket) {
                        self.completed(asked, completion, output)?;
                    }
                }
            }
        }
        if self.events.capacity() > KEPT_EVENTS {
            self.events = VecDeque::new();
        }
        self.download(output)
    }

    fn tell_extent(&mut self, output: &mut Vec<u8>) -> Result<(), Closed> {
        let Some(storage) = self.storage() else { return Ok(()) };
        let Extent { objects, bytes } = storage.extent();
        let info = Push::Info { length: objects, size: bytes };
        self.append(output, |codec, out| codec.encode_push(&info, out))
    }

    fn invalidated(
        &mut self,
        invalidation: Invalidation,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let Invalidation { tid, oids } = invalidation;
        self.saw(tid);
        self.append(output, |codec, out| codec.encode_push(&Push::Invalidate { tid, oids }, out))
    }

    fn completed(
        &mut self,
        asked: Asked,
        completion: Completion,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        match (asked, completion) {
            (Asked::Vote { id }, Completion::Voted(voted)) => self.voted(id, voted, output),
            (Asked::Finish { id }, Completion::Finished(finished)) => {
                self.finished(id, finished, output)
            }
            // Nobody waits, and the log has told how it ended.
            (Asked::Pack { id: None }, Completion::Packed(_)) => Ok(()),
            (Asked::Pack { id }, Completion::Packed(packed)) => {
                self.answer(id, packed.map(|()| Reply::Done), output)
            }
            (Asked::NewOids { id }, Completion::Oids(oids)) => {
                self.answer(id, oids.map(Reply::Oids), output)
            }
            (Asked::LoadBefore { id, oid }, Completion::Loaded(loaded)) => {
                let loaded = loaded.map(|loaded| Reply::Loaded(self.as_of_now(oid, loaded)));
                self.answer(id, loaded, output)
            }
            (Asked::LoadSerial { id, oid }, Completion::Loaded(loaded)) => {
                let data = loaded.and_then(|loaded| loaded.ok_or(Failure::UnknownOid(oid)));
                self.answer(id, data.map(|loaded| Reply::Data(loaded.data.into())), output)
            }
            (Asked::BlobTaken { bytes }, Completion::BlobTaken) => {
                self.blob_taken(bytes);
                Ok(())
            }
            (Asked::BlobOpened, Completion::BlobOpened(opened)) => self.blob_opened(opened, output),
            (Asked::BlobRead, Completion::BlobRead(read)) => self.blob_read(read, output),
            (Asked::Invalidations { id, until }, Completion::Invalidations(oids)) => {
                let oids = oids.map(|oids| (until, oids));
                self.reply(id, &Reply::Invalidations(oids), output)
            }
            (Asked::UndoLog { id }, Completion::UndoLog(log)) => {
                self.answer(id, log.map(Reply::UndoLog), output)
            }
            (Asked::History { id }, Completion::History(history)) => {
                self.answer(id, history.map(Reply::History), output)
            }
            (Asked::NextRecord { id, oid }, Completion::CurrentRecord(record)) => {
                self.current_record_came(id, oid, record, output)
            }
            (Asked::NextTransaction { id, iterator }, Completion::Transaction { cursor, next }) => {
                self.transaction_came(id, iterator, cursor, next, output)
            }
            (
                Asked::NextTransactionRecord { id, iterator },
                Completion::TransactionRecord { cursor, next },
            ) => self.record_came(id, iterator, cursor, next, output),
            (asked, completion) => {
                debug_assert!(false, "{asked:?} was answered by {completion:?}");
                Ok(())
            }
        }
    }

    /// A load that was answered late may have been overtaken by a commit whose invalidation has
    /// been sent: then it must not say any more that its revision is current.
    fn as_of_now(&self, oid: Oid, loaded: Option<Loaded<Vec<u8>>>) -> Option<Loaded<bytes::Bytes>> {
        let Loaded { data, tid, end } = loaded?;
        let end = end.or_else(|| self.storage().and_then(|storage| storage.end_tid(oid, tid)));
        Some(Loaded { data: data.into(), tid, end })
    }

    pub(crate) fn answer(
        &mut self,
        id: Option<MessageId>,
        reply: Result<Reply, Failure>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        match reply {
            Ok(reply) => self.reply(id, &reply, output),
            Err(failure) => self.fail(id, failure, output),
        }
    }

    fn voted(
        &mut self,
        id: Option<MessageId>,
        voted: Result<Vote, Failure>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let Some(joined) = &mut self.joined else {
            return Ok(());
        };
        let reply = match voted {
            Ok(Vote::Promised) => Ok(Reply::Voted),
            Ok(Vote::Determined(oids)) => Ok(Reply::Determined(oids)),
            Ok(Vote::Conflicts(conflicts)) => {
                count(&joined.hosted.counters.conflicts);
                let transaction = joined.transaction.as_mut();
                let votes = transaction.map_or(MAX_VOTES, |transaction| {
                    transaction.conflicting_votes += 1;
                    transaction.conflicting_votes
                });
                match conflicts.first() {
                    Some(first) if votes >= MAX_VOTES => Err(Failure::Conflict {
                        oid: first.oid,
                        committed: first.committed,
                        given: first.given,
                    }),
                    _ => Ok(Reply::Conflicts(conflicts)),
                }
            }
            Err(failure) => Err(failure),
        };
        if reply.is_err() {
            joined.abort();
        }
        self.answer(id, reply, output)
    }

    fn finished(
        &mut self,
        id: Option<MessageId>,
        finished: Result<Tid, Failure>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        if let (Ok(tid), Some(joined)) = (&finished, &self.joined) {
            count(&joined.hosted.counters.commits);
            let extent = joined.hosted.storage.extent();
            self.saw(*tid);
            let info = Push::Info { length: extent.objects, size: extent.bytes };
            self.append(output, |codec, out| codec.encode_push(&info, out))?;
        }
        self.answer(id, finished.map(Reply::Tid), output)
    }

    fn saw(&mut self, tid: Tid) {
        if let Some(joined) = &mut self.joined {
            debug_assert!(joined.seen < tid, "tids arrive in order");
            joined.seen = tid;
        }
    }
}

/// A queue that had room for more than this many events is not kept.
const KEPT_EVENTS: usize = 64;
