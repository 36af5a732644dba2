//! Random messages.

mod blobs;
mod past;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::{
    Begin, Conflict, Expect, Failure, Info, Loaded, Oid, Push, Reply, Request, Status, Tid,
    TransactionFault, TransactionId,
};

fn oid() -> impl Strategy<Value = Oid> {
    any::<u64>().prop_map(Oid)
}

fn tid() -> impl Strategy<Value = Tid> {
    any::<u64>().prop_map(Tid)
}

/// Up to what MessagePack can hold.
fn transaction() -> impl Strategy<Value = TransactionId> {
    prop_oneof![
        any::<i64>().prop_map(i128::from),
        any::<u64>().prop_map(i128::from),
        any::<i16>().prop_map(i128::from)
    ]
    .prop_map(TransactionId)
}

/// Short ones, and some whose length takes more than one byte.
fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 200..70_000)]
        .prop_map(Bytes::from)
}

/// A MessagePack map with text keys, in shortest form; empty bytes for an empty one.
fn extension() -> impl Strategy<Value = Bytes> {
    let value = prop_oneof![
        Just(vec![0xc0]),
        Just(vec![0xc3]),
        (0u8..0x80).prop_map(|small| vec![small]),
        (0x20u8..0x7f).prop_map(|letter| vec![0xa2, letter, letter]),
        any::<u8>().prop_map(|byte| vec![0xc4, 1, byte]),
        any::<u8>().prop_map(|byte| vec![0xcc, byte | 0x80]),
        any::<f64>().prop_map(|value| [&[0xcb], &value.to_be_bytes()[..]].concat()),
        (i64::MIN..-(1 << 31) - 1).prop_map(|value| [&[0xd3], &value.to_be_bytes()[..]].concat()),
        ((1u64 << 63)..).prop_map(|value| [&[0xcf], &value.to_be_bytes()[..]].concat()),
    ];
    let value = value.prop_recursive(3, 20, 5, |inner| {
        vec(inner, 0..5).prop_map(|values| {
            let count = u8::try_from(values.len()).unwrap();
            [&[0x90 | count], &values.concat()[..]].concat()
        })
    });
    vec(value, 0..6).prop_map(|values| {
        let mut map = match u8::try_from(values.len()).unwrap() {
            0 => return Bytes::new(),
            count => vec![0x80 | count],
        };
        for (index, value) in values.into_iter().enumerate() {
            map.extend([0xa1, b'a' + u8::try_from(index).unwrap()]);
            map.extend(value);
        }
        map.into()
    })
}

fn begin() -> impl Strategy<Value = Begin> {
    (transaction(), data(), data(), extension(), option::of(tid()), 0u8..0x80).prop_map(
        |(transaction, user, description, extension, tid, status)| Begin {
            transaction,
            user,
            description,
            extension,
            tid,
            status,
        },
    )
}

/// What a client can ask.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        (".{0,300}", any::<bool>())
            .prop_map(|(storage, read_only)| Request::Register { storage, read_only }),
        prop_oneof![
            Just(Request::Info),
            Just(Request::LastTransaction),
            Just(Request::Status),
            Just(Request::Ping),
            Just(Request::KeepAlive),
        ],
        tid().prop_map(|since| Request::Invalidations { since }),
        (oid(), tid()).prop_map(|(oid, before)| Request::LoadBefore { oid, before }),
        (oid(), tid()).prop_map(|(oid, serial)| Request::LoadSerial { oid, serial }),
        oid().prop_map(|oid| Request::CurrentTid { oid }),
        any::<u32>().prop_map(|count| Request::NewOids { count }),
        begin().prop_map(Request::Begin),
        (transaction(), oid(), tid(), data()).prop_map(|(transaction, oid, serial, data)| {
            Request::Store { transaction, oid, serial, data }
        }),
        (transaction(), oid(), tid()).prop_map(|(transaction, oid, serial)| Request::Delete {
            transaction,
            oid,
            serial
        }),
        (transaction(), oid(), tid()).prop_map(|(transaction, oid, serial)| {
            Request::CheckCurrentSerial { transaction, oid, serial }
        }),
        (transaction(), oid(), tid(), option::of(data()), option::of(tid())).prop_map(
            |(transaction, oid, tid, data, origin)| Request::Restore {
                transaction,
                oid,
                tid,
                data,
                origin
            }
        ),
        transaction().prop_map(|transaction| Request::Vote { transaction }),
        transaction().prop_map(|transaction| Request::Finish { transaction }),
        transaction().prop_map(|transaction| Request::Abort { transaction }),
        ".{0,20}".prop_map(Request::Label),
        past::request(),
        blobs::request(),
    ]
}

