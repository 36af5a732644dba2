//! What is written, or looked at, without the generated types: the messages that servers send
//! most, and the limits of what is decoded.
//!
//! The field numbers are those of `proto/zeoxide.proto`; a test compares with the generated code.

use bytes::{Buf, BufMut};
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint,
    encoded_len_varint, skip_field,
};
use protocol::{Limits, Loaded, Malformed, MessageId, Oid, Tid};

/// The id of a call, in the form in which [`put_id`] puts it back.
pub(crate) fn message_id(id: u64) -> MessageId {
    let mut varint = [0; VARINT_BYTES_MAX];
    let mut free = &mut varint[..];
    encode_varint(id, &mut free);
    let used = VARINT_BYTES_MAX - free.len();
    MessageId(varint.get(..used).unwrap_or_default().into())
}

/// Appends field `id` of a `ServerMessage`.
pub(crate) fn put_id(id: &MessageId, out: &mut Vec<u8>) {
    encode_key(ID, WireType::Varint, out);
    out.extend_from_slice(&id.0);
}

/// Appends field `loaded` of a `ServerMessage`.
pub(crate) fn put_loaded(loaded: Loaded<&[u8]>, out: &mut Vec<u8>) {
    let fixed_bytes = if loaded.end.is_some() { 2 * FIXED64_FIELD } else { FIXED64_FIELD };
    let body_bytes = fixed_bytes + field_bytes(loaded.data.len());
    out.reserve(field_bytes(body_bytes));
    put_length(LOADED, body_bytes, out);
    put_fixed64(1, loaded.tid.0, out);
    if let Some(end) = loaded.end {
        put_fixed64(2, end.0, out);
    }
    put_bytes(3, loaded.data, out);
}

/// Appends field `data` of a `ServerMessage`.
pub(crate) fn put_data(data: &[u8], out: &mut Vec<u8>) {
    let body_bytes = field_bytes(data.len());
    out.reserve(field_bytes(body_bytes));
    put_length(DATA, body_bytes, out);
    put_bytes(1, data, out);
}

/// Appends field `loaded_blob_chunk` of a `ServerMessage`.
pub(crate) fn put_blob_chunk(oid: Oid, serial: Tid, data: &[u8], out: &mut Vec<u8>) {
    let body_bytes = fixed64_bytes(oid.0) + fixed64_bytes(serial.0) + field_bytes(data.len());
    out.reserve(1 + field_bytes(body_bytes));
    put_length(LOADED_BLOB_CHUNK, body_bytes, out);
    put_fixed64_or_default(1, oid.0, out);
    put_fixed64_or_default(2, serial.0, out);
    put_bytes(3, data, out);
}

/// Appends field `oids` of a `ServerMessage`.
pub(crate) fn put_oids(oids: &[Oid], out: &mut Vec<u8>) {
    put_length(OIDS, field_bytes(8 * oids.len()), out);
    put_packed(1, oids, out);
}

/// Appends field `invalidations` of a `ServerMessage`.
pub(crate) fn put_invalidations(newest: Tid, oids: &[Oid], out: &mut Vec<u8>) {
    put_length(INVALIDATIONS, FIXED64_FIELD + field_bytes(8 * oids.len()), out);
    put_fixed64(1, newest.0, out);
    put_packed(2, oids, out);
}

/// Appends field `invalidate` of a `ServerMessage`.
pub(crate) fn put_invalidate(tid: Tid, oids: &[Oid], out: &mut Vec<u8>) {
    put_length(INVALIDATE, fixed64_bytes(tid.0) + field_bytes(8 * oids.len()), out);
    put_fixed64_or_default(1, tid.0, out);
    put_packed(2, oids, out);
}

/// Refuses a frame that is too long, or from which small fields would make large values.
pub(crate) fn check_limits(frame: &[u8], limits: Limits) -> Result<(), Malformed> {
    if frame.len() > limits.message_bytes {
        return Err(Malformed(format!(
            "{} bytes, the limit is {}",
            frame.len(),
            limits.message_bytes
        )));
    }
    // A field takes two bytes or more, so that only giants have to be counted.
    if frame.len() / 2 > limits.values && fields(frame, limits.values, true) > limits.values {
        return Err(Malformed(format!("more than {} fields", limits.values)));
    }
    Ok(())
}

/// Counts the fields of a message and, if `inside`, of the messages in it, until there are more
/// than `enough` or the rest cannot be decoded.
///
/// Two levels are all that can hurt: what is repeated stands right in a request's or answer's body.
fn fields(mut message: &[u8], enough: usize, inside: bool) -> usize {
    let mut count = 0;
    while message.has_remaining() && count <= enough {
        let Ok((tag, wire_type)) = decode_key(&mut message) else { break };
        count += 1;
        if inside && wire_type == WireType::LengthDelimited {
            let Some((body, rest)) = decode_varint(&mut message)
                .ok()
                .and_then(|length| message.split_at_checked(usize::try_from(length).ok()?))
            else {
                break;
            };
            count += fields(body, enough, false);
            message = rest;
        } else if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
            break;
        }
    }
    count
}

