//! The client against a server in memory, in all dialects.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod blobs;
mod past;
mod support;

use std::net::TcpListener;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use client::{
    BeginError, CallError, Client, ConnectError, Disconnect, FinishError, LoadError, Metadata,
    Notice, Options, SendError, Vote, VoteError,
};
use codecs::Dialect;
use protocol::{Failure, Oid, Tid};

use crate::support::FakeServer;

fn in_all_dialects(test: impl Fn(FakeServer)) {
    for dialect in Dialect::ALL {
        test(FakeServer::start(dialect));
    }
}

fn connect(server: &FakeServer) -> Client {
    Client::connect(&server.endpoint, "1", false, Options::default()).unwrap()
}

/// A client, and what it was told.
fn connect_listening(server: &FakeServer) -> (Client, Arc<Mutex<Vec<Notice>>>) {
    let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let listener = {
        let notices = Arc::clone(&notices);
        Arc::new(move |notice: &Notice| notices.lock().unwrap().push(notice.clone()))
    };
    let options = Options { listener: Some(listener), ..Options::default() };
    (Client::connect(&server.endpoint, "1", false, options).unwrap(), notices)
}

/// Stores until it works, on the revision that is current then.
fn commit(client: &Client, oid: Oid, data: &str) -> Tid {
    let mut transaction = client.begin(Metadata::default()).unwrap();
    let data = Bytes::from(data.to_owned());
    transaction.store(oid, Tid::ZERO, data.clone()).unwrap();
    while let Vote::Conflicts(conflicts) = transaction.vote().unwrap() {
        transaction.store(oid, conflicts[0].committed, data.clone()).unwrap();
    }
    transaction.finish().unwrap()
}

#[test]
fn every_question_is_answered() {
    in_all_dialects(|server| {
        let client = connect(&server);
        assert_eq!(client.last_tid(), Tid(1));
        let tid = server.world.state().commit(Oid(7), "seven");
        client.ping().unwrap();
        assert_eq!(client.last_tid(), tid);
        assert_eq!(client.load(Oid(7)).unwrap().data, "seven");
        assert_eq!(client.load_before(Oid(7), tid).unwrap(), None);
        assert_eq!(client.load_serial(Oid(7), tid).unwrap(), "seven");
        assert_eq!(client.current_tid(Oid(7)).unwrap(), tid);
        assert_eq!(client.new_oids(2).unwrap(), [Oid(1), Oid(2)]);
        assert_eq!(client.last_transaction().unwrap(), tid);
        assert_eq!(client.info().unwrap().length, 1);
        assert_eq!(client.status().unwrap().last_transaction, tid);
        assert!(matches!(client.load(Oid(8)), Err(LoadError::UnknownOid(Oid(8)))));
        assert!(matches!(client.current_tid(Oid(8)), Err(LoadError::UnknownOid(Oid(8)))));
        assert!(matches!(client.load_serial(Oid(7), Tid(1)), Err(LoadError::UnknownOid(Oid(7)))));
    });
}

#[test]
fn what_was_read_or_written_is_not_asked_again_until_it_changes() {
    in_all_dialects(|server| {
        let (client, notices) = connect_listening(&server);
        let first = commit(&client, Oid(1), "first");
        assert_eq!(client.load(Oid(1)).unwrap().tid, first);
        assert_eq!(server.world.state().loads, 0, "own writes are cached");
        let second = server.world.state().commit(Oid(1), "second");
        client.ping().unwrap();
        assert_eq!(client.load(Oid(1)).unwrap().data, "second");
        assert_eq!(client.load(Oid(1)).unwrap().data, "second");
        assert_eq!(server.world.state().loads, 1);
        let old = client.load_before(Oid(1), second).unwrap().unwrap();
        assert_eq!((&old.data[..], old.end), (&b"first"[..], Some(second)));
        assert_eq!(server.world.state().loads, 1, "the span of the old revision is known");
        let notices = notices.lock().unwrap();
        let [Notice::Invalidated { tid, oids }] = &notices[..] else { panic!("{notices:?}") };
        assert_eq!((*tid, &oids[..]), (second, &[Oid(1)][..]));
    });
}

