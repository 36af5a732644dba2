//! Blobs, both ways.

use proptest::prelude::*;
use protocol::{Push, Request};

use super::{data, oid, tid, transaction};

pub(super) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::BlobStart { oid: None }),
        data().prop_map(|data| Request::BlobChunk { oid: None, data }),
        (transaction(), oid(), tid(), data()).prop_map(|(transaction, oid, serial, data)| {
            Request::BlobEnd { transaction, oid, serial, data }
        }),
        (transaction(), oid(), tid(), data(), ".{0,20}").prop_map(
            |(transaction, oid, serial, data, file)| Request::BlobShared {
                transaction,
                oid,
                serial,
                data,
                file
            }
        ),
        (oid(), tid()).prop_map(|(oid, serial)| Request::LoadBlob { oid, serial }),
    ]
}

pub(super) fn push() -> impl Strategy<Value = Push> {
    prop_oneof![
        (oid(), tid()).prop_map(|(oid, serial)| Push::BlobStart { oid, serial }),
        (oid(), tid(), data()).prop_map(|(oid, serial, data)| Push::BlobChunk {
            oid,
            serial,
            data
        }),
        (oid(), tid()).prop_map(|(oid, serial)| Push::BlobStop { oid, serial }),
    ]
}
