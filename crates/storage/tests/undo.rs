//! Undo: by hand, and by random histories that are compared with testkit's model.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;
use protocol::{Failure, Loaded, Oid, Tid};
use storage::{Kind, Location, Storage, Vote, Which};
use testkit::past::{iterate, undo};
use testkit::{Clock, Draft, Inbox, Model, SimDisk, Write, same_content};

const ONE: Oid = Oid(1);
const TWO: Oid = Oid(2);

/// Both kinds, with little memory, so that what is brought back goes to a temporary file.
fn storages() -> [Arc<dyn Storage>; 2] {
    let memory = Location { kind: Kind::Memory, blobs: None };
    let disk = SimDisk::new();
    let memory = storage::open(&memory, support::small(), &disk.handle(), Clock::new()).unwrap();
    [support::open(&disk, support::small()).unwrap(), memory]
}

fn commit(storage: &dyn Storage, inbox: &Inbox, oid: Oid, data: &[u8]) -> Tid {
    let serial = match inbox.load(storage, oid, Which::Before(Tid::MAX)) {
        Ok(Some(loaded)) => loaded.tid,
        _ => storage.current_tid(oid).unwrap_or(Tid::ZERO),
    };
    inbox.commit(storage, &[(oid, serial, data)]).unwrap()
}

fn current(storage: &dyn Storage, inbox: &Inbox, oid: Oid) -> Result<Bytes, Failure> {
    let loaded = inbox.load(storage, oid, Which::Before(Tid::MAX))?;
    Ok(loaded.map(|Loaded { data, .. }| data).unwrap())
}

#[test]
fn an_undo_brings_back_what_was_before_and_says_whose_it_is() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let long = vec![7; 3000];
        let first = commit(storage, &inbox, ONE, &long);
        let second = commit(storage, &inbox, ONE, b"second");
        let (undone, oids) = undo(storage, &inbox, &[second]).unwrap();
        assert_eq!(oids, [ONE]);
        assert_eq!(current(storage, &inbox, ONE).unwrap(), long);
        // And of the undo, which is a transaction as any other.
        let (again, _) = undo(storage, &inbox, &[undone]).unwrap();
        assert_eq!(current(storage, &inbox, ONE).unwrap(), "second");
        let origins: Vec<_> = iterate(storage, &inbox, None, None)
            .unwrap()
            .into_iter()
            .map(|(head, records)| (head.tid, records[0].origin))
            .collect();
        // ZODB names the revision before, whatever its own origin is.
        let expected =
            [(first, None), (second, None), (undone, Some(first)), (again, Some(second))];
        assert_eq!(origins, expected);
    }
}

#[test]
fn an_undone_creation_leaves_no_data_and_can_be_undone() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let created = commit(storage, &inbox, ONE, b"data");
        let (undone, oids) = undo(storage, &inbox, &[created]).unwrap();
        assert_eq!(oids, [ONE]);
        assert_eq!(current(storage, &inbox, ONE), Err(Failure::UnknownOid(ONE)));
        assert_eq!(storage.current_tid(ONE), Err(Failure::UnknownOid(ONE)));
        undo(storage, &inbox, &[undone]).unwrap();
        assert_eq!(current(storage, &inbox, ONE).unwrap(), "data");
    }
}

#[test]
fn later_changes_are_in_the_way_unless_they_left_the_same_data() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let base = commit(storage, &inbox, ONE, b"base");
        let records = [(ONE, base, &b"changed"[..]), (TWO, Tid::ZERO, b"new")];
        let both = inbox.commit(storage, &records).unwrap();
        let mut last = Tid::ZERO;
        for oid in [ONE, TWO] {
            last = commit(storage, &inbox, oid, b"later");
        }
        let refused = undo(storage, &inbox, &[both]).unwrap_err();
        let Failure::Undo(reasons) = refused else { panic!("{refused:?}") };
        assert_eq!(reasons.iter().map(|(oid, _)| *oid).collect::<Vec<_>>(), [ONE, TWO]);
        assert!(reasons[0].1.contains("modified by a later transaction"), "{reasons:?}");
        assert!(reasons[1].1.contains("add transaction"), "{reasons:?}");

        commit(storage, &inbox, ONE, b"changed");
        undo(storage, &inbox, &[last]).unwrap();
        let (_, oids) = undo(storage, &inbox, &[both]).unwrap();
        assert_eq!(oids, [ONE, TWO]);
        assert_eq!(current(storage, &inbox, ONE).unwrap(), "base");
        assert_eq!(current(storage, &inbox, TWO), Err(Failure::UnknownOid(TWO)));
    }
}

