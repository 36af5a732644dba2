//! How often each kind of request came.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Request;

macro_rules! kinds {
    ($($variant:ident $name:literal,)*) => {
        /// A kind of request: its index in [`KINDS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($variant,)*
        }

        /// What the kinds of requests are called in metrics.
        pub const KINDS: &[&str] = &[$($name,)*];

        impl Kind {
            fn of(request: &Request) -> Self {
                match request {
                    $(Request::$variant { .. } => Self::$variant,)*
                }
            }
        }
    };
}

kinds! {
    Register "register",
    Info "info",
    LastTransaction "last_transaction",
    Invalidations "invalidations",
    LoadBefore "load_before",
    LoadSerial "load_serial",
    CurrentTid "current_tid",
    NewOids "new_oids",
    Begin "begin",
    Store "store",
    Delete "delete",
    CheckCurrentSerial "check_current_serial",
    Restore "restore",
    Undo "undo",
    BlobStart "blob_start",
    BlobChunk "blob_chunk",
    BlobEnd "blob_end",
    BlobShared "blob_shared",
    Vote "vote",
    Finish "finish",
    Abort "abort",
    LoadBlob "load_blob",
    History "history",
    UndoLog "undo_log",
    NextRecord "next_record",
    Iterate "iterate",
    NextTransaction "next_transaction",
    IterateRecords "iterate_records",
    NextTransactionRecord "next_transaction_record",
    EndIterators "end_iterators",
    Pack "pack",
    Status "status",
    Ping "ping",
    Label "label",
    KeepAlive "keep_alive",
    Invalid "invalid",
}

/// Each kind is a bit of [`Uncounted::kinds`].
const _: () = assert!(KINDS.len() <= 64);

/// What all sessions of a storage have counted.
#[derive(Debug)]
pub struct Requests([AtomicU64; KINDS.len()]);

impl Requests {
    /// As [`KINDS`] names them, in that order.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.iter().copied().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.0.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// What one session has counted and not yet told, since that is contended: once for all requests
/// that are read together.
#[derive(Debug)]
pub(crate) struct Uncounted {
    counts: [u32; KINDS.len()],
    /// Bits of those that are not zero.
    kinds: u64,
}

impl Uncounted {
    pub(crate) fn count(&mut self, request: &Request) {
        let kind = Kind::of(request) as usize;
        if let Some(count) = self.counts.get_mut(kind) {
            *count += 1;
            self.kinds |= 1 << kind;
        }
    }

    pub(crate) fn tell(&mut self, requests: &Requests) {
        while self.kinds != 0 {
            let kind = self.kinds.trailing_zeros() as usize;
            self.kinds &= self.kinds - 1;
            if let (Some(count), Some(total)) = (self.counts.get_mut(kind), requests.0.get(kind)) {
                total.fetch_add(u64::from(std::mem::take(count)), Ordering::Relaxed);
            }
        }
    }
}

impl Default for Uncounted {
    fn default() -> Self {
        Self { counts: [0; KINDS.len()], kinds: 0 }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Oid, Tid};

    use super::*;

    #[test]
    fn each_kind_is_counted_for_itself_and_once() {
        let (mut session, all) = (Uncounted::default(), Requests::default());
        let load = Request::LoadBefore { oid: Oid(1), before: Tid::MAX };
        let last = Request::Invalid { transaction: None, failure: protocol::Failure::ReadOnly };
        for request in [&load, &Request::Ping, &load, &last] {
            session.count(request);
        }
        session.tell(&all);
        session.tell(&all);
        session.count(&load);
        session.tell(&all);
        let counted: Vec<_> = all.read().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("load_before", 3), ("ping", 1), ("invalid", 1)]);
        assert_eq!(all.of(Kind::LoadBefore), 3);
    }
}
