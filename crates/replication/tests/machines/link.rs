//! A primary's end.

use bytes::Bytes;
use protocol::{Oid, Tid};
use replication::limits::UNSENT_BYTES_MAX;
use replication::primary::{Action, Event, Fed, Found, Settings};
use replication::{
    Ack, EpochStart, Head, Hello, History, Item, Link, Reason, Refusal, Standing, ToPrimary,
    ToSecondary,
};

use super::*;

fn link() -> Link {
    let settings =
        Settings { node: "p".to_owned(), software: "s".to_owned(), alive_interval: INTERVAL };
    Link::new(settings, seconds(0))
}

fn hello(history: History, position: Position) -> Hello {
    Hello {
        oldest_version: 1,
        newest_version: 1,
        storage: "1".to_owned(),
        node: "n".to_owned(),
        highest: history.last(),
        history,
        position,
        wants_blobs: true,
        software: "s".to_owned(),
    }
}

/// A primary of two epochs, the second one after 50, with transactions up to 100.
fn found(digest: Option<u64>) -> Found {
    let mut standing = Standing::follow();
    standing.adopt(history(&[]));
    standing.promote(at(50), epoch(2).unique, false).unwrap();
    Found { standing, position: at(100), packed_to: Tid(0), digest }
}

fn actions(link: &mut Link, now: Now) -> Vec<Action> {
    std::iter::from_fn(|| link.poll(0, now)).collect()
}

/// What a primary says to `hello`.
fn answer(hello: Hello, found: Found) -> Vec<Action> {
    let mut link = link();
    link.handle(Event::Message(ToPrimary::Hello(hello)), seconds(0));
    let tid = |action: &Action| matches!(action, Action::Find { .. });
    assert!(actions(&mut link, seconds(0)).iter().all(tid));
    link.handle(Event::Found(found), seconds(0));
    let mut answer = Vec::new();
    while let Some(action) = link.poll(0, seconds(0)).filter(|action| *action != Action::Next) {
        answer.push(action);
    }
    answer
}

fn refusal(actions: &[Action]) -> &Refusal {
    match actions {
        [.., Action::Send(ToSecondary::Refusal(refusal)), Action::End(_)] => refusal,
        _ => panic!("a refusal: {actions:?}"),
    }
}

/// A link to a secondary that has all up to 40.
fn streaming() -> Link {
    let mut link = link();
    let hello = hello(history(&[]), at(40));
    link.handle(Event::Message(ToPrimary::Hello(hello)), seconds(0));
    link.handle(Event::Found(found(Some(at(40).digest))), seconds(0));
    for _ in 0..4 {
        assert_ne!(link.poll(0, seconds(0)), Some(Action::Next));
    }
    link
}

/// Feeds items until there is nothing more to be read, and returns what was sent.
fn feed(link: &mut Link, items: &[Item]) -> Vec<Action> {
    let mut items = items.iter();
    let mut others = Vec::new();
    while let Some(action) = link.poll(0, seconds(0)) {
        if action == Action::Next {
            let fed = items.next().map_or(Fed::AtEnd, |item| Fed::Item(item.clone()));
            link.handle(Event::Fed(fed), seconds(0));
        } else {
            others.push(action);
        }
    }
    others
}

#[test]
fn a_prefix_is_welcome_and_counts_from_where_it_is() {
    let answer = answer(hello(history(&[]), at(40)), found(Some(at(40).digest)));
    let [
        Action::Send(ToSecondary::Welcome(welcome)),
        Action::Feed { after },
        Action::Joined { node, tid },
    ] = &answer[..]
    else {
        panic!("{answer:?}")
    };
    assert_eq!((&welcome.history, welcome.position), (&history(&[50]), at(100)));
    assert_eq!((*after, node.as_str(), *tid), (Tid(40), "n", Tid(40)));
}

#[test]
fn another_history_is_refused_with_the_last_common_transaction() {
    let answer = answer(hello(history(&[]), at(70)), found(None));
    let refusal = refusal(&answer);
    assert_eq!((refusal.reason, refusal.common), (Reason::Diverged, Some(at(50))));
}

#[test]
fn who_has_more_than_a_primary_has_diverged_and_who_has_more_than_a_secondary_waits() {
    let ahead = || hello(history(&[50]), at(101));
    let told = answer(ahead(), found(None));
    let refused = refusal(&told);
    assert_eq!((refused.reason, refused.common), (Reason::Diverged, Some(at(100))));
    let secondary = || {
        let mut found = found(None);
        found.standing.rejoin(Tid(100));
        found
    };
    assert_eq!(refusal(&answer(ahead(), secondary())).reason, Reason::Behind);
    // It has more than the beginning of the next epoch, which is not told to be set aside.
    let mut with_tail = secondary();
    assert!(with_tail.standing.hear(epoch(3)));
    let next = hello(history(&[50, 90]), at(95));
    assert_eq!(refusal(&answer(next, with_tail)).reason, Reason::Behind);
}

