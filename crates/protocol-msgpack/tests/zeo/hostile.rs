//! Bytes from someone who means harm.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use protocol::{Codec, Expect, Limits};

use super::golden;

/// Any bytes: either side may refuse them, none may panic.
pub(crate) fn any_bytes<C: Codec>(frame: &Bytes) {
    let mut codec = C::new(Limits { message_bytes: 1 << 20, depth: 8, values: 500 });
    let request = codec.decode_request(frame);
    drop(request);
    for expect in ALL {
        let incoming = codec.decode_incoming(frame, &mut |_| Some(expect));
        drop(incoming);
    }
}

/// Recorded messages with some bytes changed, cut out or doubled.
pub(crate) fn mutated(sessions: &'static str) -> impl Strategy<Value = Bytes> {
    let frames: Vec<Bytes> =
        golden::messages(sessions).map(|(_, _, frame)| frame).filter(|f| !f.is_empty()).collect();
    let change = (any::<Index>(), any::<u8>(), 0u8..3);
    (any::<Index>(), proptest::collection::vec(change, 1..4)).prop_map(move |(which, changes)| {
        let mut frame = which.get(&frames).to_vec();
        for (at, byte, how) in changes {
            if frame.is_empty() {
                break;
            }
            let at = at.index(frame.len());
            match how {
                0 => frame[at] = byte,
                1 => frame.truncate(at),
                _ => frame.insert(at, byte),
            }
        }
        frame.into()
    })
}

const ALL: [Expect; 15] = [
    Expect::Done,
    Expect::Tid,
    Expect::Info,
    Expect::Invalidations,
    Expect::Loaded,
    Expect::Data,
    Expect::Oids,
    Expect::Vote,
    Expect::Status,
    Expect::History,
    Expect::UndoLog,
    Expect::CurrentRecord,
    Expect::Iterator,
    Expect::Transaction,
    Expect::TransactionRecord,
];