fn put_length(tag: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn put_fixed64(tag: u32, value: u64, out: &mut Vec<u8>) {
    encode_key(tag, WireType::SixtyFourBit, out);
    out.put_u64_le(value);
}

/// Zeros are left out, as in all of proto3, unless they are `optional`.
fn put_fixed64_or_default(tag: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put_fixed64(tag, value, out);
    }
}

/// Empty fields are left out likewise.
fn put_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        put_length(tag, bytes.len(), out);
        out.extend_from_slice(bytes);
    }
}

fn put_packed(tag: u32, oids: &[Oid], out: &mut Vec<u8>) {
    if !oids.is_empty() {
        put_length(tag, 8 * oids.len(), out);
        out.reserve(8 * oids.len());
        for oid in oids {
            out.put_u64_le(oid.0);
        }
    }
}

/// Bytes of a `fixed64` field that is not `optional`.
fn fixed64_bytes(value: u64) -> usize {
    if value == 0 { 0 } else { FIXED64_FIELD }
}

/// Bytes of a length-delimited field whose content has `length`; nothing if that is empty.
fn field_bytes(length: usize) -> usize {
    if length == 0 { 0 } else { 1 + encoded_len_varint(length as u64) + length }
}

const ID: u32 = 1;
const INVALIDATIONS: u32 = 5;
const LOADED: u32 = 6;
const DATA: u32 = 7;
const OIDS: u32 = 8;
const INVALIDATE: u32 = 13;
const LOADED_BLOB_CHUNK: u32 = 23;

/// Bytes of a `fixed64` field, its key (a tag below 16) included.
const FIXED64_FIELD: usize = 9;

const VARINT_BYTES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::generated::{self as wire, server_message::Body};

    fn body(body: Body) -> Vec<u8> {
        let mut out = Vec::new();
        body.encode(&mut out);
        out
    }

    fn direct(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out);
        out
    }

    proptest! {
        #[test]
        fn direct_bytes_are_those_of_the_generated_code(
            id: u64,
            tid in prop_oneof![Just(0), any::<u64>()],
            end: Option<u64>,
            data in prop::collection::vec(any::<u8>(), 0..300),
            oids: Vec<u64>,
        ) {
            let ids: Vec<Oid> = oids.iter().copied().map(Oid).collect();
            let bytes = Bytes::from(data.clone());
            let loaded = Loaded { data: &data[..], tid: Tid(tid), end: end.map(Tid) };
            prop_assert_eq!(
                direct(|out| put_loaded(loaded, out)),
                body(Body::Loaded(wire::Loaded { tid: Some(tid), end, data: bytes.clone() }))
            );
            prop_assert_eq!(
                direct(|out| put_data(&data, out)),
                body(Body::Data(wire::Data { data: bytes }))
            );
            prop_assert_eq!(
                direct(|out| put_oids(&ids, out)),
                body(Body::Oids(wire::Oids { oids: oids.clone() }))
            );
            let invalidations =
                wire::Invalidations { newest_tid: Some(tid), oids: oids.clone() };
            prop_assert_eq!(
                direct(|out| put_invalidations(Tid(tid), &ids, out)),
                body(Body::Invalidations(invalidations))
            );
            prop_assert_eq!(
                direct(|out| put_invalidate(Tid(tid), &ids, out)),
                body(Body::Invalidate(wire::Invalidate { tid, oids }))
            );
            let (oid, serial) = (end.unwrap_or_default(), tid);
            let chunk = wire::LoadedBlobChunk { oid, serial, data: Bytes::from(data.clone()) };
            prop_assert_eq!(
                direct(|out| put_blob_chunk(Oid(oid), Tid(serial), &data, out)),
                body(Body::LoadedBlobChunk(chunk))
            );
            let varint = direct(|out| encode_varint(id, out));
            prop_assert_eq!(&message_id(id).0[..], &varint[..]);
        }
    }

    #[test]
    fn fields_are_counted_two_levels_deep() {
        let conflict = wire::Conflict { oid: 1, ..Default::default() };
        let conflicts = wire::Conflicts { conflicts: vec![conflict; 50] };
        let message = body(Body::Conflicts(conflicts));
        assert_eq!(fields(&message, 1000, true), 51);
        let limits = Limits { values: 51, ..Limits::default() };
        assert_eq!(check_limits(&message, limits), Ok(()));
        let limits = Limits { values: 50, ..Limits::default() };
        assert!(check_limits(&message, limits).is_err());
        let limits = Limits { message_bytes: message.len() - 1, ..Limits::default() };
        assert!(check_limits(&message, limits).is_err());
    }
}