#[test]
fn a_hello_of_a_higher_epoch_fences_before_it_is_refused() {
    let answer = answer(hello(history(&[50, 100]), at(100)), found(Some(at(100).digest)));
    assert_eq!(answer[0], Action::Heard(epoch(3)));
    let refusal = refusal(&answer);
    assert_eq!((refusal.reason, refusal.highest), (Reason::Fenced, Some(epoch(3))));
}

#[test]
fn a_fenced_primary_serves_nobody() {
    let mut fenced = found(Some(at(40).digest));
    assert!(fenced.standing.hear(epoch(9)));
    let answer = answer(hello(history(&[]), at(40)), fenced);
    assert_eq!(refusal(&answer).reason, Reason::Fenced);
}

#[test]
fn what_was_packed_makes_a_copy_begin_from_nothing() {
    let packed = || Found { packed_to: Tid(60), ..found(None) };
    let told = answer(hello(history(&[]), at(40)), packed());
    assert_eq!(refusal(&told).reason, Reason::Packed);
    let told = answer(hello(History::default(), Position::default()), packed());
    assert!(matches!(told[0], Action::Send(ToSecondary::Welcome(_))));

    let mut link = streaming();
    link.handle(Event::Fed(Fed::Packed), seconds(0));
    let told = actions(&mut link, seconds(0));
    assert_eq!(refusal(&told).reason, Reason::Packed);
}

#[test]
fn another_version_and_a_message_out_of_order_are_refused() {
    let (mut link, mut early) = (link(), link());
    let newer = Hello { oldest_version: 2, newest_version: 3, ..hello(history(&[]), at(1)) };
    link.handle(Event::Message(ToPrimary::Hello(newer)), seconds(0));
    assert_eq!(refusal(&actions(&mut link, seconds(0))).reason, Reason::Version);
    early.handle(Event::Message(ToPrimary::Alive), seconds(0));
    assert_eq!(refusal(&actions(&mut early, seconds(0))).reason, Reason::Malformed);
}

#[test]
fn an_epoch_is_told_between_the_transactions_that_it_is_between() {
    let mut link = streaming();
    let items = [begin(50), end(50), begin(60), end(60)];
    let sent = feed(&mut link, &items);
    let batch = |items: &[Item]| Action::Send(ToSecondary::Batch(items.to_vec()));
    let start = history(&[50]).starts()[1];
    let epoch = Action::Send(ToSecondary::EpochStarts(start));
    assert_eq!(sent, [batch(&items[..2]), epoch, batch(&items[2..])]);
}

#[test]
fn a_promotion_is_told_when_all_before_it_was_sent() {
    let mut link = streaming();
    feed(&mut link, &[begin(60), end(60)]);
    let start = EpochStart { epoch: epoch(3), base: at(60) };
    link.handle(Event::EpochStarts(start), seconds(0));
    assert_eq!(feed(&mut link, &[]), [Action::Send(ToSecondary::EpochStarts(start))]);
}

#[test]
fn nothing_is_read_while_the_connection_has_no_room() {
    let mut link = streaming();
    assert_eq!(link.poll(UNSENT_BYTES_MAX, seconds(0)), None);
    assert_eq!(link.poll(UNSENT_BYTES_MAX - 1, seconds(0)), Some(Action::Next));
}

#[test]
fn at_the_end_of_the_log_it_waits_for_more() {
    let mut link = streaming();
    link.handle(Event::Fed(Fed::AtEnd), seconds(0));
    assert_eq!(actions(&mut link, seconds(0)), []);
    link.handle(Event::Appended(Head::default()), seconds(0));
    assert_eq!(link.poll(0, seconds(0)), Some(Action::Next));
}

