//! Any message at all, for property tests.

mod blobs;
mod past;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use protocol::{
    Begin, Conflict, Failure, Info, Loaded, Oid, Push, Reply, Request, Status, Tid,
    TransactionFault, TransactionId,
};

pub(crate) fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![reads(), writes(), past::requests(), blobs::requests()]
}

pub(crate) fn replies() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Done),
        tids().prop_map(Reply::Tid),
        infos().prop_map(Reply::Info),
        option::of((tids(), vec(oids(), 0..9))).prop_map(Reply::Invalidations),
        option::of(loaded()).prop_map(Reply::Loaded),
        data().prop_map(Reply::Data),
        vec(oids(), 0..9).prop_map(Reply::Oids),
        Just(Reply::Voted),
        vec(oids(), 1..9).prop_map(Reply::Determined),
        vec(conflicts(), 1..9).prop_map(Reply::Conflicts),
        statuses().prop_map(|status| Reply::Status(Box::new(status))),
        failures().prop_map(Reply::Failed),
        past::replies(),
    ]
}

pub(crate) fn pushes() -> impl Strategy<Value = Push> {
    prop_oneof![
        (tids(), vec(oids(), 0..9))
            .prop_map(|(tid, oids)| Push::Invalidate { tid, oids: oids.into() }),
        (any::<u64>(), any::<u64>()).prop_map(|(length, size)| Push::Info { length, size }),
        blobs::pushes(),
    ]
}

fn reads() -> impl Strategy<Value = Request> {
    prop_oneof![
        (any::<String>(), any::<bool>())
            .prop_map(|(storage, read_only)| Request::Register { storage, read_only }),
        Just(Request::Info),
        Just(Request::LastTransaction),
        tids().prop_map(|since| Request::Invalidations { since }),
        (oids(), tids()).prop_map(|(oid, before)| Request::LoadBefore { oid, before }),
        (oids(), tids()).prop_map(|(oid, serial)| Request::LoadSerial { oid, serial }),
        oids().prop_map(|oid| Request::CurrentTid { oid }),
        any::<u32>().prop_map(|count| Request::NewOids { count }),
        Just(Request::Status),
        Just(Request::Ping),
        any::<String>().prop_map(Request::Label),
        Just(Request::KeepAlive),
    ]
}

fn writes() -> impl Strategy<Value = Request> {
    prop_oneof![
        begins().prop_map(Request::Begin),
        (transactions(), oids(), tids(), data()).prop_map(|(transaction, oid, serial, data)| {
            Request::Store { transaction, oid, serial, data }
        }),
        (transactions(), oids(), tids()).prop_map(|(transaction, oid, serial)| Request::Delete {
            transaction,
            oid,
            serial
        }),
        (transactions(), oids(), tids()).prop_map(|(transaction, oid, serial)| {
            Request::CheckCurrentSerial { transaction, oid, serial }
        }),
        (transactions(), oids(), tids(), option::of(data()), option::of(tids())).prop_map(
            |(transaction, oid, tid, data, origin)| Request::Restore {
                transaction,
                oid,
                tid,
                data,
                origin
            }
        ),
        transactions().prop_map(|transaction| Request::Vote { transaction }),
        transactions().prop_map(|transaction| Request::Finish { transaction }),
        transactions().prop_map(|transaction| Request::Abort { transaction }),
    ]
}

/// None, or a MessagePack map.
fn extensions() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(b"\x80")),
        Just(Bytes::from_static(b"\x81\xa1k\x93\x01\xc0\xc4\x02\0\xff")),
    ]
}

fn begins() -> impl Strategy<Value = Begin> {
    (transactions(), data(), data(), extensions(), option::of(tids()), 1..128u8).prop_map(
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

fn infos() -> impl Strategy<Value = Info> {
    let interfaces = vec(
        prop_oneof![
            Just(("ZODB.interfaces", "IStorage")),
            Just(("ZODB.interfaces", "IExternalGC")),
            Just(("zope.interface", "Interface")),
        ],
        0..4,
    );
    (any::<[u64; 2]>(), any::<String>(), any::<[bool; 2]>(), interfaces).prop_map(
        |([length, size], name, [supports_undo, supports_record_iternext], interfaces)| Info {
            length,
            size,
            name,
            supports_undo,
            supports_record_iternext,
            interfaces,
        },
    )
}

fn statuses() -> impl Strategy<Value = Status> {
    let lock_time = option::of(-1e12..1e12);
    (any::<[u64; 8]>(), lock_time, any::<String>(), any::<bool>(), tids()).prop_map(
        |(counters, lock_time, start, timeout_active, last_transaction)| {
            let [
                connections,
                loads,
                stores,
                commits,
                aborts,
                active_transactions,
                conflicts,
                waiting,
            ] = counters;
            Status {
                connections,
                loads,
                stores,
                commits,
                aborts,
                active_transactions,
                lock_time,
                conflicts,
                start,
                waiting,
                timeout_active,
                last_transaction,
            }
        },
    )
}

fn failures() -> impl Strategy<Value = Failure> {
    prop_oneof![
        oids().prop_map(Failure::UnknownOid),
        data().prop_map(Failure::BadId),
        Just(Failure::ReadOnly),
        faults().prop_map(Failure::Transaction),
        (oids(), tids(), tids()).prop_map(|(oid, committed, given)| Failure::Conflict {
            oid,
            committed,
            given
        }),
        (oids(), tids(), tids()).prop_map(|(oid, committed, given)| Failure::ReadConflict {
            oid,
            committed,
            given
        }),
        any::<String>().prop_map(Failure::UnknownStorage),
        any::<String>().prop_map(Failure::Arguments),
        any::<String>().prop_map(Failure::Unsupported),
        any::<String>().prop_map(Failure::Storage),
        (oids(), tids()).prop_map(|(oid, serial)| Failure::UnknownBlob { oid, serial }),
        any::<String>().prop_map(Failure::NotUndoable),
        vec((oids(), any::<String>()), 0..9).prop_map(Failure::Undo),
        any::<u64>().prop_map(Failure::UnknownIterator),
        any::<String>().prop_map(Failure::Value),
    ]
}

fn faults() -> impl Strategy<Value = TransactionFault> {
    prop_oneof![
        (option::of(transactions()), transactions())
            .prop_map(|(current, given)| TransactionFault::Wrong { current, given }),
        Just(TransactionFault::AlreadyVoted),
        Just(TransactionFault::VoteWaits),
        Just(TransactionFault::NotVoted),
        Just(TransactionFault::Aborted),
        Just(TransactionFault::OldTid),
    ]
}

fn loaded() -> impl Strategy<Value = Loaded<Bytes>> {
    (data(), tids(), option::of(tids())).prop_map(|(data, tid, end)| Loaded { data, tid, end })
}

fn conflicts() -> impl Strategy<Value = Conflict> {
    (oids(), tids(), tids(), data()).prop_map(|(oid, committed, given, data)| Conflict {
        oid,
        committed,
        given,
        data,
    })
}

fn oids() -> impl Strategy<Value = Oid> {
    prop_oneof![Just(Oid(0)), any::<u64>().prop_map(Oid)]
}

fn tids() -> impl Strategy<Value = Tid> {
    prop_oneof![Just(Tid(0)), Just(Tid::MAX), any::<u64>().prop_map(Tid)]
}

fn transactions() -> impl Strategy<Value = TransactionId> {
    any::<u64>().prop_map(|id| TransactionId(id.into()))
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}