#[test]
fn undos_of_one_transaction_see_what_those_before_them_did() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let tids = [&b"a"[..], b"b", b"c"].map(|data| commit(storage, &inbox, ONE, data));
        let [_, b, c] = tids;
        assert!(matches!(undo(storage, &inbox, &[b, c]), Err(Failure::Undo(_))));
        undo(storage, &inbox, &[c, b]).unwrap();
        assert_eq!(current(storage, &inbox, ONE).unwrap(), "a");
    }
}

#[test]
fn writes_and_undos_of_one_transaction_come_in_order() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let first = commit(storage, &inbox, ONE, b"first");
        let second = commit(storage, &inbox, ONE, b"second");
        // What this transaction wrote is in the way, as what others wrote.
        let mut transaction = storage.begin(support::meta());
        transaction.store(ONE, second, "third".into()).unwrap();
        transaction.undo(second).unwrap();
        assert!(matches!(inbox.vote(&mut *transaction), Err(Failure::Undo(_))));
        drop(transaction);
        // The last one counts.
        for (before, after) in [("second", None), ("", Some("third"))] {
            let serial = storage.current_tid(ONE).unwrap();
            let mut transaction = storage.begin(support::meta());
            if !before.is_empty() {
                transaction.store(ONE, serial, before.into()).unwrap();
            }
            let last = iterate(storage, &inbox, None, None).unwrap().last().unwrap().0.tid;
            transaction.undo(if before.is_empty() { last } else { second }).unwrap();
            if let Some(after) = after {
                transaction.store(ONE, serial, after.into()).unwrap();
            }
            assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Determined(vec![ONE])));
            inbox.finish(&mut *transaction).unwrap();
            assert_eq!(current(storage, &inbox, ONE).unwrap(), after.unwrap_or("first"));
        }
        assert_eq!(inbox.load(storage, ONE, Which::Serial(first)).unwrap().unwrap().data, "first");
    }
}

#[test]
fn what_is_no_transaction_cannot_be_undone() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let tid = commit(storage, &inbox, ONE, b"data");
        for wrong in [Tid::ZERO, Tid(tid.0 - 1), tid.next(), Tid::MAX] {
            let refused = undo(storage, &inbox, &[wrong]);
            assert!(matches!(refused, Err(Failure::NotUndoable(_))), "{wrong}: {refused:?}");
        }
        let mut packed = storage.begin(storage::Meta { status: b'p', ..support::meta() });
        packed.store(ONE, tid, "copied".into()).unwrap();
        inbox.vote(&mut *packed).unwrap();
        let packed = inbox.finish(&mut *packed).unwrap();
        assert!(matches!(undo(storage, &inbox, &[packed]), Err(Failure::NotUndoable(_))));
        assert_eq!(current(storage, &inbox, ONE).unwrap(), "copied", "and nothing is locked");
        commit(storage, &inbox, ONE, b"later");
    }
}

#[test]
fn an_undo_waits_for_the_objects_of_what_it_undoes() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let tid = commit(storage, &inbox, ONE, b"data");
        let mut voted = storage.begin(support::meta());
        voted.store(ONE, tid, "later".into()).unwrap();
        inbox.vote(&mut *voted).unwrap();
        let mut undoing = storage.begin(support::meta());
        undoing.undo(tid).unwrap();
        let reply = inbox.reply_to();
        let ticket = reply.ticket;
        undoing.vote(reply).unwrap();
        // Each pass goes through the pool, behind what finds the undone transaction.
        let start = Instant::now();
        while storage.lock_state().waiting == 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "the undo takes no lock");
            iterate(storage, &inbox, None, None).unwrap();
        }
        assert!(inbox.try_answer(ticket).is_none());
        inbox.finish(&mut *voted).unwrap();
        let storage::Completion::Voted(answer) = inbox.answer(ticket) else { panic!("a vote") };
        assert!(matches!(answer, Err(Failure::Undo(_))), "{answer:?}");
    }
}

