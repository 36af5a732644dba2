//! A secondary's end.

use std::time::Duration;

use bytes::Bytes;
use protocol::{Oid, Tid};
use replication::limits::TAKEN_BYTES_MAX;
use replication::secondary::{Action, Ended, Event, NotApplied, Purpose, Settings, Stopped};
use replication::{
    Ack, EpochStart, Follower, Head, History, Item, Reason, Refusal, Standing, ToPrimary,
    ToSecondary, Welcome,
};

use super::*;

const NOW: Duration = Duration::from_secs(100);

fn settings(purpose: Purpose) -> Settings {
    Settings {
        purpose,
        storage: "1".to_owned(),
        node: "n".to_owned(),
        software: "s".to_owned(),
        wants_blobs: true,
        alive_interval: INTERVAL,
    }
}

/// Of a storage with one epoch and all up to 40, that has heard of the second one.
fn follower(purpose: Purpose) -> Follower {
    let mut standing = Standing::follow();
    standing.adopt(history(&[]));
    assert!(standing.hear(epoch(2)));
    Follower::new(settings(purpose), &standing, at(40), NOW)
}

fn actions(follower: &mut Follower) -> Vec<Action> {
    std::iter::from_fn(|| follower.poll(NOW)).collect()
}

fn say(follower: &mut Follower, message: ToSecondary) -> Vec<Action> {
    follower.handle(Event::Message(message), NOW);
    actions(follower)
}

fn greeted(purpose: Purpose) -> Follower {
    let mut follower = follower(purpose);
    assert_eq!(actions(&mut follower), [Action::Connect]);
    follower.handle(Event::Connected, NOW);
    let [Action::Send(ToPrimary::Hello(hello))] = &actions(&mut follower)[..] else {
        panic!("a hello")
    };
    assert_eq!((hello.position, hello.highest), (at(40), Some(epoch(2))));
    follower
}

fn welcome(history: History, position: Position) -> ToSecondary {
    ToSecondary::Welcome(Welcome {
        version: 1,
        history,
        position,
        packed_to: Tid(0),
        node: "p".to_owned(),
        software: "s".to_owned(),
    })
}

fn following() -> Follower {
    let mut follower = greeted(Purpose::Follow);
    let welcome = welcome(history(&[50]), at(100));
    assert_eq!(say(&mut follower, welcome), [Action::Receive { packed_to: Tid::ZERO }]);
    follower
}

fn batch(items: &[Item]) -> ToSecondary {
    ToSecondary::Batch(items.to_vec())
}

fn take(items: &[Item]) -> Action {
    Action::Take(items.to_vec())
}

/// What a refusal said, and how the connection ended.
fn refused(actions: &[Action]) -> (Reason, &Ended) {
    match actions {
        [.., Action::Send(ToPrimary::Refusal(refusal)), Action::Close(ended)] => {
            (refusal.reason, ended)
        }
        _ => panic!("a refusal: {actions:?}"),
    }
}

#[test]
fn what_is_whole_is_applied_at_once_and_then_acknowledged() {
    let mut follower = following();
    let items = [begin(45), record(1, false), end(45), begin(48)];
    assert_eq!(say(&mut follower, batch(&items)), [take(&items), Action::Apply]);
    // Until that is done, nothing goes on.
    let rest = [end(48)];
    assert_eq!(say(&mut follower, batch(&rest)), []);
    follower.handle(Event::Applied(at(45)), NOW);
    let ack = |tid| Action::Send(ToPrimary::Ack(Ack { tid: Tid(tid), highest: Some(epoch(2)) }));
    assert_eq!(actions(&mut follower), [ack(45), take(&rest), Action::Apply]);
    follower.handle(Event::Applied(at(48)), NOW);
    assert_eq!(actions(&mut follower), [ack(48)]);
}

#[test]
fn what_has_come_together_is_applied_together_up_to_a_bound() {
    let mut follower = following();
    let long = |tid| [begin(tid), record(TAKEN_BYTES_MAX / 2, false), end(tid)];
    for tid in 41..=43 {
        assert!(follower.wants_input() || tid == 43);
        follower.handle(Event::Message(batch(&long(tid))), NOW);
    }
    assert!(!follower.wants_input());
    assert_eq!(actions(&mut follower), [take(&long(41)), take(&long(42)), Action::Apply]);
    assert!(follower.wants_input());
}

