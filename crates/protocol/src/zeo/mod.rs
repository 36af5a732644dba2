//! What the two encodings of ZEO's protocol share: the method table and the shapes of results.
//!
//! [`Zeo`] is a [`Codec`] over any [`Encoding`]. Decoding parses a frame into a [`Tree`], an arena
//! that is kept between messages, and looks at it through [`Value`]s; encoding pushes values into
//! a [`Writer`]. A message is `(id, flag, name, arguments)`; ids are never interpreted: the bytes
//! that encode them are what comes back.
//!
//! Start reading at `request`, the method table; `reply` is what it answers, `call` and `incoming`
//! are the same two from the client's side.

mod args;
mod base64;
mod call;
mod encoding;
mod extension;
mod incoming;
pub mod msgpack;
mod reply;
mod request;
mod tree;
mod value;

use bytes::Bytes;

pub use encoding::{Encoding, Writer};
pub use tree::{Items, Kind, Node, NodeId, Span, Tree};
pub use value::{NotPlain, Value};

use crate::codec::{Call, Codec, HandshakeError, Incoming, Limits, Malformed, MessageId};
use crate::message::{Expect, Loaded, Push, Reply, Request};

/// ZEO's protocol, version 5, in the encoding `E`.
#[derive(Debug)]
pub struct Zeo<E> {
    limits: Limits,
    encoding: E,
    tree: Tree,
}

impl<E: Encoding> Zeo<E> {
    fn parse<'a>(&'a mut self, frame: &'a Bytes) -> Result<Value<'a>, Malformed> {
        // Spans have 32 bits, as has the length of a frame.
        let limit = self.limits.message_bytes.min(MAX_MESSAGE_BYTES);
        if frame.len() > limit {
            return Err(Malformed(format!("{} bytes, the limit is {limit}", frame.len())));
        }
        let root = self.encoding.parse(frame, &self.limits, &mut self.tree)?;
        Ok(Value::new(&self.tree, frame, root))
    }

    /// Gives the memory of a huge message back, at once: the connection may be idle from now on.
    fn release(&mut self) {
        self.tree.release();
        self.encoding.release();
    }
}

impl<E: Encoding> Codec for Zeo<E> {
    const NAME: &'static str = E::NAME;

    fn new(limits: Limits) -> Self {
        Self { limits, encoding: E::default(), tree: Tree::new() }
    }

    fn greeting() -> Vec<u8> {
        vec![E::LETTER, VERSION]
    }

    /// A server of a later version speaks this one as well; versions compare as text.
    fn answer(greeting: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        match greeting.split_first() {
            Some((letter, version)) if *letter == E::LETTER && version >= [VERSION].as_slice() => {
                Ok(Self::greeting())
            }
            _ => Err(HandshakeError {
                wanted: E::NAME,
                greeting: greeting
                    .iter()
                    .take(40)
                    .flat_map(|byte| byte.escape_ascii())
                    .map(char::from)
                    .collect(),
            }),
        }
    }

    fn accepts(answer: &[u8]) -> bool {
        answer == [E::LETTER, VERSION]
    }

    fn decode_request(&mut self, frame: &Bytes) -> Result<Call, Malformed> {
        let call = self.parse(frame).and_then(call_of::<E>);
        self.release();
        call
    }

    fn encode_reply(&mut self, id: &MessageId, reply: &Reply, out: &mut Vec<u8>) {
        match reply {
            Reply::Loaded(Some(Loaded { data, tid, end })) => {
                self.encode_loaded(id, Loaded { data, tid: *tid, end: *end }, out);
            }
            reply => E::write(out, |writer| reply::reply(writer, &id.0, reply)),
        }
    }

    fn encode_loaded(&mut self, id: &MessageId, loaded: Loaded<&[u8]>, out: &mut Vec<u8>) {
        out.reserve(loaded.data.len() + id.0.len() + REPLY_OVERHEAD_BYTES);
        E::write(out, |writer| reply::loaded(writer, &id.0, loaded));
    }

    fn encode_push(&mut self, push: &Push, out: &mut Vec<u8>) {
        if let Push::BlobChunk { data, .. } = push {
            out.reserve(data.len() + REPLY_OVERHEAD_BYTES);
        }
        E::write(out, |writer| reply::push(writer, push));
    }

    fn encode_request(&mut self, number: u64, request: &Request, out: &mut Vec<u8>) {
        call::encode::<E>(out, number, request);
    }

    fn decode_incoming(
        &mut self,
        frame: &Bytes,
        expects: &mut dyn FnMut(u64) -> Option<Expect>,
    ) -> Result<Incoming, Malformed> {
        let incoming = self.parse(frame).and_then(|message| incoming::decode(message, expects));
        self.release();
        incoming
    }
}

fn call_of<E: Encoding>(message: Value<'_>) -> Result<Call, Malformed> {
    let [id, one_way, name, arguments] =
        message.array().ok_or_else(|| Malformed("not a message of four parts".into()))?;
    if id.int() == Some(-1) {
        return Ok(Call { id: None, request: Request::KeepAlive });
    }
    let name = name.str().ok_or_else(|| Malformed("the method's name is no text".into()))?;
    let request = request::decode::<E>(name, arguments)?;
    let id = (!one_way.is_true()).then(|| MessageId(id.raw().into()));
    Ok(Call { id, request })
}

/// The only version spoken.
const VERSION: u8 = b'5';

const MAX_MESSAGE_BYTES: usize = 0xffff_fffe;

/// What a revision's reply has besides the data and the id, in either encoding. A chunk of a blob has
/// no more.
const REPLY_OVERHEAD_BYTES: usize = 64;
