//! What one side encodes, the other decodes.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{Codec, Expect, Incoming, Limits, Loaded, MessageId, Push, Reply, Request};

/// A client's message at a server. Something that was in `out` before has to stay.
pub(crate) fn request<C: Codec>(number: u64, request: &Request) -> Result<(), TestCaseError> {
    let mut codec = C::new(Limits::default());
    let mut out = b"before".to_vec();
    codec.encode_request(number, request, &mut out);
    prop_assert!(out.starts_with(b"before"));
    let call = codec.decode_request(&Bytes::from(out).slice(6..)).unwrap();
    prop_assert_eq!(&call.request, request);
    prop_assert_eq!(call.id.is_some(), request.expects().is_some());
    Ok(())
}

/// A server's answer at a client, under the id that the client gave.
pub(crate) fn reply<C: Codec>(
    number: u64,
    expect: Expect,
    reply: &Reply,
) -> Result<(), TestCaseError> {
    let mut codec = C::new(Limits::default());
    let id = id_of::<C>(number);
    let mut out = Vec::new();
    codec.encode_reply(&id, reply, &mut out);
    if let Reply::Loaded(Some(Loaded { data, tid, end })) = reply {
        let mut borrowed = Vec::new();
        let loaded = Loaded { data: &data[..], tid: *tid, end: *end };
        codec.encode_loaded(&id, loaded, &mut borrowed);
        prop_assert_eq!(&borrowed, &out);
    }
    let mut expects = |asked| (asked == number).then_some(expect);
    let incoming = codec.decode_incoming(&out.into(), &mut expects);
    prop_assert_eq!(incoming, Ok(Incoming::Reply { number, reply: reply.clone() }));
    Ok(())
}

/// A push at a client.
pub(crate) fn push<C: Codec>(push: &Push) -> Result<(), TestCaseError> {
    let mut codec = C::new(Limits::default());
    let mut out = Vec::new();
    codec.encode_push(push, &mut out);
    let incoming = codec.decode_incoming(&out.into(), &mut |_| None);
    prop_assert_eq!(incoming, Ok(Incoming::Push(push.clone())));
    Ok(())
}

/// The id that a server gets to see for call `number`.
pub(crate) fn id_of<C: Codec>(number: u64) -> MessageId {
    let mut codec = C::new(Limits::default());
    let mut out = Vec::new();
    codec.encode_request(number, &Request::Ping, &mut out);
    codec.decode_request(&out.into()).unwrap().id.unwrap()
}
