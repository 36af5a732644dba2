//! The commit path with times, failures and interruptions that the other tests do not choose.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use protocol::{Conflict, Failure, Oid, Tid, TransactionFault};
use storage::{
    Completion, LockState, Meta, Options, Storage, Sync, Ticket, Transaction, Vote, Which,
};
use testkit::{Call, Change, Fault, Inbox, SimDisk};

use support::small;

/// A copied transaction that writes one object.
fn copied(storage: &dyn Storage, tid: Tid, oid: Oid) -> Box<dyn Transaction> {
    let mut transaction = storage.begin(Meta { tid: Some(tid), ..support::meta() });
    transaction.restore(oid, Some("copied".into()), None).unwrap();
    transaction
}

/// A transaction that creates `oid` with so many bytes.
fn creates(storage: &dyn Storage, oid: Oid, bytes: usize) -> Box<dyn Transaction> {
    let mut transaction = storage.begin(support::meta());
    transaction.store(oid, Tid::ZERO, vec![1; bytes].into()).unwrap();
    transaction
}

/// Asks for a vote and does not wait.
fn ask_vote(inbox: &Inbox, transaction: &mut dyn Transaction) -> Ticket {
    let reply = inbox.reply_to();
    let ticket = reply.ticket;
    transaction.vote(reply).unwrap();
    ticket
}

#[test]
fn a_tid_that_no_reader_could_see_is_refused_at_the_vote() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    for tid in [Tid::MAX, Tid(Tid::MAX.0 + 1), Tid(u64::MAX)] {
        let voted = inbox.vote(&mut *copied(&*storage, tid, Oid(1)));
        let Err(Failure::Arguments(text)) = voted else { panic!("{voted:?}") };
        assert!(text.contains(&tid.to_string()), "{text}");
    }
    // Nothing of that is left in the way of others.
    let tid = inbox.commit(&*storage, &[(Oid(1), Tid::ZERO, b"mine")]).unwrap();
    let loaded = inbox.load(&*storage, Oid(1), Which::Before(Tid::MAX)).unwrap().unwrap();
    assert_eq!((loaded.tid, &loaded.data[..]), (tid, &b"mine"[..]));
}

#[test]
fn when_no_tid_is_left_the_vote_says_so_and_reads_go_on() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let highest = Tid(Tid::MAX.0 - 1);
    let mut last = copied(&*storage, highest, Oid(1));
    assert_eq!(inbox.vote(&mut *last), Ok(Vote::Promised));
    assert_eq!(inbox.finish(&mut *last), Ok(highest));
    let loaded = inbox.load(&*storage, Oid(1), Which::Before(Tid::MAX)).unwrap().unwrap();
    assert_eq!(loaded.tid, highest);
    let voted = inbox.vote(&mut *creates(&*storage, Oid(2), 10));
    let Err(Failure::Storage(text)) = voted else { panic!("{voted:?}") };
    assert!(text.contains("no tid is left"), "{text}");
}

#[test]
fn promises_that_outlive_the_tids_fail_clearly() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let mut copy = copied(&*storage, Tid(Tid::MAX.0 - 2), Oid(0));
    assert_eq!(inbox.vote(&mut *copy), Ok(Vote::Promised));
    inbox.finish(&mut *copy).unwrap();
    // There is one tid for two that are promised.
    let mut voted = [Oid(1), Oid(2)].map(|oid| {
        let mut transaction = creates(&*storage, oid, 10);
        assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
        transaction
    });
    assert_eq!(inbox.finish(&mut *voted[0]), Ok(Tid(Tid::MAX.0 - 1)));
    let finished = inbox.finish(&mut *voted[1]);
    let Err(Failure::Storage(text)) = finished else { panic!("{finished:?}") };
    assert!(text.contains("no tid is left"), "{text}");
    assert_eq!(storage.lock_state(), LockState::default());
}

#[test]
fn a_copy_whose_write_failed_is_tried_again_with_its_tid() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let tid = Tid(1 << 58);
    disk.inject(Fault::full(Call::Write).on(".log"));
    for attempt in 0..2 {
        let mut copy = copied(&*storage, tid, Oid(1));
        assert_eq!(inbox.vote(&mut *copy), Ok(Vote::Promised));
        let finished = inbox.finish(&mut *copy);
        match attempt {
            0 => assert!(matches!(finished, Err(Failure::Storage(_))), "{finished:?}"),
            _ => assert_eq!(finished, Ok(tid)),
        }
    }
}