#[test]
fn an_epoch_is_adopted_when_all_before_it_is_applied() {
    let mut follower = following();
    let items = [begin(50), end(50)];
    follower.handle(Event::Message(batch(&items)), NOW);
    let start = history(&[50]).starts()[1];
    follower.handle(Event::Message(ToSecondary::EpochStarts(start)), NOW);
    assert_eq!(actions(&mut follower), [take(&items), Action::Apply]);
    follower.handle(Event::Applied(at(50)), NOW);
    let told = actions(&mut follower);
    assert_eq!(told[1..], [Action::Adopt { history: history(&[50]), start: Some(start) }]);
    assert_eq!(say(&mut follower, batch(&[begin(51)])), []);
    follower.handle(Event::Adopted, NOW);
    assert_eq!(actions(&mut follower), [take(&[begin(51)])]);
}

#[test]
fn an_epoch_that_the_primary_does_not_have_is_forgotten_before_anything_is_applied() {
    let mut standing = Standing::follow();
    standing.adopt(history(&[40]));
    let mut follower = Follower::new(settings(Purpose::Follow), &standing, at(40), NOW);
    follower.poll(NOW);
    follower.handle(Event::Connected, NOW);
    follower.poll(NOW);
    let third = EpochStart { epoch: epoch(3), base: at(50) };
    let mut theirs = history(&[]);
    theirs.push(third).unwrap();
    let forget = Action::Adopt { history: history(&[]), start: None };
    let told = say(&mut follower, welcome(theirs, at(100)));
    assert_eq!(told, [Action::Heard(epoch(3)), Action::Receive { packed_to: Tid::ZERO }, forget]);
    let items = [begin(41), end(41)];
    assert_eq!(say(&mut follower, batch(&items)), []);
    follower.handle(Event::Adopted, NOW);
    assert_eq!(actions(&mut follower), [take(&items), Action::Apply]);
}

#[test]
fn an_epoch_that_begins_elsewhere_is_another_history() {
    for base in [at(41), Position { digest: 1, ..at(40) }] {
        let mut follower = following();
        let start = EpochStart { epoch: epoch(2), base };
        let told = say(&mut follower, ToSecondary::EpochStarts(start));
        let (reason, ended) = refused(&told);
        assert_eq!(reason, Reason::Diverged);
        assert!(matches!(ended, Ended::Stopped(Stopped::Refused(_))));
    }
}

#[test]
fn a_primary_of_a_lower_epoch_is_told_so_and_not_followed() {
    let mut follower = greeted(Purpose::Follow);
    let told = say(&mut follower, welcome(history(&[]), at(100)));
    let [Action::Send(ToPrimary::Refusal(refusal)), Action::Close(Ended::Retries(_))] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((refusal.reason, refusal.highest), (Reason::Fenced, Some(epoch(2))));
}

#[test]
fn an_epoch_heard_of_elsewhere_ends_a_link_to_a_lower_one() {
    let mut follower = following();
    follower.handle(Event::Heard(epoch(2)), NOW);
    assert_eq!(actions(&mut follower), []);
    follower.handle(Event::Heard(epoch(3)), NOW);
    assert_eq!(refused(&actions(&mut follower)).0, Reason::Fenced);
}

#[test]
fn a_higher_epoch_is_saved_before_anything_of_it_is_taken() {
    let mut follower = greeted(Purpose::Follow);
    let told = say(&mut follower, welcome(history(&[50, 60]), at(100)));
    assert_eq!(told, [Action::Heard(epoch(3)), Action::Receive { packed_to: Tid::ZERO }]);
}

#[test]
fn a_primary_that_has_less_has_diverged() {
    let mut follower = greeted(Purpose::Follow);
    let told = say(&mut follower, welcome(history(&[30]), at(39)));
    assert_eq!(refused(&told).0, Reason::Diverged);
}

