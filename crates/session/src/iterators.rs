//! A connection's iterators over transactions and their records.
//!
//! A storage moves cursors on its own threads, so while one is asked for, an iterator has none; who
//! asks again meanwhile waits in turn.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use protocol::{Codec, Failure, MessageId, Reply, Request, Tid, TransactionRecord};
use storage::{Iterated, RecordCursor, ReplyTo, Storage, TransactionCursor};

use crate::session::{Asked, Closed, Session};

/// Each holds a file open, perhaps one that is deleted.
const MAX_ITERATORS: usize = 1000;

/// The iterators of a connection by number; no number is used twice.
#[derive(Default)]
pub(crate) struct Iterators {
    next: u64,
    open: BTreeMap<u64, Open>,
}

enum Open {
    Transactions {
        turns: Turns<Box<dyn TransactionCursor>>,
        /// The transaction that was told last.
        told: Option<(Tid, Box<dyn RecordCursor>)>,
    },
    Records(Turns<Box<dyn RecordCursor>>),
}

/// A cursor and who waits for it.
struct Turns<C> {
    /// `None`: the storage has it.
    cursor: Option<C>,
    waiting: VecDeque<ReplyTo>,
}

impl<C> Turns<C> {
    fn new(cursor: C) -> Self {
        Self { cursor: Some(cursor), waiting: VecDeque::new() }
    }

    /// Whose turn it is when `reply` asks.
    fn ask(&mut self, reply: ReplyTo) -> Option<(C, ReplyTo)> {
        self.waiting.push_back(reply);
        let cursor = self.cursor.take()?;
        self.give(cursor)
    }

    /// Whose turn it is now that the storage gave the cursor back.
    fn give(&mut self, cursor: C) -> Option<(C, ReplyTo)> {
        match self.waiting.pop_front() {
            Some(reply) => Some((cursor, reply)),
            None => {
                self.cursor = Some(cursor);
                None
            }
        }
    }
}

impl Open {
    fn into_waiting(self) -> VecDeque<ReplyTo> {
        match self {
            Self::Transactions { turns, .. } => turns.waiting,
            Self::Records(turns) => turns.waiting,
        }
    }
}

impl Iterators {
    fn insert(&mut self, open: Open) -> Result<Reply, Failure> {
        if self.open.len() >= MAX_ITERATORS {
            let what = format!("a connection has at most {MAX_ITERATORS} iterators: end some");
            return Err(Failure::Value(what));
        }
        self.next += 1;
        self.open.insert(self.next, open);
        Ok(Reply::Iterator(self.next))
    }

    fn transactions(&mut self, number: u64) -> Option<&mut Turns<Box<dyn TransactionCursor>>> {
        match self.open.get_mut(&number)? {
            Open::Transactions { turns, .. } => Some(turns),
            Open::Records(_) => None,
        }
    }

    fn records(&mut self, number: u64) -> Option<&mut Turns<Box<dyn RecordCursor>>> {
        match self.open.get_mut(&number)? {
            Open::Records(turns) => Some(turns),
            Open::Transactions { .. } => None,
        }
    }

    fn iterate_records(&mut self, number: u64, tid: Tid) -> Result<Reply, Failure> {
        let Some(Open::Transactions { told, .. }) = self.open.get(&number) else {
            return Err(Failure::UnknownIterator(number));
        };
        match told {
            Some((told, records)) if *told == tid => {
                let records = records.again();
                self.insert(Open::Records(Turns::new(records)))
            }
            _ => Err(Failure::Value(format!(
                "{tid} is not the transaction that iterator {number} gave last"
            ))),
        }
    }
}