#[test]
fn conflicts_are_told_and_can_be_resolved() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let first = server.world.state().commit(Oid(1), "theirs");
        let mut transaction = client.begin(Metadata::default()).unwrap();
        transaction.store(Oid(1), Tid(1), Bytes::from("mine")).unwrap();
        let Vote::Conflicts(conflicts) = transaction.vote().unwrap() else { panic!("a conflict") };
        assert_eq!((conflicts[0].oid, conflicts[0].committed), (Oid(1), first));
        assert_eq!((conflicts[0].given, &conflicts[0].data[..]), (Tid(1), &b"mine"[..]));
        transaction.store(Oid(1), first, Bytes::from("merged")).unwrap();
        assert_eq!(transaction.vote().unwrap(), Vote::Voted);
        let tid = transaction.finish().unwrap();
        assert_eq!(client.load(Oid(1)).unwrap().data, "merged");
        assert_eq!(client.last_tid(), tid);

        let mut transaction = client.begin(Metadata::default()).unwrap();
        transaction.check_current_serial(Oid(1), first).unwrap();
        assert!(matches!(transaction.vote(), Err(VoteError::ReadConflict { oid: Oid(1), .. })));
        transaction.abort().unwrap();

        let mut transaction = client.begin(Metadata::default()).unwrap();
        transaction.delete(Oid(1), tid).unwrap();
        assert_eq!(transaction.vote().unwrap(), Vote::Voted);
        transaction.finish().unwrap();
        assert!(matches!(client.load(Oid(1)), Err(LoadError::UnknownOid(Oid(1)))));
    });
}

#[test]
fn a_dropped_transaction_is_aborted_and_makes_room_for_the_next() {
    in_all_dialects(|server| {
        let options =
            Options { call_timeout: Some(Duration::from_millis(500)), ..Options::default() };
        let client = Client::connect(&server.endpoint, "1", false, options).unwrap();
        let transaction = client.begin(Metadata::default()).unwrap();
        assert!(matches!(client.begin(Metadata::default()), Err(BeginError::Busy)));
        drop(transaction);
        commit(&client, Oid(1), "data");
        assert_eq!(server.world.state().aborts, 1);
    });
}

#[test]
fn calls_that_are_not_answered_time_out() {
    in_all_dialects(|server| {
        let options =
            Options { call_timeout: Some(Duration::from_millis(500)), ..Options::default() };
        let client = Client::connect(&server.endpoint, "1", false, options).unwrap();
        let mut transaction = client.begin(Metadata::default()).unwrap();
        assert_eq!(transaction.vote().unwrap(), Vote::Voted);
        server.world.state().is_silent = true;
        assert!(matches!(client.ping(), Err(CallError::TimedOut)));
        let finished = transaction.finish();
        assert!(matches!(finished, Err(FinishError::InDoubt(CallError::TimedOut))));
    });
}

#[test]
fn a_finish_that_fails_costs_the_transaction_and_not_the_connection() {
    in_all_dialects(|server| {
        let client = connect(&server);
        let transaction = client.begin(Metadata::default()).unwrap();
        let finished = transaction.finish();
        let Err(FinishError::NotFinished(CallError::Failed(_))) = finished else {
            panic!("{finished:?}")
        };
        commit(&client, Oid(1), "data");

        server.world.state().finish_fails = Some(Failure::Storage("the disk failed".to_owned()));
        let mut transaction = client.begin(Metadata::default()).unwrap();
        assert_eq!(transaction.vote().unwrap(), Vote::Voted);
        let finished = transaction.finish();
        let Err(FinishError::InDoubt(CallError::Failed(_))) = finished else {
            panic!("{finished:?}")
        };
        server.world.state().finish_fails = None;
        commit(&client, Oid(2), "data");
    });
}