/// A transaction that stores `data` on a revision of `Oid(1)` that is not current any more, and
/// the conflict that it meets.
fn stale(storage: &dyn Storage, inbox: &Inbox, data: Bytes) -> (Box<dyn Transaction>, Conflict) {
    let given = inbox.commit(storage, &[(Oid(1), Tid::ZERO, b"first")]).unwrap();
    let committed = inbox.commit(storage, &[(Oid(1), given, b"second")]).unwrap();
    let mut transaction = storage.begin(support::meta());
    transaction.store(Oid(1), given, data.clone()).unwrap();
    (transaction, Conflict { oid: Oid(1), committed, given, data })
}

#[test]
fn conflicts_that_were_spilled_are_read_while_nobody_waits() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let (mut transaction, conflict) = stale(&*storage, &inbox, vec![7; 5000].into());
    let held = disk.hold(Call::Read);
    let ticket = ask_vote(&inbox, &mut *transaction);
    held.wait_for(1);
    // Its locks are free already, and the committer is not what reads.
    inbox.commit(&*storage, &[(Oid(1), conflict.committed, b"third")]).unwrap();
    assert!(inbox.try_answer(ticket).is_none());
    let again = transaction.vote(inbox.reply_to());
    assert_eq!(again, Err(Failure::Transaction(TransactionFault::VoteWaits)));
    drop(held);
    let Completion::Voted(voted) = inbox.answer(ticket) else { panic!("a vote was asked") };
    assert_eq!(voted, Ok(Vote::Conflicts(vec![conflict])));
}

#[test]
fn conflicts_too_large_to_be_told_fail_the_vote() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let (mut transaction, conflict) = stale(&*storage, &inbox, vec![7; (64 << 20) + 1].into());
    let Conflict { oid, committed, given, .. } = conflict;
    // Not even tried.
    disk.inject(Fault::io(Call::Read));
    let failure = Failure::Conflict { oid, committed, given };
    assert_eq!(inbox.vote(&mut *transaction), Err(failure));
    assert_eq!(storage.lock_state(), LockState::default());
}

#[test]
fn what_is_asked_of_a_closed_storage_is_answered() {
    let disk = SimDisk::new();
    disk.set_cached(false);
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    inbox.commit(&*storage, &[(Oid(1), Tid::ZERO, b"there")]).unwrap();
    let [mut voted, mut waiting] = [10; 2].map(|bytes| creates(&*storage, Oid(2), bytes));
    assert_eq!(inbox.vote(&mut *voted), Ok(Vote::Promised));
    let ticket = ask_vote(&inbox, &mut *waiting);
    storage.close();

    let closed = |failure| {
        let Failure::Storage(text) = failure else { panic!("{failure:?}") };
        assert!(text.contains("closed"), "{text}");
    };
    closed(inbox.finish(&mut *voted).unwrap_err());
    let Completion::Voted(voted) = inbox.answer(ticket) else { panic!("a vote was asked") };
    closed(voted.unwrap_err());
    assert_eq!(storage.lock_state(), LockState::default());
    let loaded = inbox.load(&*storage, Oid(1), Which::Before(Tid::MAX)).unwrap().unwrap();
    assert_eq!(&loaded.data[..], b"there");
}

/// Another vote comes while the committer allocates again what it had to give back.
#[test]
fn a_vote_does_not_wait_while_space_is_allocated() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let [mut failing, mut late] = [Oid(1), Oid(2)].map(|oid| creates(&*storage, oid, 10));
    assert_eq!(inbox.vote(&mut *failing), Ok(Vote::Promised));
    disk.inject(Fault::full(Call::Write).on(".log"));
    let held = disk.hold(Call::Reserve);
    let finish = inbox.reply_to();
    let finished = finish.ticket;
    failing.finish(finish).unwrap();
    held.wait_for(1);

    let (reply, (sender, voted)) = (inbox.reply_to(), mpsc::channel());
    let ticket = reply.ticket;
    thread::spawn(move || {
        late.vote(reply).unwrap();
        sender.send(late).unwrap();
    });
    let mut late = voted.recv_timeout(Duration::from_secs(30)).expect("the vote returns at once");
    assert!(inbox.try_answer(ticket).is_none());
    drop(held);
    let Completion::Voted(voted) = inbox.answer(ticket) else { panic!("a vote was asked") };
    assert_eq!(voted, Ok(Vote::Promised));
    assert!(inbox.finished(finished).0.is_err());
    inbox.finish(&mut *late).unwrap();
}

#[test]
fn a_transaction_keeps_no_more_in_memory_than_its_share() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let mut transaction = storage.begin(support::meta());
    let received = Bytes::from(vec![7; 1000]);
    transaction.store(Oid(1), Tid::ZERO, received.slice(..1)).unwrap();
    assert!(received.is_unique(), "a byte keeps no more than a byte");

    // What has no data takes memory, too.
    (2..20).for_each(|oid| transaction.delete(Oid(oid), Tid(1)).unwrap());
    disk.inject(Fault::full(Call::Write).on("/data/tmp"));
    let stored = transaction.store(Oid(20), Tid::ZERO, received.slice(..1));
    assert!(matches!(stored, Err(Failure::Storage(_))), "it is not in memory: {stored:?}");
}

