//! Blobs as they come to a connection.

use protocol::{Oid, Push, Tid};

/// What has come, in order.
#[derive(Debug, Default)]
pub(crate) struct Downloads(Vec<Download>);

#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) oid: Oid,
    pub(crate) serial: Tid,
    pub(crate) data: Vec<u8>,
    whole: bool,
}

impl Downloads {
    /// Panics if the pushes of two blobs are mixed.
    pub(crate) fn handle(&mut self, push: Push) {
        if let Push::BlobStart { oid, serial } = push {
            assert!(self.0.iter().all(|download| download.whole), "one begins within another");
            self.0.push(Download { oid, serial, data: Vec::new(), whole: false });
            return;
        }
        let last = self.0.last_mut().filter(|last| !last.whole).expect("it has begun");
        match push {
            Push::BlobChunk { oid, serial, data } => {
                assert_eq!((oid, serial), (last.oid, last.serial));
                assert!((1..=CHUNK_BYTES).contains(&data.len()), "a piece of {}", data.len());
                last.data.extend_from_slice(&data);
            }
            Push::BlobStop { oid, serial } => {
                assert_eq!((oid, serial), (last.oid, last.serial));
                last.whole = true;
            }
            push => panic!("not about a blob: {push:?}"),
        }
    }

    /// Takes the first one, which is whole.
    pub(crate) fn take(&mut self) -> Download {
        let first = self.0.remove(0);
        assert!(first.whole, "it ends before its answer");
        first
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.0.last().is_some_and(|download| !download.data.is_empty() && !download.whole)
    }

    pub(crate) fn has_whole(&self) -> bool {
        self.0.iter().any(|download| download.whole)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As ZEO sends them.
const CHUNK_BYTES: usize = 59_000;
