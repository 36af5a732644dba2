//! Limits of a mailbox.

use std::sync::atomic::AtomicUsize;

use super::*;

#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn mailbox() -> (Arc<Mailbox>, Arc<Calls>) {
    let calls = Arc::new(Calls::default());
    (Mailbox::new(LIMIT_BYTES, calls.clone()), calls)
}

fn invalidation(oids: u64) -> Event {
    Event::Invalidated(Invalidation { tid: Tid(1), oids: (0..oids).map(Oid).collect() })
}

fn drain(mailbox: &Mailbox) -> Result<usize, Cut> {
    let mut events = VecDeque::new();
    mailbox.drain(&mut events).map(|()| events.len())
}

#[test]
fn one_event_of_any_size_fits_and_the_next_one_does_not() {
    let (mailbox, calls) = mailbox();
    for _ in 0..2 {
        mailbox.push([invalidation(LIMIT_BYTES as u64)]);
        assert_eq!(drain(&mailbox), Ok(1));
    }
    assert_eq!(calls.0.load(Ordering::Relaxed), 2);
    mailbox.push([invalidation(LIMIT_BYTES as u64)]);
    assert_eq!(mailbox.why_cut(), None);
    mailbox.push([invalidation(0)]);
    assert_eq!(drain(&mailbox), Err(OVERFLOWED));
    assert_eq!(calls.0.load(Ordering::Relaxed), 4, "the overflow is told as well");
}

#[test]
fn small_events_count_until_they_are_drained() {
    let (mailbox, _calls) = mailbox();
    for _ in 0..100 {
        mailbox.push([invalidation(1), invalidation(1)]);
        assert_eq!(drain(&mailbox), Ok(2));
    }
    mailbox.push((0..100).map(|_| invalidation(1)));
    assert_eq!(mailbox.why_cut(), Some(OVERFLOWED));
    assert_eq!(mailbox.waiting_bytes(), 0);
}

#[test]
fn what_is_cut_takes_nothing_and_says_why() {
    let (mailbox, calls) = mailbox();
    mailbox.push([invalidation(1)]);
    let timed_out = Cut::TimedOut { after: Duration::from_secs(5) };
    mailbox.cut(timed_out);
    assert_eq!(calls.0.load(Ordering::Relaxed), 2);
    mailbox.push((0..100).map(|_| invalidation(1)));
    assert_eq!(drain(&mailbox), Err(timed_out));
    assert_eq!(timed_out.to_string(), "Transaction timeout after 5 seconds");
}

#[test]
fn answers_do_not_count() {
    let (mailbox, _calls) = mailbox();
    let reply = ReplyTo { mailbox: Arc::clone(&mailbox), ticket: Ticket(1) };
    for _ in 0..128 {
        let data = vec![7; LIMIT_BYTES];
        let loaded = Loaded { data, tid: Tid(1), end: None };
        reply.send(Completion::Loaded(Ok(Some(loaded))));
    }
    assert_eq!(drain(&mailbox), Ok(128));
}

#[test]
fn the_memory_of_many_events_is_not_kept() {
    let (mailbox, _calls) = mailbox();
    mailbox.attach(Arc::default());
    mailbox.push((0..1000).map(|_| Event::Completed {
        ticket: Ticket(1),
        completion: Completion::Finished(Ok(Tid(1))),
    }));
    assert_eq!(drain(&mailbox), Ok(1000));
    assert_eq!(mailbox.lock().events.capacity(), 0);
}

const LIMIT_BYTES: usize = 1000;
const OVERFLOWED: Cut = Cut::Overflowed { limit_bytes: LIMIT_BYTES };
