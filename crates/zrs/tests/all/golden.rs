//! Sessions between a zc.zrs 3.1.0 primary and its own secondary (`tests/record`).

use std::collections::BTreeSet;

use crate::support::{Session, follow, lines};

use zrs::{End, Event};

const NAMES: [&str; 8] = [
    "python2-plain",
    "python2-plain-middle",
    "python2-blobs",
    "python2-blobs-middle",
    "python3-plain",
    "python3-plain-middle",
    "python3-blobs",
    "python3-blobs-middle",
];

#[test]
fn a_greeting_is_that_of_zc_zrs() {
    for name in NAMES {
        let session = Session::read(name);
        assert_eq!(session.follower().greeting(), session.secondary, "{name}");
    }
}

#[test]
fn what_a_primary_sends_is_what_zodb_finds() {
    for name in NAMES {
        let session = Session::read(name);
        for at_a_time in [session.primary.len(), 1, 3, 1500] {
            let outcome = follow(session.follower(), &session.primary, at_a_time);
            assert!(
                lines(&outcome.events) == session.wanted,
                "{name}, {at_a_time} bytes at a time"
            );
            assert_eq!(outcome.ended, Ok(End::Between), "{name}");
        }
    }
}

/// What the sessions are there for is in them.
#[test]
fn the_sessions_have_what_is_hard() {
    let has = |name, what: &str| assert!(Session::read(name).wanted.contains(what), "{what}");
    for name in ["python2-plain", "python3-plain"] {
        has(name, " packed ");
        has(name, "4ac3b67267"); // Jörg
        has(name, "record 4081ff00e9c30a0d 000102"); // all bytes
        has(name, "record 0000000000000003 - 03d4278f21b4e81b -"); // an undo brought a lack back
        has(name, "record 0000000000000002 - - -"); // deleted
        has(name, "a5616761696e"); // an extension: again
        has(name, "61667465722074686520"); // committed while the secondary followed
    }
    for name in ["python2-blobs", "python3-blobs"] {
        has(name, " 0:d41d8cd98f00b204e9800998ecf8427e"); // empty
        has(name, " 65537:"); // beyond one block
        has(name, " missing");
        has(name, " 03d4278a52c5f92c 5:"); // brought back by an undo
    }
    has("python3-blobs", " 65536:"); // exactly a block
}

/// Wherever a session is cut, all that was whole is there, and nothing else.
#[test]
fn a_cut_leaves_whole_transactions() {
    for name in ["python2-plain", "python3-plain-middle", "python3-blobs-middle"] {
        let session = Session::read(name);
        let whole = follow(session.follower(), &session.primary, usize::MAX).events;
        let mut lengths = BTreeSet::new();
        for end in 0..=session.primary.len() {
            let outcome = follow(session.follower(), &session.primary[..end], end.max(1));
            assert!(whole.starts_with(&outcome.events), "{name}, {end} bytes");
            lengths.insert(outcome.events.len());
            match outcome.ended.unwrap() {
                End::Silent => assert_eq!(end, 0),
                End::Between => assert!(end > 0),
                End::Within(tid) => {
                    let next = &whole[outcome.events.len()];
                    assert!(matches!(next, Event::Begin(one) if one.tid == tid), "{name}, {end}");
                }
            }
        }
        // None, and one more each time.
        assert_eq!(lengths.len(), 1 + session.wanted.matches("transaction ").count(), "{name}");
        assert!(lengths.contains(&whole.len()), "{name}");
    }
}
