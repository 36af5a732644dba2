//! Packs of the one that is followed, before and while it is.

use protocol::{Failure, Oid, Tid};
use storage::replica::{Role, Step};
use storage::{Completion, Storage, Which};
use testkit::{Inbox, SimDisk};

use crate::{content, replica, secondary, step, support, write_some};

fn pack(storage: &dyn Storage, inbox: &Inbox, before: Tid) {
    let packed = inbox.ask(|reply| storage.pack(before, reply));
    assert!(matches!(packed, Completion::Packed(Ok(()))), "{packed:?}");
}

/// What was packed is copied from the beginning, and nobody sees a part of it.
#[test]
fn a_packed_storage_is_copied_to_an_empty_one() {
    let (from_disk, to_disk) = (SimDisk::new(), SimDisk::new());
    let from = support::open(&from_disk, support::small()).unwrap();
    let inbox = Inbox::new();
    for base in [0, 10, 20] {
        write_some(&*from, &inbox, base);
    }
    let packed_to = replica(&from).position().tid;
    pack(&*from, &inbox, packed_to);
    write_some(&*from, &inbox, 30);
    let (mut to_disk_now, mut copied) = (to_disk, 0);
    // As if it were interrupted after each transaction.
    loop {
        let to = secondary(&to_disk_now);
        let (source, target) = (replica(&from), replica(&to));
        let mut feed = source.feed(Tid::ZERO).unwrap().unwrap();
        assert_eq!(feed.packed_to(), packed_to);
        if target.role() == Role::Secondary && target.position().tid == Tid::ZERO {
            target.begin_copy(packed_to).unwrap();
        }
        let was = target.position().tid;
        let mut incoming = target.incoming();
        let goes_on = loop {
            match feed.next().unwrap() {
                Step::Begin(head) if head.tid <= was => while !is_end(&feed.next().unwrap()) {},
                Step::Begin(head) => {
                    incoming.begin(head).unwrap();
                    break true;
                }
                _ => break false,
            }
        };
        if !goes_on {
            break;
        }
        step(&mut feed, &mut incoming).unwrap();
        incoming.apply().unwrap();
        copied += 1;
        let is_whole = target.position().tid >= packed_to;
        assert_eq!(target.role(), if is_whole { Role::Secondary } else { Role::Copying });
        if !is_whole {
            assert!(matches!(target.set_role(Role::Primary), Err(Failure::Storage(_))));
            assert!(target.begin_copy(packed_to).is_err());
            let refused = inbox.ask(|reply| to.pack(packed_to, reply));
            assert!(matches!(refused, Completion::Packed(Err(_))), "{refused:?}");
        }
        drop((feed, incoming, source, target, to));
        to_disk_now = support::copy(&to_disk_now);
    }
    assert!(copied > 5);
    assert_eq!(content(&from_disk), content(&to_disk_now));
    let to = secondary(&to_disk_now);
    assert_eq!(replica(&to).position(), replica(&from).position());
    assert_eq!(replica(&to).packed_to(), packed_to);
    // Also as of times before the pack.
    for which in [packed_to, Tid(packed_to.0 - 1), Tid::MAX].map(Which::Before) {
        for oid in (1..40).map(Oid) {
            let [copied, original] = [&to, &from].map(|storage| inbox.load(&**storage, oid, which));
            assert_eq!(copied, original, "{oid} {which:?}");
        }
    }
}

fn is_end(step: &Step) -> bool {
    matches!(step, Step::End(_))
}

#[test]
fn who_is_behind_a_pack_cannot_go_on() {
    for storage in [
        support::open(&SimDisk::new(), support::small()).unwrap(),
        support::in_memory(support::small()),
    ] {
        let inbox = Inbox::new();
        let behind = write_some(&*storage, &inbox, 0);
        let packed_to = write_some(&*storage, &inbox, 10);
        pack(&*storage, &inbox, packed_to);
        let replica = replica(&storage);
        assert!(replica.feed(behind).unwrap().is_none());
        assert!(replica.feed(packed_to).unwrap().is_some());
        assert!(replica.feed(Tid::ZERO).unwrap().is_some());
        assert_eq!(replica.feed(packed_to).unwrap().unwrap().next().unwrap(), Step::AtEnd);
    }
}

/// A feed of segments that are packed meanwhile tells what was in them. One of a log in memory says
/// that it cannot.
#[test]
fn a_pack_goes_by_under_a_feed() {
    let disk = SimDisk::new();
    for (storage, is_held) in [
        (support::open(&disk, support::small()).unwrap(), true),
        (support::in_memory(support::small()), false),
    ] {
        let inbox = Inbox::new();
        for base in [0, 10, 20] {
            write_some(&*storage, &inbox, base);
        }
        let replica = replica(&storage);
        let mut feed = replica.feed(Tid::ZERO).unwrap().unwrap();
        assert!(matches!(feed.next().unwrap(), Step::Begin(_)));
        pack(&*storage, &inbox, replica.position().tid);
        assert_eq!(replica.feed(Tid::ZERO).unwrap().unwrap().packed_to(), replica.position().tid);
        let mut ends = 0;
        let held = loop {
            match feed.next().unwrap() {
                Step::End(_) => ends += 1,
                Step::AtEnd => break true,
                Step::Packed => break false,
                Step::Begin(_) | Step::Record(_) => {}
            }
        };
        assert_eq!((held, ends), if is_held { (true, 15) } else { (false, 0) });
        if is_held {
            // What comes after that is told by the log as it is now.
            write_some(&*storage, &inbox, 30);
            assert!(matches!(feed.next().unwrap(), Step::Begin(_)));
        }
    }
}
