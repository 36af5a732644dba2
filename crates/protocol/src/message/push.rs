//! What a server tells unasked.

use bytes::Bytes;

use crate::ids::{Oid, Tid};

/// What a server tells unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// Another client's transaction changed these objects.
    Invalidate {
        /// The transaction.
        tid: Tid,
        /// What it wrote; may be empty.
        oids: std::sync::Arc<[Oid]>,
    },
    /// Length and size of the storage changed.
    Info {
        /// Number of objects.
        length: u64,
        /// Bytes.
        size: u64,
    },
    /// A blob's file follows, as answer to a [`super::Request::LoadBlob`].
    BlobStart {
        /// Whose blob.
        oid: Oid,
        /// The revision's tid.
        serial: Tid,
    },
    /// The next bytes of a blob's file.
    BlobChunk {
        /// Whose blob.
        oid: Oid,
        /// The revision's tid.
        serial: Tid,
        /// The bytes.
        data: Bytes,
    },
    /// A blob's file is complete.
    BlobStop {
        /// Whose blob.
        oid: Oid,
        /// The revision's tid.
        serial: Tid,
    },
}