#[test]
fn batches_have_a_mebibyte_and_larger_records_their_own() {
    let mut link = streaming();
    let items = [
        begin(60),
        record(700_000, false),
        record(700_000, false),
        record(5 << 20, false),
        end(60),
    ];
    let sizes: Vec<usize> = feed(&mut link, &items)
        .iter()
        .filter_map(|action| match action {
            Action::Send(ToSecondary::Batch(items)) => Some(items.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [2, 1, 1, 1]);
}

#[test]
fn a_blob_comes_right_after_its_record() {
    let mut link = streaming();
    feed(&mut link, &[begin(60)]);
    link.handle(Event::Appended(Head::default()), seconds(0));
    assert_eq!(link.poll(0, seconds(0)), Some(Action::Next));
    link.handle(Event::Fed(Fed::Item(record(1, true))), seconds(0));
    let mut next = || link.poll(0, seconds(0)).unwrap();
    assert!(matches!(next(), Action::Send(ToSecondary::Batch(_))));
    let read = |offset| Action::ReadBlob { oid: Oid(1), tid: Tid(60), offset };
    assert_eq!(next(), read(0));
    link.handle(Event::BlobRead(Bytes::from("blob")), seconds(0));
    let mut next = || link.poll(0, seconds(0)).unwrap();
    assert_eq!(next(), Action::Send(ToSecondary::BlobStart(Oid(1))));
    assert_eq!(next(), Action::Send(ToSecondary::BlobPart(Bytes::from("blob"))));
    assert_eq!(next(), read(4));
    link.handle(Event::BlobRead(Bytes::new()), seconds(0));
    let mut next = || link.poll(0, seconds(0)).unwrap();
    assert_eq!(next(), Action::Send(ToSecondary::BlobEnd { bytes: 4 }));
    assert_eq!(next(), Action::Next);
}

#[test]
fn a_blob_that_a_pack_has_dropped_is_told_in_its_place() {
    let mut link = streaming();
    feed(&mut link, &[begin(60)]);
    link.handle(Event::Appended(Head::default()), seconds(0));
    link.handle(Event::Fed(Fed::Item(record(0, true))), seconds(0));
    link.handle(Event::BlobGone, seconds(0));
    let told = feed(&mut link, &[]);
    assert_eq!(told[1..], [Action::Send(ToSecondary::BlobGone(Oid(1)))]);
}

#[test]
fn a_blob_that_is_missing_ends_the_link_with_what_is_wrong() {
    let mut link = streaming();
    feed(&mut link, &[begin(60)]);
    link.handle(Event::Appended(Head::default()), seconds(0));
    link.handle(Event::Fed(Fed::Item(record(1, true))), seconds(0));
    link.handle(Event::BlobFailed("the file is gone".to_owned()), seconds(0));
    let told = actions(&mut link, seconds(0));
    assert_eq!(refusal(&told).text, "the file is gone");
}

#[test]
fn acknowledgements_count_within_what_was_sent() {
    let mut link = streaming();
    feed(&mut link, &[begin(60), end(60)]);
    let ack = |tid| Event::Message(ToPrimary::Ack(Ack { tid: Tid(tid), highest: Some(epoch(2)) }));
    link.handle(ack(60), seconds(0));
    assert_eq!(actions(&mut link, seconds(0)), [Action::Acked(Tid(60))]);
    link.handle(ack(61), seconds(0));
    assert_eq!(refusal(&actions(&mut link, seconds(0))).reason, Reason::Malformed);
}

#[test]
fn an_acknowledgement_that_knows_a_higher_epoch_fences_and_does_not_count() {
    let mut link = streaming();
    let ack = Ack { tid: Tid(40), highest: Some(epoch(3)) };
    link.handle(Event::Message(ToPrimary::Ack(ack)), seconds(0));
    let told = actions(&mut link, seconds(0));
    assert_eq!(told[0], Action::Heard(epoch(3)));
    assert_eq!(refusal(&told).reason, Reason::Fenced);
    assert!(!told.iter().any(|action| matches!(action, Action::Acked(_))));
}

#[test]
fn a_silent_link_says_that_it_lives_and_dies_after_four_intervals() {
    let mut link = streaming();
    feed(&mut link, &[]);
    assert_eq!(link.deadline(), INTERVAL);
    let head = Head { position: at(100), clock: seconds(5).unix, backlog_bytes: 0 };
    let alive = actions(&mut link, seconds(5));
    assert_eq!(alive, [Action::Send(ToSecondary::Alive(head))]);
    link.handle(Event::Received, seconds(10));
    for second in [15, 20, 25] {
        assert!(matches!(actions(&mut link, seconds(second))[..], [Action::Send(_)]));
    }
    assert!(matches!(actions(&mut link, seconds(30))[..], [Action::End(_)]));
    assert_eq!(actions(&mut link, seconds(99)), []);
}

#[test]
fn who_connects_and_says_nothing_is_given_up() {
    let mut link = link();
    assert_eq!(link.deadline(), 4 * INTERVAL);
    assert_eq!(actions(&mut link, seconds(19)), []);
    assert!(matches!(actions(&mut link, seconds(20))[..], [Action::End(_)]));
}