#[test]
fn a_listener_that_panics_ends_the_connection() {
    in_all_dialects(|server| {
        let listener = |notice: &Notice| match notice {
            Notice::Invalidated { .. } | Notice::Missed { .. } => panic!("a fault of its own"),
            _ => (),
        };
        let options = Options { listener: Some(Arc::new(listener)), ..Options::default() };
        let client = Client::connect(&server.endpoint, "1", false, options).unwrap();
        server.world.state().commit(Oid(1), "data");
        let Err(CallError::Send(SendError::Disconnected(reason))) = client.ping() else {
            panic!("it was told")
        };
        assert!(matches!(*reason, Disconnect::ListenerPanicked), "{reason}");
        client.reconnect().unwrap();
        client.ping().unwrap();

        server.world.drop_connections();
        while client.ping().is_ok() {}
        server.world.state().commit(Oid(1), "more");
        let reconnecting = panic::catch_unwind(AssertUnwindSafe(|| client.reconnect()));
        assert!(reconnecting.is_err());
        assert!(!client.is_connected());
    });
}

#[test]
fn a_client_that_is_read_only_does_not_begin() {
    in_all_dialects(|server| {
        let client = Client::connect(&server.endpoint, "1", true, Options::default()).unwrap();
        let begun = client.begin(Metadata::default());
        assert!(matches!(begun, Err(BeginError::ReadOnly)), "{begun:?}");
        client.ping().unwrap();
    });
}

#[test]
fn a_lost_connection_is_made_anew_and_the_cache_survives() {
    in_all_dialects(|server| {
        let (client, notices) = connect_listening(&server);
        for oid in [1, 2] {
            server.world.state().commit(Oid(oid), "old");
        }
        client.ping().unwrap();
        assert_eq!(client.load(Oid(1)).unwrap().data, "old");
        assert_eq!(client.load(Oid(2)).unwrap().data, "old");
        let transaction = client.begin(Metadata::default()).unwrap();

        server.world.drop_connections();
        let lost = loop {
            if let Err(error) = client.ping() {
                break error;
            }
        };
        assert!(matches!(lost, CallError::Send(SendError::Disconnected(_))), "{lost}");
        assert!(!client.is_connected());
        assert!(matches!(client.load(Oid(1)), Err(LoadError::Call(CallError::Send(_)))));
        let finished = transaction.finish();
        assert!(matches!(finished, Err(FinishError::NotFinished(CallError::Send(_)))));

        let newest = server.world.state().commit(Oid(2), "new");
        client.reconnect().unwrap();
        client.reconnect().unwrap();
        assert_eq!(client.last_tid(), newest);
        let loads = server.world.state().loads;
        assert_eq!(client.load(Oid(1)).unwrap().data, "old");
        assert_eq!(server.world.state().loads, loads, "what has not changed is still cached");
        assert_eq!(client.load(Oid(2)).unwrap().data, "new");
        let notices = notices.lock().unwrap();
        let Some(Notice::Missed { newest: told, oids }) = notices.last() else {
            panic!("{notices:?}")
        };
        assert_eq!((*told, &oids[..]), (newest, &[Oid(2)][..]));
        assert!(matches!(notices[notices.len() - 2], Notice::Disconnected(_)));
    });
}

#[test]
fn a_cache_that_is_too_old_is_dropped() {
    in_all_dialects(|server| {
        let (client, notices) = connect_listening(&server);
        server.world.state().commit(Oid(1), "old");
        client.ping().unwrap();
        client.load(Oid(1)).unwrap();
        server.world.drop_connections();
        while client.ping().is_ok() {}
        let newest = server.world.state().commit(Oid(2), "new");
        server.world.state().remembered_since = newest;
        client.reconnect().unwrap();
        client.load(Oid(1)).unwrap();
        assert_eq!(server.world.state().loads, 2);
        let notices = notices.lock().unwrap();
        assert!(matches!(notices.last(), Some(Notice::MissedTooMuch { .. })), "{notices:?}");
    });
}

