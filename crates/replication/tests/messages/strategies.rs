//! Messages of every kind, at random.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::{Oid, Tid, TransactionHead};
use replication::{
    Ack, Epoch, EpochStart, Head, Hello, History, Item, Position, Reason, Record, Refusal,
    ToPrimary, ToSecondary, Welcome,
};

pub(crate) fn to_primary() -> impl Strategy<Value = ToPrimary> {
    prop_oneof![
        hello().prop_map(ToPrimary::Hello),
        (any::<u64>(), option::of(epoch()))
            .prop_map(|(tid, highest)| ToPrimary::Ack(Ack { tid: Tid(tid), highest })),
        Just(ToPrimary::Alive),
        refusal().prop_map(ToPrimary::Refusal),
    ]
}

pub(crate) fn to_secondary() -> impl Strategy<Value = ToSecondary> {
    prop_oneof![
        welcome().prop_map(ToSecondary::Welcome),
        vec(item(), 0..5).prop_map(ToSecondary::Batch),
        any::<u64>().prop_map(|oid| ToSecondary::BlobStart(Oid(oid))),
        data().prop_map(ToSecondary::BlobPart),
        any::<u64>().prop_map(|bytes| ToSecondary::BlobEnd { bytes }),
        any::<u64>().prop_map(|oid| ToSecondary::BlobGone(Oid(oid))),
        start().prop_map(ToSecondary::EpochStarts),
        (position(), any::<u64>(), any::<u64>()).prop_map(|(position, clock_us, backlog_bytes)| {
            let clock = Duration::from_micros(clock_us);
            ToSecondary::Alive(Head { position, clock, backlog_bytes })
        }),
        refusal().prop_map(ToSecondary::Refusal),
    ]
}

prop_compose! {
    fn hello()(
        (oldest_version, newest_version) in any::<(u32, u32)>(),
        storage: String,
        node: String,
        history in history(),
        position in position(),
        highest in option::of(epoch()),
        wants_blobs: bool,
        software: String,
    ) -> Hello {
        Hello { oldest_version, newest_version, storage, node, history, position, highest, wants_blobs, software }
    }
}

prop_compose! {
    fn welcome()(
        version: u32,
        history in history(),
        position in position(),
        packed_to: u64,
        node: String,
        software: String,
    ) -> Welcome {
        Welcome { version, history, position, packed_to: Tid(packed_to), node, software }
    }
}

prop_compose! {
    fn refusal()(
        reason in reason(),
        text: String,
        highest in option::of(epoch()),
        common in option::of(position()),
    ) -> Refusal {
        Refusal { reason, text, highest, common }
    }
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::Other),
        Just(Reason::Version),
        Just(Reason::UnknownStorage),
        Just(Reason::Diverged),
        Just(Reason::Packed),
        Just(Reason::Fenced),
        Just(Reason::Behind),
        Just(Reason::CannotServe),
        Just(Reason::Malformed),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let begin = (any::<u64>(), 0u8..128, data(), data(), data()).prop_map(
        |(tid, status, user, description, extension)| {
            let tid = Tid(tid);
            Item::Begin(TransactionHead { tid, status, user, description, extension })
        },
    );
    let record = (any::<u64>(), option::of(data()), option::of(1..=u64::MAX), any::<bool>())
        .prop_map(|(oid, data, origin, has_blob)| {
            Item::Record(Record { oid: Oid(oid), data, origin: origin.map(Tid), has_blob })
        });
    prop_oneof![begin, record, any::<u64>().prop_map(|digest| Item::End { digest })]
}

/// Epochs in order.
fn history() -> impl Strategy<Value = History> {
    vec((1u64..9, any::<[u8; 16]>(), 0u64..9, any::<u64>()), 0..4).prop_map(|steps| {
        let (mut number, mut tid) = (0, 0);
        let starts = steps.into_iter().map(|(higher, unique, later, digest)| {
            (number, tid) = (number + higher, tid + later);
            let base = Position { tid: Tid(tid), digest };
            EpochStart { epoch: Epoch { number, unique }, base }
        });
        History::new(starts.collect()).unwrap()
    })
}

prop_compose! {
    fn start()(epoch in epoch(), base in position()) -> EpochStart {
        EpochStart { epoch, base }
    }
}

prop_compose! {
    fn epoch()(number: u64, unique: [u8; 16]) -> Epoch {
        Epoch { number, unique }
    }
}

prop_compose! {
    fn position()(tid: u64, digest: u64) -> Position {
        Position { tid: Tid(tid), digest }
    }
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}