/// An abort while the log is read, or before the locks are there, leaves nothing locked.
#[test]
fn an_undo_that_is_aborted_holds_nothing() {
    for storage in storages() {
        let (storage, inbox) = (&*storage, Inbox::new());
        let mut tid = commit(storage, &inbox, ONE, b"data");
        for _ in 0..200 {
            let mut undoing = storage.begin(support::meta());
            undoing.undo(tid).unwrap();
            undoing.vote(inbox.reply_to()).unwrap();
            drop(undoing);
            tid = commit(storage, &inbox, ONE, b"data");
        }
        assert_eq!(storage.lock_state().waiting, 0);
    }
}

#[derive(Clone, Debug)]
enum Action {
    /// Few objects and few data, so that undos find the same again.
    Commit(Vec<(u64, Option<u8>)>),
    Undo(Vec<Index>),
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let write = (0..4u64, proptest::option::weighted(0.8, 0..3u8));
    prop_oneof![
        6 => vec(write, 0..4).prop_map(Action::Commit),
        5 => vec(any::<Index>(), 1..4).prop_map(Action::Undo),
        1 => Just(Action::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest"))),
        ..ProptestConfig::with_cases(150)
    })]

    #[test]
    fn undo_does_what_the_model_does(actions in vec(action(), 1..40), in_memory in any::<bool>()) {
        run(&actions, in_memory);
    }
}

fn run(actions: &[Action], in_memory: bool) {
    let disk = SimDisk::new();
    let clock = Clock::new();
    let kind = if in_memory { Kind::Memory } else { Kind::File(support::DIR.into()) };
    let location = Location { kind, blobs: None };
    let open = || {
        storage::open(&location, support::small(), &disk.handle(), Arc::clone(&clock) as _).unwrap()
    };
    let (mut storage, inbox, mut model) = (open(), Inbox::new(), Model::new());
    for action in actions {
        match action {
            Action::Commit(writes) => {
                let mut draft = Draft::default();
                for (oid, data) in writes {
                    let data = data.map(|data| Bytes::from(vec![data; 200 * usize::from(data)]));
                    draft.write(Oid(*oid), Write::Restore(data));
                }
                let mut transaction = storage.begin(support::meta());
                for (oid, write) in &draft.writes {
                    let Write::Restore(data) = write.clone() else { panic!("made above") };
                    transaction.restore(*oid, data, None).unwrap();
                }
                inbox.vote(&mut *transaction).unwrap();
                model.apply(inbox.finish(&mut *transaction).unwrap(), &draft);
            }
            Action::Undo(which) => {
                let tids: Vec<Tid> = model.tids().collect();
                if tids.is_empty() {
                    continue;
                }
                let tids: Vec<Tid> = which.iter().map(|which| *which.get(&tids)).collect();
                match (undo(&*storage, &inbox, &tids), model.undo(&tids)) {
                    (Ok((tid, oids)), Ok(draft)) => {
                        assert!(oids.iter().eq(draft.writes.keys()), "{oids:?}, {draft:?}");
                        model.apply(tid, &draft);
                    }
                    (Err(Failure::Undo(reasons)), Err(in_the_way)) => {
                        let named = reasons.iter().map(|(oid, _)| *oid);
                        assert!(named.eq(in_the_way), "{reasons:?}");
                    }
                    (done, right) => panic!("{done:?} should be {right:?}"),
                }
            }
            Action::Restart if in_memory => (),
            Action::Restart => {
                storage.close();
                drop(storage);
                storage = open();
            }
        }
    }
    same_content(&*storage, &inbox, &model, &[]).unwrap();
}