#[test]
fn a_wrong_digest_stops_it_and_a_full_disk_does_not() {
    let whole = [begin(45), end(45)];
    for (failure, reason, stops) in [
        (NotApplied::Diverged("digest".to_owned()), Reason::Diverged, true),
        (NotApplied::Failed("no space".to_owned()), Reason::CannotServe, false),
    ] {
        let mut follower = following();
        say(&mut follower, batch(&whole));
        follower.handle(Event::NotApplied(failure), NOW);
        let told = actions(&mut follower);
        let (said, ended) = refused(&told);
        assert_eq!((said, matches!(ended, Ended::Stopped(_))), (reason, stops));
        follower.handle(Event::Disconnected { random: 0 }, NOW);
        assert_eq!(follower.deadline().is_none(), stops);
    }
}

#[test]
fn what_is_out_of_order_is_refused() {
    let blob = || ToSecondary::BlobStart(Oid(1));
    for wrong in [
        vec![batch(&[begin(40)])],
        vec![batch(&[record(1, false)])],
        vec![batch(&[end(41)])],
        vec![batch(&[begin(41), begin(42)])],
        vec![batch(&[begin(41), record(1, true), end(41)])],
        vec![batch(&[begin(41), record(1, false)]), blob()],
        vec![batch(&[begin(41), record(1, true)]), ToSecondary::BlobStart(Oid(2))],
        vec![batch(&[begin(41), record(1, true)]), blob(), ToSecondary::BlobEnd { bytes: 1 }],
        vec![ToSecondary::BlobPart(Bytes::from("x"))],
        vec![batch(&[begin(41)]), ToSecondary::EpochStarts(history(&[50]).starts()[1])],
        vec![welcome(history(&[50]), at(100))],
    ] {
        let mut follower = following();
        for message in wrong.clone() {
            follower.handle(Event::Message(message), NOW);
        }
        assert_eq!(refused(&actions(&mut follower)).0, Reason::Malformed, "{wrong:?}");
    }
}

#[test]
fn a_blob_is_handed_on_part_by_part() {
    let mut follower = following();
    let items = [begin(41), record(1, true)];
    say(&mut follower, batch(&items));
    assert_eq!(say(&mut follower, ToSecondary::BlobStart(Oid(1))), [Action::BlobStart(Oid(1))]);
    let part = Bytes::from("part");
    let told = say(&mut follower, ToSecondary::BlobPart(part.clone()));
    assert_eq!(told, [Action::BlobPart(part)]);
    assert_eq!(say(&mut follower, ToSecondary::BlobEnd { bytes: 4 }), [Action::BlobEnd]);
    let told = say(&mut follower, batch(&[end(41)]));
    assert_eq!(told, [take(&[end(41)]), Action::Apply]);
}

#[test]
fn a_blob_that_a_pack_has_dropped_is_not_waited_for() {
    let mut follower = following();
    say(&mut follower, batch(&[begin(41), record(1, true)]));
    assert_eq!(say(&mut follower, ToSecondary::BlobGone(Oid(1))), []);
    let told = say(&mut follower, batch(&[end(41)]));
    assert_eq!(told, [take(&[end(41)]), Action::Apply]);
}

#[test]
fn only_a_copy_that_begins_with_nothing_is_told_what_may_be_missing() {
    for (has, missing) in [(Position::default(), Tid(30)), (at(40), Tid::ZERO)] {
        let mut follower = Follower::new(settings(Purpose::Follow), &Standing::follow(), has, NOW);
        follower.poll(NOW);
        follower.handle(Event::Connected, NOW);
        follower.poll(NOW);
        let ToSecondary::Welcome(welcome) = welcome(History::default(), at(100)) else {
            panic!("a welcome")
        };
        let welcome = Welcome { packed_to: Tid(30), ..welcome };
        let told = say(&mut follower, ToSecondary::Welcome(welcome));
        assert_eq!(told, [Action::Receive { packed_to: missing }]);
    }
}