fn fault() -> impl Strategy<Value = TransactionFault> {
    prop_oneof![
        (option::of(transaction()), transaction())
            .prop_map(|(current, given)| TransactionFault::Wrong { current, given }),
        Just(TransactionFault::AlreadyVoted),
        Just(TransactionFault::VoteWaits),
        Just(TransactionFault::NotVoted),
        Just(TransactionFault::Aborted),
        Just(TransactionFault::OldTid),
    ]
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        oid().prop_map(Failure::UnknownOid),
        vec(any::<u8>(), 0..8).prop_map(|bytes| Failure::BadId(bytes.into())),
        Just(Failure::ReadOnly),
        fault().prop_map(Failure::Transaction),
        (oid(), tid(), tid()).prop_map(|(oid, committed, given)| Failure::Conflict {
            oid,
            committed,
            given
        }),
        (oid(), tid(), tid()).prop_map(|(oid, committed, given)| Failure::ReadConflict {
            oid,
            committed,
            given
        }),
        ".{0,20}".prop_map(Failure::UnknownStorage),
        ".{0,20}".prop_map(Failure::Arguments),
        ".{0,20}".prop_map(Failure::Unsupported),
        ".{0,20}".prop_map(Failure::Storage),
        (oid(), tid()).prop_map(|(oid, serial)| Failure::UnknownBlob { oid, serial }),
        ".{0,20}".prop_map(Failure::NotUndoable),
        vec((oid(), ".{0,20}"), 0..4).prop_map(Failure::Undo),
        any::<u64>().prop_map(Failure::UnknownIterator),
        ".{0,20}".prop_map(Failure::Value),
    ]
}

fn info() -> impl Strategy<Value = Info> {
    (any::<u64>(), any::<u64>(), ".{0,40}", any::<bool>(), any::<bool>(), 0usize..3).prop_map(
        |(length, size, name, supports_undo, supports_record_iternext, interfaces)| Info {
            length,
            size,
            name,
            supports_undo,
            supports_record_iternext,
            interfaces: [("ZODB.interfaces", "IStorage"), ("zope.interface", "Interface")]
                [..interfaces]
                .to_vec(),
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    let small = || 0u64..1 << 40;
    let counts = (small(), small(), small(), small(), small(), small(), small(), small());
    (counts, option::of(0.0..2e9), ".{0,30}", any::<bool>(), tid()).prop_map(
        |(counts, lock_time, start, timeout_active, last_transaction)| Status {
            connections: counts.0,
            loads: counts.1,
            stores: counts.2,
            commits: counts.3,
            aborts: counts.4,
            active_transactions: counts.5,
            conflicts: counts.6,
            waiting: counts.7,
            lock_time,
            start,
            timeout_active,
            last_transaction,
        },
    )
}

fn conflict() -> impl Strategy<Value = Conflict> {
    (oid(), tid(), tid(), data()).prop_map(|(oid, committed, given, data)| Conflict {
        oid,
        committed,
        given,
        data,
    })
}

/// What a server can answer, and what the client waits for then.
pub(crate) fn reply() -> impl Strategy<Value = (Expect, Reply)> {
    let oids = || vec(oid(), 0..2100);
    prop_oneof![
        Just((Expect::Done, Reply::Done)),
        tid().prop_map(|tid| (Expect::Tid, Reply::Tid(tid))),
        info().prop_map(|info| (Expect::Info, Reply::Info(info))),
        option::of((tid(), oids()))
            .prop_map(|changed| (Expect::Invalidations, Reply::Invalidations(changed))),
        option::of((data(), tid(), option::of(tid())))
            .prop_map(|loaded| loaded.map(|(data, tid, end)| Loaded { data, tid, end }))
            .prop_map(|loaded| (Expect::Loaded, Reply::Loaded(loaded))),
        data().prop_map(|data| (Expect::Data, Reply::Data(data))),
        oids().prop_map(|oids| (Expect::Oids, Reply::Oids(oids))),
        Just((Expect::Vote, Reply::Voted)),
        vec(oid(), 1..4).prop_map(|oids| (Expect::Vote, Reply::Determined(oids))),
        vec(conflict(), 1..4).prop_map(|found| (Expect::Vote, Reply::Conflicts(found))),
        status().prop_map(|status| (Expect::Status, Reply::Status(Box::new(status)))),
        failure().prop_map(|failure| (Expect::Tid, Reply::Failed(failure))),
        past::reply(),
    ]
}

/// What a server can tell.
pub(crate) fn push() -> impl Strategy<Value = Push> {
    prop_oneof![
        (tid(), vec(oid(), 0..2100))
            .prop_map(|(tid, oids)| Push::Invalidate { tid, oids: oids.into() }),
        (any::<u64>(), any::<u64>()).prop_map(|(length, size)| Push::Info { length, size }),
        blobs::push(),
    ]
}