#[test]
fn servers_that_do_not_fit_are_refused() {
    in_all_dialects(|server| {
        let unknown = Client::connect(&server.endpoint, "2", false, Options::default());
        let Err(ConnectError::Refused(Failure::UnknownStorage(name))) = unknown else {
            panic!("{unknown:?}")
        };
        assert_eq!(name, "2");

        let client = connect(&server);
        server.world.drop_connections();
        while client.ping().is_ok() {}
        server.world.state().last = Tid::ZERO;
        let behind = client.reconnect().unwrap_err();
        assert!(matches!(behind, ConnectError::Behind(_)), "{behind}");
        assert!(!client.is_connected());

        for dialect in Dialect::ALL.into_iter().filter(|other| *other != server.endpoint.dialect) {
            let mut endpoint = server.endpoint.clone();
            endpoint.dialect = dialect;
            let refused = Client::connect(&endpoint, "1", false, Options::default());
            // ZEO's clients pick their own encoding; this fake server does not go along with it.
            assert!(matches!(refused, Err(ConnectError::Session(_) | ConnectError::Closed)));
        }
    });
}

#[test]
fn tcp_works_as_unix_sockets_do() {
    in_all_dialects(|server| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = server.endpoint.to_string();
        let url = url.split_once("+unix").unwrap().0;
        let endpoint = format!("{url}://127.0.0.1:{port}").parse().unwrap();
        let connecting =
            thread::spawn(move || Client::connect(&endpoint, "1", true, Options::default()));
        support::relay(&listener.accept().unwrap().0, &server.endpoint.address);
        let client = connecting.join().unwrap().unwrap();
        server.world.state().commit(Oid(1), "data");
        client.ping().unwrap();
        assert_eq!(client.load(Oid(1)).unwrap().data, "data");
    });
}

/// Threads and clients increment counters, which conflict all the time. No increment is lost, and
/// nobody ever sees a counter go back.
#[test]
fn many_threads_share_a_client() {
    const INCREMENTS: u64 = 30;
    in_all_dialects(|server| {
        for oid in 0..3 {
            server.world.state().commit(Oid(oid), "0");
        }
        let clients = [connect(&server), connect(&server)];
        let incremented = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..6 {
                let (client, incremented) = (&clients[thread % 2], &incremented);
                scope.spawn(move || {
                    for round in 0..INCREMENTS {
                        increment(client, Oid((thread as u64 + round) % 3));
                        incremented.fetch_add(1, Ordering::Relaxed);
                    }
                });
                scope.spawn(move || {
                    let mut seen = [0; 3];
                    while incremented.load(Ordering::Relaxed) < 6 * INCREMENTS {
                        for (oid, seen) in seen.iter_mut().enumerate() {
                            let value = value(&client.load(Oid(oid as u64)).unwrap().data);
                            assert!(value >= *seen, "{oid}: {value} after {seen}");
                            *seen = value;
                        }
                    }
                });
            }
        });
        for client in &clients {
            client.ping().unwrap();
            let sum: u64 = (0..3).map(|oid| value(&client.load(Oid(oid)).unwrap().data)).sum();
            assert_eq!(sum, 6 * INCREMENTS);
        }
    });
}

fn increment(client: &Client, oid: Oid) {
    loop {
        let mut transaction = client.begin(Metadata::default()).unwrap();
        let loaded = client.load(oid).unwrap();
        let next = (value(&loaded.data) + 1).to_string();
        transaction.store(oid, loaded.tid, Bytes::from(next)).unwrap();
        if transaction.vote().unwrap() == Vote::Voted {
            transaction.finish().unwrap();
            return;
        }
        // The invalidation is on its way, and the barrier waits for it.
        transaction.abort().unwrap();
        client.ping().unwrap();
    }
}

fn value(data: &[u8]) -> u64 {
    std::str::from_utf8(data).unwrap().parse().unwrap()
}
