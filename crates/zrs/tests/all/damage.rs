//! Bytes that are not those that the primary has sent.

use crate::support::{Outcome, RECORD_BYTES_MAX, Session, follow};
use bytes::BytesMut;
use proptest::prelude::*;
use protocol::Tid;
use zrs::{Error, Event, Follower, Version};

/// Changes one byte; none but the transactions before it may then be committed, and what follows must
/// not pass for whole.
fn change(session: &Session, whole: &[Event], position: usize, mask: u8) -> Option<Error> {
    let mut bytes = session.primary.clone();
    bytes[position] ^= mask;
    let Outcome { events, ended } = follow(session.follower(), &bytes, bytes.len());
    let name = session.name;
    assert!(whole.starts_with(&events), "{name}, byte {position}, {mask:#04x}: {events:?}");
    assert!(ended.is_err() || events.len() < whole.len(), "{name}, byte {position}, {mask:#04x}");
    ended.err()
}

#[test]
fn no_changed_byte_makes_another_transaction() {
    let (mut changes, mut checksums, mut others) = (0, 0, 0);
    for name in
        ["python2-plain", "python3-plain-middle", "python2-blobs-middle", "python3-blobs-middle"]
    {
        let session = Session::read(name);
        let whole = follow(session.follower(), &session.primary, usize::MAX).events;
        for position in 0..session.primary.len() {
            let bit = 1 << (position % 8);
            for mask in [bit, 0xff] {
                changes += 1;
                match change(&session, &whole, position, mask) {
                    Some(Error::Checksum { .. }) => checksums += 1,
                    Some(_) => others += 1,
                    // A length that never comes.
                    None => {}
                }
            }
        }
    }
    // Mostly data; then what is around them.
    assert!(checksums > changes / 3, "{checksums} of {changes}");
    assert!(others > changes / 10, "{others} of {changes}");
}

/// The checksum is also of where the follower has started, which the primary was told.
#[test]
fn another_start_is_another_checksum() {
    let session = Session::read("python3-plain");
    let follower = Follower::new(session.version, Tid(1), RECORD_BYTES_MAX);
    let outcome = follow(follower, &session.primary, session.primary.len());
    assert_eq!(outcome.events, []);
    assert_eq!(outcome.ended, Err(Error::Checksum { tid: Tid(0x03d4_2789_2962_fc96) }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let follower = Follower::new(Version::Zrs21, Tid::ZERO, RECORD_BYTES_MAX);
        prop_assert_eq!(follow(follower, &bytes, 300).events, []);
    }

    #[test]
    fn arbitrary_messages_are_no_trouble(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
        skipped in 0usize..5000,
    ) {
        // Behind a part of a session, so that all states meet them.
        let session = Session::read("python2-plain");
        let mut input = BytesMut::from(&session.primary[..skipped.min(session.primary.len())]);
        for message in messages {
            input.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            input.extend_from_slice(&message);
        }
        let outcome = follow(session.follower(), &input, input.len());
        let whole = follow(session.follower(), &session.primary, usize::MAX).events;
        prop_assert!(whole.starts_with(&outcome.events));
    }
}
