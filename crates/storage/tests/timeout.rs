//! Transactions that hold their locks for too long.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Failure, Oid, Tid, TransactionFault};
use storage::{Completion, Cut, Options, Storage, Transaction, Vote, Which};
use testkit::{Inbox, SimDisk};

use support::small;

fn open(timeout: Duration) -> Arc<dyn Storage> {
    let options = Options { transaction_timeout: Some(timeout), ..small() };
    support::open(&SimDisk::new(), options).unwrap()
}

fn writes(storage: &dyn Storage, oid: Oid, serial: Tid, data: &[u8]) -> Box<dyn Transaction> {
    let mut transaction = storage.begin(support::meta());
    transaction.store(oid, serial, Bytes::copy_from_slice(data)).unwrap();
    transaction
}

/// Who is timed out hears of it first, and then its locks are given up, on the storage's thread.
fn wait_until_nobody_holds_locks(storage: &dyn Storage) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while storage.lock_state().held_since.is_some() {
        assert!(Instant::now() < deadline, "locks are held: {:?}", storage.lock_state());
        thread::yield_now();
    }
}

#[test]
fn who_holds_locks_for_too_long_is_aborted_and_others_go_on() {
    let timeout = Duration::from_millis(5);
    let storage = open(timeout);
    assert!(storage.lock_state().is_limited);
    let (slow, other) = (Inbox::new(), Inbox::new());
    // Large, so that a temporary file is given back, too.
    let mut first = writes(&*storage, Oid(1), Tid::ZERO, &[7; 5000]);
    assert_eq!(slow.vote(&mut *first), Ok(Vote::Promised));
    let mut second = writes(&*storage, Oid(1), Tid::ZERO, b"second");
    let reply = other.reply_to();
    let ticket = reply.ticket;
    second.vote(reply).unwrap();

    assert_eq!(slow.cut(), Cut::TimedOut { after: timeout });
    let Completion::Voted(voted) = other.answer(ticket) else { panic!("it is a vote") };
    assert_eq!(voted, Ok(Vote::Promised), "the locks are free, and nothing was written");
    let finished = first.finish(slow.reply_to());
    assert_eq!(finished, Err(TransactionFault::NotVoted.into()));
    assert!(storage.measures().timeouts >= 1);
    drop((first, second));
    wait_until_nobody_holds_locks(&*storage);
    assert_eq!(storage.lock_state().waiting, 0);
}

#[test]
fn who_waits_for_locks_is_not_timed() {
    let storage = open(Duration::from_secs(3600));
    let (holder, waiter) = (Inbox::new(), Inbox::new());
    let mut first = writes(&*storage, Oid(1), Tid::ZERO, b"first");
    assert_eq!(holder.vote(&mut *first), Ok(Vote::Promised));
    let mut second = writes(&*storage, Oid(1), Tid::ZERO, b"second");
    second.vote(waiter.reply_to()).unwrap();
    assert_eq!(storage.lock_state().waiting, 1);
    assert_eq!(waiter.mailbox.why_cut(), None);
    // A storage is closed without waiting for deadlines.
    drop((first, second));
    storage.close();
}

#[test]
fn a_finish_at_the_last_moment_is_a_commit_or_a_timeout_and_never_both() {
    // Every deadline is over when it is set: who is first is chance.
    let timeout = Duration::ZERO;
    let storage = open(timeout);
    let mut serial = Tid::ZERO;
    for round in 0..2000_u32 {
        let inbox = Inbox::new();
        let data = round.to_be_bytes();
        let mut transaction = writes(&*storage, Oid(1), serial, &data);
        let reply = inbox.reply_to();
        transaction.vote(reply).unwrap();
        if round % 2 == 0 {
            assert_eq!(inbox.cut(), Cut::TimedOut { after: timeout });
        }
        match inbox.finish(&mut *transaction) {
            Ok(tid) => {
                assert_eq!(inbox.mailbox.why_cut(), None);
                serial = tid;
                let loaded = inbox.load(&*storage, Oid(1), Which::Before(Tid::MAX));
                assert_eq!(loaded.unwrap().unwrap().data, data[..]);
            }
            Err(failure) => {
                assert_eq!(failure, Failure::Transaction(TransactionFault::NotVoted));
                assert_eq!(inbox.mailbox.why_cut(), Some(Cut::TimedOut { after: timeout }));
                assert_eq!(storage.current_tid(Oid(1)).unwrap_or(Tid::ZERO), serial);
            }
        }
    }
    wait_until_nobody_holds_locks(&*storage);
}
