//! History, undo, iteration and pack.

use std::time::Duration;

use bytes::Bytes;
use client::{CallError, Client, LoadError, Metadata, Vote, VoteError};
use protocol::{Failure, Oid, Tid, TransactionSummary, UndoLog};

use crate::{commit, connect, in_all_dialects};

fn tids(summaries: &[TransactionSummary]) -> Vec<Tid> {
    summaries.iter().map(|summary| summary.tid).collect()
}

#[test]
fn what_was_committed_is_told() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let first = commit(&client, Oid(1), "first");
        let second = commit(&client, Oid(1), "the second");
        let third = commit(&client, Oid(5), "third");

        let history = client.history(Oid(1), 9).unwrap();
        assert_eq!(tids(&history), [second, first]);
        assert_eq!((history[0].size, &history[0].user[..]), (10, &b"user"[..]));
        assert_eq!(history[0].extension, &b"\x81\xa1k\xa1v"[..]);
        assert_eq!(tids(&client.history(Oid(1), 1).unwrap()), [second]);
        assert!(matches!(client.history(Oid(2), 1), Err(LoadError::UnknownOid(Oid(2)))));

        let log = client.undo_log(UndoLog { first: 1, last: 9, filter: Vec::new() });
        assert_eq!(tids(&log.unwrap()), [second, first]);

        let record = client.next_record(None).unwrap();
        assert_eq!((record.oid, record.tid, record.next), (Oid(1), second, Some(Oid(5))));
        let record = client.next_record(record.next).unwrap();
        assert_eq!((record.tid, record.next, &record.data[..]), (third, None, &b"third"[..]));
        assert!(matches!(client.next_record(Some(Oid(6))), Err(LoadError::UnknownOid(Oid(6)))));

        let before = Tid::from_unix(Duration::from_secs(1_795_408_839));
        client.pack(before).unwrap();
        assert_eq!(server.world.state().packed, Some((before, true)));
        client.ask_for_pack(before).unwrap();
        assert_eq!(server.world.state().packed, Some((before, false)));
    });
}

#[test]
fn transactions_and_their_records_are_walked_through() {
    in_all_dialects(|server| {
        let client = connect(&server);
        commit(&client, Oid(1), "first");
        let second = commit(&client, Oid(1), "second");
        let third = commit(&client, Oid(2), "third");

        let mut transactions = client.transactions(Some(second), None).unwrap();
        let head = transactions.next().unwrap().unwrap();
        assert_eq!((head.tid, head.status, &head.description[..]), (second, b' ', &b"what"[..]));
        let mut records = transactions.records(head.tid).unwrap();
        let record = records.next().unwrap().unwrap();
        assert_eq!((record.oid, record.data), (Oid(1), Some(Bytes::from("second"))));
        assert!(records.next().is_none());
        assert!(records.next().is_none(), "and stays at the end");
        assert_eq!(transactions.next().unwrap().unwrap().tid, third);
        assert!(transactions.next().is_none());
        drop((transactions, records));
        assert_eq!(server.world.state().iterators_ended, 0, "the server has forgotten both");

        let until = client.transactions(None, Some(second)).unwrap();
        assert_eq!(until.map(|head| head.unwrap().tid).last(), Some(second));

        let unfinished = client.transactions(None, None).unwrap();
        drop(unfinished);
        client.ping().unwrap();
        assert_eq!(server.world.state().iterators_ended, 1);
    });
}

/// An iterator belongs to its connection.
#[test]
fn an_iterator_ends_with_its_connection() {
    in_all_dialects(|server| {
        let client = connect(&server);
        commit(&client, Oid(1), "first");
        let mut transactions = client.transactions(None, None).unwrap();
        server.world.drop_connections();
        while client.is_connected() {
            drop(client.ping());
        }
        client.reconnect().unwrap();
        assert!(matches!(transactions.next(), Some(Err(CallError::Send(_)))));
        assert!(transactions.next().is_none());
    });
}

fn undo(client: &Client, tid: Tid) -> Result<Tid, VoteError> {
    let mut transaction = client.begin(Metadata::default()).unwrap();
    transaction.undo(tid).unwrap();
    match transaction.vote()? {
        Vote::Voted => Ok(transaction.finish().unwrap()),
        Vote::Conflicts(conflicts) => panic!("{conflicts:?}"),
    }
}

#[test]
fn what_an_undo_brings_back_is_not_taken_from_the_cache() {
    in_all_dialects(|server| {
        let client = connect(&server);
        commit(&client, Oid(1), "first");
        let second = commit(&client, Oid(1), "second");
        assert_eq!(client.load(Oid(1)).unwrap().data, "second");
        assert_eq!(server.world.state().loads, 0);
        let third = undo(&client, second).unwrap();
        let loaded = client.load(Oid(1)).unwrap();
        assert_eq!((&loaded.data[..], loaded.tid), (&b"first"[..], third));
        assert_eq!(server.world.state().loads, 1);
        assert_eq!(client.load_serial(Oid(1), second).unwrap(), "second");
    });
}

#[test]
fn what_cannot_be_undone_is_told() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let first = commit(&client, Oid(1), "first");
        commit(&client, Oid(1), "second");
        let later = vec![(Oid(1), "changed later".to_owned())];
        assert!(matches!(undo(&client, first), Err(VoteError::Undo(objects)) if objects == later));
        let Err(VoteError::NotUndoable(reason)) = undo(&client, Tid(9 << 40)) else {
            panic!("no such transaction")
        };
        assert_eq!(reason, "Invalid transaction id");
    });
}

/// Such a server has resolved a conflict: the client does not know what with.
#[test]
fn data_of_the_server_without_an_undo_are_refused() {
    in_all_dialects(|server| {
        let client = connect(&server);
        server.world.state().determines = true;
        let mut transaction = client.begin(Metadata::default()).unwrap();
        transaction.store(Oid(1), Tid::ZERO, Bytes::from("mine")).unwrap();
        assert!(matches!(transaction.vote(), Err(VoteError::Call(CallError::WrongReply))));
    });
}

#[test]
fn failures_of_calls_are_told() {
    in_all_dialects(|server| {
        let client = connect(&server);
        server.world.state().commit(Oid(1), "first");
        let mut transactions = client.transactions(None, None).unwrap();
        let head = transactions.next().unwrap().unwrap();
        let mut records = transactions.records(head.tid).unwrap();
        server.world.state().iterators_are_lost = true;
        let Some(Err(CallError::Failed(Failure::UnknownIterator(_)))) = records.next() else {
            panic!("no such iterator")
        };
    });
}
