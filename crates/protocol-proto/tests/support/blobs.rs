//! Blobs, both ways.

use proptest::prelude::*;
use protocol::{Push, Request};

use super::{data, oids, tids, transactions};

pub(super) fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        oids().prop_map(|oid| Request::BlobStart { oid: Some(oid) }),
        (oids(), data()).prop_map(|(oid, data)| Request::BlobChunk { oid: Some(oid), data }),
        (transactions(), oids(), tids(), data()).prop_map(|(transaction, oid, serial, data)| {
            Request::BlobEnd { transaction, oid, serial, data }
        }),
        (transactions(), oids(), tids(), data(), any::<String>()).prop_map(
            |(transaction, oid, serial, data, file)| Request::BlobShared {
                transaction,
                oid,
                serial,
                data,
                file
            }
        ),
        (oids(), tids()).prop_map(|(oid, serial)| Request::LoadBlob { oid, serial }),
    ]
}

pub(super) fn pushes() -> impl Strategy<Value = Push> {
    prop_oneof![
        (oids(), tids()).prop_map(|(oid, serial)| Push::BlobStart { oid, serial }),
        (oids(), tids(), data()).prop_map(|(oid, serial, data)| Push::BlobChunk {
            oid,
            serial,
            data
        }),
        (oids(), tids()).prop_map(|(oid, serial)| Push::BlobStop { oid, serial }),
    ]
}
