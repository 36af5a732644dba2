//! What goes over a link: every message survives, its bytes are pinned, and no bytes do harm.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod golden;
mod strategies;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use replication::frame::{self, BadFrame};
use replication::limits::SMALL_FRAME_BYTES_MAX;
use replication::{Item, Message, Record, ToPrimary, ToSecondary};

use strategies::{to_primary, to_secondary};

proptest! {
    #[test]
    fn what_a_secondary_says_survives(message in to_primary()) {
        prop_assert_eq!(ToPrimary::decode(encoded(&message)), Ok(message));
    }

    #[test]
    fn what_a_primary_says_survives(message in to_secondary()) {
        prop_assert_eq!(ToSecondary::decode(encoded(&message)), Ok(message));
    }

    #[test]
    fn frames_survive_any_cut(messages in prop::collection::vec(to_secondary(), 1..4), step in 1usize..50) {
        let mut bytes = Vec::new();
        for message in &messages {
            prop_assert!(frame::write(message, &mut bytes));
        }
        let mut input = BytesMut::new();
        let mut read = Vec::new();
        for piece in bytes.chunks(step) {
            input.extend_from_slice(piece);
            while let Some(message) = frame::read::<ToSecondary>(&mut input, 1 << 20).unwrap() {
                read.push(message);
            }
        }
        prop_assert_eq!(read, messages);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes: Vec<u8>) {
        decode_everything(&bytes);
    }

    #[test]
    fn changed_messages_do_no_harm(
        message in to_secondary(), answer in to_primary(), at: prop::sample::Index, with: u8, cut: prop::sample::Index,
    ) {
        for bytes in [encoded(&message), encoded(&answer)] {
            let mut bytes = bytes.to_vec();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = with;
                bytes.truncate(1 + cut.index(bytes.len()));
            }
            decode_everything(&bytes);
        }
    }
}

#[test]
fn data_are_slices_of_the_frame() {
    let record = record(1000);
    let payload = encoded(&ToSecondary::Batch(vec![Item::Record(record)]));
    let Ok(ToSecondary::Batch(items)) = ToSecondary::decode(payload.clone()) else {
        panic!("a batch")
    };
    let Item::Record(Record { data: Some(data), .. }) = &items[0] else { panic!("a record") };
    assert!(payload.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn only_one_record_may_make_a_long_frame() {
    let long = || Item::Record(record(SMALL_FRAME_BYTES_MAX));
    let one = ToSecondary::Batch(vec![long()]);
    assert_eq!(ToSecondary::decode(encoded(&one)), Ok(one));
    for wrong in [
        ToSecondary::Batch(vec![long(), Item::End { digest: 1 }]),
        ToSecondary::BlobPart(Bytes::from(vec![0; SMALL_FRAME_BYTES_MAX])),
    ] {
        assert!(ToSecondary::decode(encoded(&wrong)).is_err());
    }
}

#[test]
fn many_small_items_are_refused_before_they_are_made() {
    let batch = |count| encoded(&ToSecondary::Batch(vec![Item::End { digest: 0 }; count]));
    assert!(ToSecondary::decode(batch((1 << 16) - 1)).is_ok());
    let refused = ToSecondary::decode(batch(1 << 16)).unwrap_err();
    assert_eq!(refused.0, "more than 65536 fields");
}

#[test]
fn a_message_without_a_body_or_with_a_wrong_epoch_is_malformed() {
    assert!(ToPrimary::decode(Bytes::new()).is_err());
    // ToPrimary { ack: Ack { highest: Epoch { number: 1, unique: "x" } } }
    let short = Bytes::from_static(b"\x12\x07\x12\x05\x08\x01\x12\x01x");
    let refused = ToPrimary::decode(short).unwrap_err();
    assert_eq!(refused.0, "it lacks 16 bytes in an epoch");
}

#[test]
fn a_frame_of_no_message_is_an_error() {
    let mut input = BytesMut::from(&[0; 8][..]);
    assert!(matches!(frame::read::<ToPrimary>(&mut input, 9), Err(BadFrame::Malformed(_))));
}

fn record(bytes: usize) -> Record {
    let data = Some(Bytes::from(vec![b'x'; bytes]));
    Record { oid: protocol::Oid(1), data, origin: None, has_blob: false }
}

fn encoded(message: &impl Message) -> Bytes {
    let mut out = Vec::new();
    message.encode(&mut out);
    out.into()
}

fn decode_everything(bytes: &[u8]) {
    let payload = Bytes::copy_from_slice(bytes);
    let _any_outcome = (ToPrimary::decode(payload.clone()), ToSecondary::decode(payload));
    let _any_outcome = frame::read::<ToSecondary>(&mut BytesMut::from(bytes), 1 << 10);
}
