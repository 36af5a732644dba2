//! The frames of every kind of message are pinned in `golden.txt`: a change of them is a new
//! version of the contract. Every line is `name: bytes in hexadecimal`.

use std::fmt::Write;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::{Oid, Tid, TransactionHead};
use replication::{
    Ack, Epoch, EpochStart, Head, Hello, History, Item, Message, Position, Reason, Record, Refusal,
    ToPrimary, ToSecondary, Welcome, frame,
};

#[test]
fn every_message_has_its_golden_bytes() {
    let mut text = String::new();
    for (name, message) in to_primary() {
        line(&mut text, name, &message);
    }
    for (name, message) in to_secondary() {
        line(&mut text, name, &message);
    }
    assert_eq!(text, include_str!("golden.txt"), "{text}");
}

fn line<M: Message + PartialEq + std::fmt::Debug>(text: &mut String, name: &str, message: &M) {
    let mut out = Vec::new();
    assert!(frame::write(message, &mut out));
    write!(text, "{name}:").unwrap();
    for byte in &out {
        write!(text, " {byte:02x}").unwrap();
    }
    text.push('\n');
    let read: M = frame::read(&mut BytesMut::from(&out[..]), 1000).unwrap().unwrap();
    assert_eq!(read, *message);
}

const EPOCH: Epoch = Epoch { number: 3, unique: *b"0123456789abcdef" };
const POSITION: Position = Position { tid: Tid(0x0102_0304_0506_0708), digest: 0x1112 };

fn history() -> History {
    History::new(vec![EpochStart { epoch: EPOCH, base: POSITION }]).unwrap()
}

fn refusal() -> Refusal {
    Refusal {
        reason: Reason::Diverged,
        text: "text".to_owned(),
        highest: Some(EPOCH),
        common: Some(POSITION),
    }
}

fn to_primary() -> Vec<(&'static str, ToPrimary)> {
    let hello = Hello {
        oldest_version: 1,
        newest_version: 2,
        storage: "storage".to_owned(),
        node: "node".to_owned(),
        history: history(),
        position: POSITION,
        highest: Some(EPOCH),
        wants_blobs: true,
        software: "software".to_owned(),
    };
    vec![
        ("hello", ToPrimary::Hello(hello)),
        ("ack", ToPrimary::Ack(Ack { tid: POSITION.tid, highest: Some(EPOCH) })),
        ("secondary alive", ToPrimary::Alive),
        ("secondary refuses", ToPrimary::Refusal(refusal())),
    ]
}

fn to_secondary() -> Vec<(&'static str, ToSecondary)> {
    let welcome = Welcome {
        version: 1,
        history: history(),
        position: POSITION,
        packed_to: Tid(9),
        node: "node".to_owned(),
        software: "software".to_owned(),
    };
    let begin = Item::Begin(TransactionHead {
        tid: POSITION.tid,
        status: b' ',
        user: Bytes::from("user"),
        description: Bytes::from("description"),
        extension: Bytes::from_static(b"\x80"),
    });
    let record =
        |data, origin, has_blob| Item::Record(Record { oid: Oid(7), data, origin, has_blob });
    let head =
        Head { position: POSITION, clock: Duration::from_micros(300), backlog_bytes: 70_000 };
    vec![
        ("welcome", ToSecondary::Welcome(welcome)),
        ("begin", ToSecondary::Batch(vec![begin])),
        ("record", ToSecondary::Batch(vec![record(Some(Bytes::from("data")), None, true)])),
        ("empty record", ToSecondary::Batch(vec![record(Some(Bytes::new()), None, false)])),
        ("deleted", ToSecondary::Batch(vec![record(None, Some(Tid(5)), false)])),
        ("end", ToSecondary::Batch(vec![Item::End { digest: 6 }])),
        ("blob start", ToSecondary::BlobStart(Oid(7))),
        ("blob part", ToSecondary::BlobPart(Bytes::from("part"))),
        ("blob end", ToSecondary::BlobEnd { bytes: 4 }),
        ("blob gone", ToSecondary::BlobGone(Oid(7))),
        ("epoch starts", ToSecondary::EpochStarts(EpochStart { epoch: EPOCH, base: POSITION })),
        ("primary alive", ToSecondary::Alive(head)),
        ("primary refuses", ToSecondary::Refusal(refusal())),
    ]
}
