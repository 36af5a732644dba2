//! Packs beside commits, at moments that chance would hardly find.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use protocol::{Oid, Tid};
use storage::{Mailbox, Wake, Which};
use testkit::{Change, Inbox, SimDisk};

use crate::pack;
use crate::support::{self, small};

/// Stops whoever wakes its connection, while it is shut.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    is_shut: bool,
    stopped: usize,
}

impl Gate {
    fn set_shut(&self, is_shut: bool) {
        self.state.lock().unwrap().is_shut = is_shut;
        self.changed.notify_all();
    }

    fn wait_until_somebody_stops(&self) {
        let state = self.state.lock().unwrap();
        let nobody = |state: &mut GateState| state.stopped == 0;
        let (_state, wait) = self.changed.wait_timeout_while(state, PATIENCE, nobody).unwrap();
        assert!(!wait.timed_out(), "nobody wakes the connection");
    }
}

impl Wake for Gate {
    fn wake(&self) {
        let mut state = self.state.lock().unwrap();
        state.stopped += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| state.is_shut).unwrap());
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < deadline, "{what} does not come about");
        thread::yield_now();
    }
}

/// A transaction is in the log some time before it is in the index. A pack that moves it in between
/// must not leave the index with the old place.
#[test]
fn a_transaction_that_is_being_published_is_found_after_a_pack_that_moves_it() {
    for round in 0..10 {
        let disk = SimDisk::new();
        let storage = support::open(&disk, small()).unwrap();
        let inbox = Inbox::new();
        let first = inbox.commit(&*storage, &[(Oid(1), Tid::ZERO, b"old")]).unwrap();
        inbox.commit(&*storage, &[(Oid(1), first, b"new")]).unwrap();
        let gate = Arc::new(Gate::default());
        let mailbox = Mailbox::new(1 << 20, Arc::clone(&gate) as Arc<dyn Wake>);
        storage.subscribe(&mailbox);

        // A pack that drops nothing, whose end is told: this holds up all that is to be published.
        gate.set_shut(true);
        storage.pack(first, inbox.reply_to());
        gate.wait_until_somebody_stops();
        let written = storage.extent().bytes;
        let mut transaction = storage.begin(support::meta());
        transaction.store(Oid(2), Tid::ZERO, "late".into()).unwrap();
        inbox.vote(&mut *transaction).unwrap();
        let finish = inbox.reply_to();
        let ticket = finish.ticket;
        transaction.finish(finish).unwrap();
        wait_for("the append", || storage.extent().bytes > written);
        // This one rewrites the segment.
        let reply = inbox.reply_to();
        let packed = reply.ticket;
        storage.pack(Tid::MAX, reply);
        let renamed = |change: &Change| matches!(change, Change::Rename { to } if to.ends_with("00000001.log"));
        wait_for("the new segment", || disk.ops().iter().any(|op| renamed(&op.change)));
        gate.set_shut(false);

        let tid = inbox.finished(ticket).0.unwrap();
        inbox.answer(packed);
        let loaded = inbox.load(&*storage, Oid(2), Which::Before(Tid::MAX));
        let loaded = loaded.unwrap_or_else(|failure| panic!("round {round}: {failure}")).unwrap();
        assert_eq!((&loaded.data[..], loaded.tid), (&b"late"[..], tid));
        storage.unsubscribe(&mailbox);
    }
}

/// An oid that is known only because something of it was stored is known after that was dropped, too.
#[test]
fn oids_of_what_was_dropped_are_not_handed_out() {
    const HIGH: Oid = Oid(1 << 30);
    let disk = SimDisk::new();
    let storage = support::open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    inbox.new_oids(&*storage, 1).unwrap();
    let tid = inbox.commit(&*storage, &[(HIGH, Tid::ZERO, b"from elsewhere")]).unwrap();
    let mut transaction = storage.begin(support::meta());
    transaction.delete(HIGH, tid).unwrap();
    inbox.vote(&mut *transaction).unwrap();
    inbox.finish(&mut *transaction).unwrap();
    pack(&inbox, &*storage, Tid::MAX).unwrap();
    assert_eq!(storage.extent().objects, 0);
    let killed = support::copy(&disk);
    let storage = support::open(&killed, small()).unwrap();
    let fresh = inbox.new_oids(&*storage, 100).unwrap();
    assert!(fresh.iter().all(|oid| *oid > HIGH), "{fresh:?}");
}
