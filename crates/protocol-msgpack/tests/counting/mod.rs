//! Messages under an allocator that counts; `protocol-pickle` includes this file as well.

mod allocator;

use allocator::{BYTES, COUNT};
use bytes::Bytes;
use protocol::{Codec, Expect, Limits, Loaded, Oid, Push, Request, Tid};

/// Allocations while one client loads a record, once warm: the request decoded, the reply
/// encoded into a buffer with room and decoded by the client.
pub(crate) fn read<C: Codec>() -> usize {
    let mut codec = C::new(Limits::default());
    let mut out = Vec::new();
    codec.encode_request(1, &Request::LoadBefore { oid: Oid(1), before: Tid::MAX }, &mut out);
    let request = Bytes::from(out);
    let data = [b'x'; 1000];
    let mut out = Vec::with_capacity(2000);
    let mut round = || {
        let id = codec.decode_request(&request).ok().and_then(|call| call.id);
        out.clear();
        let loaded = Loaded { data: &data[..], tid: Tid(1), end: Some(Tid(2)) };
        id.map(|id| codec.encode_loaded(&id, loaded, &mut out)).is_some()
    };
    assert!(round());
    let before = COUNT.get();
    assert!(round());
    let served = COUNT.get() - before;

    let reply = Bytes::from(out);
    let mut load = || codec.decode_incoming(&reply, &mut |_| Some(Expect::Loaded)).is_ok();
    // The first slice of a buffer makes its reference count.
    assert!(load());
    let before = COUNT.get();
    assert!(load());
    served + COUNT.get() - before
}

/// Bytes that a codec keeps after it has decoded a long message, on either side.
pub(crate) fn kept<C: Codec>() -> isize {
    let mut codec = C::new(Limits::default());
    let mut out = Vec::new();
    let oids = (0..100_000).map(Oid).collect();
    codec.encode_push(&Push::Invalidate { tid: Tid(1), oids }, &mut out);
    let message = Bytes::from(out);
    // The first slice of a buffer makes its reference count.
    drop(message.clone());
    let before = BYTES.get();
    assert!(codec.decode_incoming(&message, &mut |_| None).is_ok());
    let after_incoming = BYTES.get();
    // A server knows no such method, but has to look at all of the message to say so.
    drop(codec.decode_request(&message));
    (after_incoming - before).max(BYTES.get() - before)
}
