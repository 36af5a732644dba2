//! Asks a storage for what was, and waits for the answers.

use protocol::{CurrentRecord, Failure, Oid, Tid, TransactionHead, TransactionRecord};
use storage::{Completion, Iterated, Meta, RecordCursor, Storage, TransactionCursor, Vote};

use crate::Inbox;

/// A transaction and its records.
pub type Dumped = (TransactionHead, Vec<TransactionRecord>);

/// All that an iteration gives.
pub fn iterate(
    storage: &dyn Storage,
    inbox: &Inbox,
    start: Option<Tid>,
    stop: Option<Tid>,
) -> Result<Vec<Dumped>, Failure> {
    let mut cursor = storage.iterate(start, stop);
    let mut all = Vec::new();
    while let Some(Iterated { head, mut records }) = next_transaction(storage, inbox, &mut cursor)?
    {
        let mut of_transaction = Vec::new();
        while let Some(record) = next_record(storage, inbox, &mut records)? {
            of_transaction.push(record);
        }
        all.push((head, of_transaction));
    }
    Ok(all)
}

/// Moves a cursor.
pub fn next_transaction(
    storage: &dyn Storage,
    inbox: &Inbox,
    cursor: &mut Box<dyn TransactionCursor>,
) -> Result<Option<Iterated>, Failure> {
    let taken = std::mem::replace(cursor, storage.iterate(None, None));
    match inbox.ask(|reply| storage.next_transaction(taken, reply)) {
        Completion::Transaction { cursor: back, next } => {
            *cursor = back;
            next
        }
        other => panic!("an iteration was answered by {other:?}"),
    }
}

/// Moves a cursor.
pub fn next_record(
    storage: &dyn Storage,
    inbox: &Inbox,
    cursor: &mut Box<dyn RecordCursor>,
) -> Result<Option<TransactionRecord>, Failure> {
    let taken = std::mem::replace(cursor, cursor.again());
    match inbox.ask(|reply| storage.next_transaction_record(taken, reply)) {
        Completion::TransactionRecord { cursor: back, next } => {
            *cursor = back;
            next
        }
        other => panic!("an iteration was answered by {other:?}"),
    }
}

/// All objects, as [`Storage::next_record`] leads from one to the next.
pub fn current_records(
    storage: &dyn Storage,
    inbox: &Inbox,
) -> Result<Vec<CurrentRecord>, Failure> {
    let mut all: Vec<CurrentRecord> = Vec::new();
    loop {
        let next = match all.last().map(|record| record.next) {
            Some(None) => return Ok(all),
            other => other.flatten(),
        };
        match inbox.ask(|reply| storage.next_record(next, reply)) {
            Completion::CurrentRecord(Ok(record)) => all.push(record),
            // There is none at all.
            Completion::CurrentRecord(Err(Failure::Value(_))) if next.is_none() => return Ok(all),
            Completion::CurrentRecord(Err(failure)) => return Err(failure),
            other => panic!("a record was answered by {other:?}"),
        }
    }
}

/// Undoes transactions in a new one; also tells which objects that changed.
pub fn undo(
    storage: &dyn Storage,
    inbox: &Inbox,
    tids: &[Tid],
) -> Result<(Tid, Vec<Oid>), Failure> {
    let mut transaction = storage.begin(Meta { status: b' ', ..Meta::default() });
    for tid in tids {
        transaction.undo(*tid)?;
    }
    let oids = match inbox.vote(&mut *transaction)? {
        Vote::Promised => Vec::new(),
        Vote::Determined(oids) => oids,
        Vote::Conflicts(conflicts) => panic!("an undo is in conflict: {conflicts:?}"),
    };
    Ok((inbox.finish(&mut *transaction)?, oids))
}