impl fmt::Debug for Iterators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iterators").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl<C: Codec> Session<C> {
    pub(crate) fn handle_iteration(
        &mut self,
        id: Option<MessageId>,
        request: &Request,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let Some(joined) = &mut self.joined else {
            return Ok(());
        };
        let iterators = &mut joined.iterators;
        match *request {
            Request::Iterate { start, stop } => {
                let cursor = joined.hosted.storage.iterate(start, stop);
                let turns = Turns::new(cursor);
                let reply = iterators.insert(Open::Transactions { turns, told: None });
                self.answer(id, reply, output)
            }
            Request::IterateRecords { iterator, tid } => {
                let reply = iterators.iterate_records(iterator, tid);
                self.answer(id, reply, output)
            }
            Request::NextTransaction { iterator } => self.next_transaction(id, iterator, output),
            Request::NextTransactionRecord { iterator } => self.next_record(id, iterator, output),
            Request::EndIterators { iterators: ref ended } => {
                ended.iter().try_for_each(|iterator| self.end_iterator(*iterator, output))?;
                self.reply(id, &Reply::Done, output)
            }
            _ => Ok(()),
        }
    }

    fn next_transaction(
        &mut self,
        id: Option<MessageId>,
        iterator: u64,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let reply = self.ask(Asked::NextTransaction { id, iterator });
        let ticket = reply.ticket;
        let joined = self.joined.as_mut();
        let turns = joined.and_then(|joined| joined.iterators.transactions(iterator));
        match turns.map(|turns| turns.ask(reply)) {
            None => self.refuse_iterator(ticket, iterator, output),
            Some(turn) => {
                self.move_on(turn, Storage::next_transaction);
                Ok(())
            }
        }
    }

    fn next_record(
        &mut self,
        id: Option<MessageId>,
        iterator: u64,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let reply = self.ask(Asked::NextTransactionRecord { id, iterator });
        let ticket = reply.ticket;
        let joined = self.joined.as_mut();
        let turns = joined.and_then(|joined| joined.iterators.records(iterator));
        match turns.map(|turns| turns.ask(reply)) {
            None => self.refuse_iterator(ticket, iterator, output),
            Some(turn) => {
                self.move_on(turn, Storage::next_transaction_record);
                Ok(())
            }
        }
    }

    /// The answer to a [`Request::NextTransaction`].
    pub(crate) fn transaction_came(
        &mut self,
        id: Option<MessageId>,
        iterator: u64,
        cursor: Box<dyn TransactionCursor>,
        next: Result<Option<Iterated>, Failure>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let mut head = None;
        let at_end = matches!(next, Ok(None));
        let failed = match next {
            Ok(Some(iterated)) => {
                head = Some(iterated.head.clone());
                let iterators = self.joined.as_mut().map(|joined| &mut joined.iterators);
                if let Some(Open::Transactions { told, .. }) =
                    iterators.and_then(|iterators| iterators.open.get_mut(&iterator))
                {
                    *told = Some((iterated.head.tid, iterated.records));
                }
                None
            }
            Ok(None) => None,
            Err(failure) => Some(failure),
        };
        self.answer(id, failed.map_or(Ok(Reply::Transaction(head)), Err), output)?;
        if at_end {
            return self.end_iterator(iterator, output);
        }
        let joined = self.joined.as_mut();
        let turns = joined.and_then(|joined| joined.iterators.transactions(iterator));
        let turn = turns.and_then(|turns| turns.give(cursor));
        self.move_on(turn, Storage::next_transaction);
        Ok(())
    }

    /// The answer to a [`Request::NextTransactionRecord`].
    pub(crate) fn record_came(
        &mut self,
        id: Option<MessageId>,
        iterator: u64,
        cursor: Box<dyn RecordCursor>,
        next: Result<Option<TransactionRecord>, Failure>,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let at_end = matches!(next, Ok(None));
        self.answer(id, next.map(Reply::TransactionRecord), output)?;
        if at_end {
            return self.end_iterator(iterator, output);
        }
        let joined = self.joined.as_mut();
        let turns = joined.and_then(|joined| joined.iterators.records(iterator));
        let turn = turns.and_then(|turns| turns.give(cursor));
        self.move_on(turn, Storage::next_transaction_record);
        Ok(())
    }

    fn move_on<T>(
        &self,
        turn: Option<(T, ReplyTo)>,
        ask: impl FnOnce(&(dyn Storage + 'static), T, ReplyTo),
    ) {
        if let (Some(storage), Some((cursor, reply))) = (self.storage(), turn) {
            ask(&**storage, cursor, reply);
        }
    }

    /// Forgets an iterator; those who wait for it are told so.
    fn end_iterator(&mut self, iterator: u64, output: &mut Vec<u8>) -> Result<(), Closed> {
        let joined = self.joined.as_mut();
        let open = joined.and_then(|joined| joined.iterators.open.remove(&iterator));
        let waiting = open.map(Open::into_waiting).unwrap_or_default();
        waiting
            .into_iter()
            .try_for_each(|reply| self.refuse_iterator(reply.ticket, iterator, output))
    }

    fn refuse_iterator(
        &mut self,
        ticket: storage::Ticket,
        iterator: u64,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        match self.asked.remove(&ticket) {
            Some(Asked::NextTransaction { id, .. } | Asked::NextTransactionRecord { id, .. }) => {
                self.fail(id, Failure::UnknownIterator(iterator), output)
            }
            _ => Ok(()),
        }
    }
}