#[test]
fn what_waits_for_a_sync_becomes_one_write_and_one_sync() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, Options::default()).unwrap();
    let inbox = Inbox::new();
    let mut voted: Vec<_> = (0..20).map(|oid| creates(&*storage, Oid(oid), 500)).collect();
    for transaction in &mut voted {
        assert_eq!(inbox.vote(&mut **transaction), Ok(Vote::Promised));
    }
    let from = disk.op_count();
    let held = disk.hold(Call::Sync);
    let mut tickets = Vec::new();
    for transaction in &mut voted {
        let reply = inbox.reply_to();
        tickets.push(reply.ticket);
        transaction.finish(reply).unwrap();
        // The first one alone; the others queue while that is being synced.
        held.wait_for(1);
    }
    drop(held);
    let tids: Vec<_> =
        tickets.into_iter().map(|ticket| inbox.finished(ticket).0.unwrap()).collect();
    assert!(tids.is_sorted_by(|a, b| a < b), "in the order of the queue: {tids:?}");
    let done: Vec<_> = disk.ops()[from..]
        .iter()
        .map(|op| match &op.change {
            Change::Write { data, .. } => ("write", data.len() / 500),
            Change::Sync { .. } => ("sync", 0),
            other => panic!("{other:?} of {}", op.path.display()),
        })
        .collect();
    let [("write", 1), ("sync", 0), ("write", others), ("sync", 0)] = done[..] else {
        panic!("{done:?}")
    };
    assert!(others >= 19, "all the others");
}

/// Two connections end at the same moment: one has voted, the other one waits for its lock.
#[test]
fn aborts_at_the_same_time_leave_nothing_locked() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    for round in 0..200 {
        let [mut first, mut waiting, mut last] = [10; 3].map(|n| creates(&*storage, Oid(round), n));
        assert_eq!(inbox.vote(&mut *first), Ok(Vote::Promised));
        let ticket = ask_vote(&inbox, &mut *waiting);
        assert!(inbox.try_answer(ticket).is_none());
        let together = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                if round % 2 == 0 {
                    drop(first);
                } else {
                    inbox.finish(&mut *first).unwrap();
                }
            });
            scope.spawn(|| {
                together.wait();
                drop(waiting);
            });
        });
        let voted = inbox.vote(&mut *last).unwrap();
        assert_eq!(matches!(voted, Vote::Promised), round % 2 == 0, "{voted:?}");
        drop(last);
        assert_eq!(storage.lock_state(), LockState::default());
    }
}

/// A connection ends while space is allocated for its vote.
#[test]
fn an_abort_gives_back_what_is_promised_later() {
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    let held = disk.hold(Call::Reserve);
    let mut aborted = creates(&*storage, Oid(1), 10_000_000);
    let ticket = ask_vote(&inbox, &mut *aborted);
    held.wait_for(1);
    drop(aborted);
    drop(held);
    // It fits only once, and no more is to be had.
    let mut next = creates(&*storage, Oid(1), 10_000_000);
    assert_eq!(inbox.vote(&mut *next), Ok(Vote::Promised));
    assert!(inbox.try_answer(ticket).is_none(), "nobody waits for it");
    disk.set_capacity_bytes(Some(disk.used_bytes()));
    assert!(disk.used_bytes() < 20_000_000);
    inbox.finish(&mut *next).unwrap();
}

/// Those that wait while another one is synced share a sync, or have one each.
#[test]
fn a_sync_is_for_all_that_wait_or_for_each() {
    for (sync, syncs) in [(Sync::Commit, 2), (Sync::Each, 4)] {
        let disk = SimDisk::new();
        let storage = support::open(&disk, Options { sync, ..small() }).unwrap();
        let inbox = Inbox::new();
        let mut voted: Vec<_> = (1..=4).map(|n| creates(&*storage, Oid(n), 10)).collect();
        for transaction in &mut voted {
            assert_eq!(inbox.vote(&mut **transaction), Ok(Vote::Promised));
        }
        let before = disk.op_count();
        let held = disk.hold(Call::Sync);
        let mut tickets = Vec::new();
        for transaction in &mut voted {
            let reply = inbox.reply_to();
            tickets.push(reply.ticket);
            transaction.finish(reply).unwrap();
            held.wait_for(1);
        }
        drop(held);
        for ticket in tickets {
            let Completion::Finished(Ok(_)) = inbox.answer(ticket) else { panic!("it finishes") };
        }
        let ops = disk.ops().split_off(before);
        let count = ops.iter().filter(|op| matches!(op.change, Change::Sync { .. })).count();
        assert_eq!(count, syncs, "{sync:?}");
    }
}
