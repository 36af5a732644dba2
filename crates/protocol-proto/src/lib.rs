//! The codec of the language-independent protocol: protobuf, as `proto/zeoxide.proto` describes.
//!
//! That file is the public contract, framing, handshake and ordering included; this crate turns
//! its messages into those of [`protocol`] and back. `generated.rs` is what `prost-build` makes of
//! it (`tests/generated.rs` keeps the two together); the messages that servers send most are
//! written by hand in `direct.rs`, so that their bytes are copied once, into the output.
//!
//! **Never**: I/O, a clock, or a panic over what a peer sent. Record data are never copied when
//! a message is decoded.
//!
//! Start reading at `proto/zeoxide.proto`, then [`Proto`].
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod direct;
mod failure;
#[allow(missing_docs, unnameable_types, unreachable_pub, clippy::all)]
#[rustfmt::skip]
mod generated;
mod hello;
mod reply;
mod request;

use bytes::Bytes;
use prost::{DecodeError, Message};
use protocol::{
    Call, Codec, Expect, HandshakeError, Incoming, Limits, Loaded, Malformed, MessageId, Push,
    Reply, Request,
};

use crate::generated::{ClientMessage, ServerMessage};

/// Protobuf.
///
/// Ids are the encoded varints of the `id` field, of which a server needs no more than the bytes.
///
/// [`Request::Invalid`], transactions whose ids are not 64 bits wide and parts of blobs that do not say
/// whose do not exist in this protocol: a client's [`Codec::encode_request`] makes of them a message
/// without a request, over which every server closes the connection.
#[derive(Debug)]
pub struct Proto {
    limits: Limits,
}

impl Codec for Proto {
    const NAME: &'static str = "proto";

    fn new(limits: Limits) -> Self {
        Self { limits }
    }

    fn greeting() -> Vec<u8> {
        hello::greeting()
    }

    fn answer(greeting: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        hello::answer(greeting)
    }

    fn accepts(answer: &[u8]) -> bool {
        hello::accepts(answer)
    }

    fn decode_request(&mut self, frame: &Bytes) -> Result<Call, Malformed> {
        direct::check_limits(frame, self.limits)?;
        request::decode(ClientMessage::decode(frame.clone()).map_err(undecodable)?, self.limits)
    }

    fn encode_reply(&mut self, id: &MessageId, reply: &Reply, out: &mut Vec<u8>) {
        direct::put_id(id, out);
        reply::encode(reply, out);
    }

    fn encode_loaded(&mut self, id: &MessageId, loaded: Loaded<&[u8]>, out: &mut Vec<u8>) {
        direct::put_id(id, out);
        direct::put_loaded(loaded, out);
    }

    fn encode_push(&mut self, push: &Push, out: &mut Vec<u8>) {
        reply::encode_push(push, out);
    }

    fn encode_request(&mut self, number: u64, request: &Request, out: &mut Vec<u8>) {
        request::encode(number, request, out);
    }

    fn decode_incoming(
        &mut self,
        frame: &Bytes,
        expects: &mut dyn FnMut(u64) -> Option<Expect>,
    ) -> Result<Incoming, Malformed> {
        direct::check_limits(frame, self.limits)?;
        reply::decode(ServerMessage::decode(frame.clone()).map_err(undecodable)?, expects)
    }
}

fn undecodable(error: DecodeError) -> Malformed {
    Malformed(error.to_string())
}

/// Appends `message`.
fn put(message: &impl Message, out: &mut Vec<u8>) {
    message.encode(out).expect("a Vec has room as long as there is memory");
}
