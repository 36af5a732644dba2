//! Which oids are handed out, and which are taken.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use protocol::{Failure, Oid, Tid};
use storage::{Completion, Kind, Location, Options, Storage};
use testkit::{Call, Clock, Inbox, SimDisk};

use support::small;

const LIMIT: u64 = 1 << 63;

fn in_memory() -> Arc<dyn Storage> {
    let location = Location { kind: Kind::Memory, blobs: None };
    storage::open(&location, small(), &SimDisk::new().handle(), Clock::new()).unwrap()
}

fn on(disk: &SimDisk) -> Arc<dyn Storage> {
    support::open(disk, small()).unwrap()
}

fn says(answer: Result<Vec<Oid>, Failure>, what: &str) {
    assert_eq!(answer, Err(Failure::Storage(what.to_owned())));
}

#[test]
fn an_oid_at_the_limit_is_refused_and_spoils_nothing() {
    let disk = SimDisk::new();
    for storage in [in_memory(), on(&disk)] {
        let inbox = Inbox::new();
        for oid in [Oid(LIMIT), Oid(u64::MAX)] {
            let mut transaction = storage.begin(support::meta());
            for refused in [
                transaction.store(oid, Tid::ZERO, "data".into()),
                transaction.restore(oid, None, None),
                transaction.delete(oid, Tid::ZERO),
            ] {
                let Err(Failure::Storage(text)) = refused else { panic!("{oid} is taken") };
                assert!(text.contains(&oid.to_string()), "{text}");
            }
        }
        assert_eq!(inbox.new_oids(&*storage, 2), Ok(vec![Oid(1), Oid(2)]));
        storage.close();
    }
    assert_eq!(Inbox::new().new_oids(&*on(&disk), 1), Ok(vec![Oid(3)]));
}

#[test]
fn when_no_oid_is_left_that_is_said_at_once() {
    let disk = SimDisk::new();
    for storage in [in_memory(), on(&disk)] {
        let inbox = Inbox::new();
        inbox.commit(&*storage, &[(Oid(LIMIT - 3), Tid::ZERO, b"data")]).unwrap();
        let last = vec![Oid(LIMIT - 2), Oid(LIMIT - 1)];
        assert_eq!(inbox.new_oids(&*storage, 10), Ok(last));
        says(inbox.new_oids(&*storage, 1), "all oids are used up");
        says(inbox.new_oids(&*storage, 1), "all oids are used up");
        storage.close();
    }
    let storage = on(&disk);
    says(Inbox::new().new_oids(&*storage, 1), "all oids are used up");
    let tid = Inbox::new().commit(&*storage, &[(Oid(7), Tid::ZERO, b"data")]);
    assert!(tid.is_ok(), "{tid:?}");
}

#[test]
fn an_oid_stored_above_those_being_reserved_is_no_end_of_oids() {
    let disk = SimDisk::new();
    // The vote needs a thread, too.
    let storage = support::open(&disk, Options { reader_threads: 2, ..small() }).unwrap();
    let inbox = Inbox::new();
    // Only the file of the bound is ever renamed.
    let held = disk.hold(Call::Rename);
    let reply = inbox.reply_to();
    let ticket = reply.ticket;
    assert_eq!(storage.new_oids(10, reply), None);
    held.wait_for(1);
    let high = 1 << 40;
    inbox.commit(&*storage, &[(Oid(high), Tid::ZERO, b"data")]).unwrap();
    drop(held);
    let Completion::Oids(answer) = inbox.answer(ticket) else { panic!("oids were asked for") };
    assert_eq!(answer, Ok((high + 1..=high + 10).map(Oid).collect()));
}

#[test]
fn after_close_no_oid_is_handed_out() {
    let disk = SimDisk::new();
    let storage = on(&disk);
    let inbox = Inbox::new();
    assert_eq!(inbox.new_oids(&*storage, 1), Ok(vec![Oid(1)]));
    storage.close();
    says(inbox.new_oids(&*storage, 1), "the storage is closed");
    drop(storage);
    assert_eq!(inbox.new_oids(&*on(&disk), 1), Ok(vec![Oid(2)]));
}