#[test]
fn tries_come_at_growing_intervals_until_a_link_has_worked() {
    let mut follower = follower(Purpose::Follow);
    let mut waits = Vec::new();
    for _ in 0..3 {
        follower.poll(follower.deadline().unwrap());
        follower.handle(Event::Disconnected { random: 0 }, NOW);
        waits.push(follower.deadline().unwrap() - NOW);
    }
    assert_eq!(waits, [100, 200, 400].map(Duration::from_millis));
    follower.poll(follower.deadline().unwrap());
    follower.handle(Event::Connected, NOW);
    say(&mut follower, welcome(history(&[50]), at(100)));
    say(&mut follower, ToSecondary::Alive(Head::default()));
    follower.handle(Event::Disconnected { random: 0 }, NOW);
    assert_eq!(follower.deadline(), Some(NOW + Duration::from_millis(100)));
}

#[test]
fn what_was_taken_and_not_applied_is_asked_for_again() {
    let mut follower = following();
    follower.handle(Event::Message(batch(&[begin(45), end(45), begin(46)])), NOW);
    follower.handle(Event::Disconnected { random: 0 }, NOW);
    follower.poll(follower.deadline().unwrap());
    follower.handle(Event::Connected, NOW);
    let Some(Action::Send(ToPrimary::Hello(hello))) = follower.poll(NOW) else { panic!("a hello") };
    assert_eq!(hello.position, at(40));
}

#[test]
fn silence_is_noticed_in_every_state() {
    let late = NOW + 4 * INTERVAL;
    let mut connecting = follower(Purpose::Follow);
    actions(&mut connecting);
    for mut follower in [connecting, greeted(Purpose::Follow), following()] {
        let alive = follower.poll(late - Duration::from_secs(1));
        assert!(matches!(alive, None | Some(Action::Send(ToPrimary::Alive))));
        assert!(matches!(follower.poll(late), Some(Action::Close(Ended::Retries(_)))));
    }
}

#[test]
fn a_refusal_is_final_only_if_somebody_has_to_act() {
    for (reason, stops) in [
        (Reason::Diverged, true),
        (Reason::Packed, true),
        (Reason::Behind, false),
        (Reason::Fenced, false),
        (Reason::CannotServe, false),
    ] {
        let mut follower = greeted(Purpose::Follow);
        let refusal = Refusal::new(reason, "text", Some(epoch(3)));
        let told = say(&mut follower, ToSecondary::Refusal(refusal));
        let [Action::Heard(heard), Action::Close(ended)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((*heard, matches!(ended, Ended::Stopped(_))), (epoch(3), stops));
    }
}

#[test]
fn who_tells_of_its_epoch_tries_until_the_other_one_knows() {
    let mut follower = greeted(Purpose::Tell);
    let refusal =
        |highest| ToSecondary::Refusal(Refusal::new(Reason::Fenced, "text", Some(highest)));
    let told = say(&mut follower, refusal(epoch(1)));
    assert!(matches!(told[..], [Action::Close(Ended::Retries(_))]));
    let mut follower = greeted(Purpose::Tell);
    let told = say(&mut follower, refusal(epoch(2)));
    assert_eq!(told, [Action::Close(Ended::Stopped(Stopped::Knows))]);
    follower.handle(Event::Disconnected { random: 0 }, NOW);
    assert_eq!(follower.deadline(), None);
}

#[test]
fn a_promotion_ends_it_and_says_so() {
    let mut follower = following();
    let refusal = Refusal::new(Reason::Fenced, "promoted", Some(epoch(3)));
    follower.handle(Event::Refuse(refusal), NOW);
    let told = actions(&mut follower);
    assert_eq!(refused(&told), (Reason::Fenced, &Ended::Stopped(Stopped::Told)));
}

#[test]
fn lag_is_told_by_the_primarys_clock() {
    let mut follower = following();
    assert_eq!(follower.lag(), None);
    let clock = Duration::from_secs(1_000_000_000);
    let head = Head { position: at(100), clock, backlog_bytes: 77 };
    say(&mut follower, ToSecondary::Alive(head));
    let lag = follower.lag().unwrap();
    assert_eq!((lag.primary, lag.secondary, lag.bytes), (Tid(100), Tid(40), 77));
    assert_eq!(lag.time, clock - Tid(40).to_unix());
    say(&mut follower, batch(&[begin(100), end(100)]));
    follower.handle(Event::Applied(at(100)), NOW);
    let lag = follower.lag().unwrap();
    assert_eq!((lag.time, lag.bytes), (Duration::ZERO, 0));
}
