//! The seam between messages and bytes.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::message::{Expect, Loaded, Push, Reply, Request};

/// One encoding of the protocol, both directions.
///
/// Generic, not `dyn`: it is on the hot path of every request. All methods work on whole
/// messages without their length prefix (see [`crate::frame`]); encoders append to `out` and
/// never look at what is there. A codec keeps scratch memory between messages, but no state: any
/// order of calls is allowed.
///
/// On decode, record data are slices of the frame, never copies.
pub trait Codec: Send + 'static {
    /// The name in URLs, on the command line and in reports.
    const NAME: &'static str;

    /// Creates a codec that refuses what exceeds `limits`.
    fn new(limits: Limits) -> Self;

    /// The first message of a connection, sent by the server: who speaks what.
    fn greeting() -> Vec<u8>;

    /// The client's answer to `greeting`.
    fn answer(greeting: &[u8]) -> Result<Vec<u8>, HandshakeError>;

    /// Whether `answer` is a client's answer that chooses this codec.
    fn accepts(answer: &[u8]) -> bool;

    /// Decodes what a client sent. Wrong arguments of a known method are a
    /// [`Request::Invalid`]; `Err` means that the connection has to be closed.
    fn decode_request(&mut self, frame: &Bytes) -> Result<Call, Malformed>;

    /// Encodes the answer to call `id`.
    fn encode_reply(&mut self, id: &MessageId, reply: &Reply, out: &mut Vec<u8>);

    /// Same as [`Self::encode_reply`] of [`Reply::Loaded`], for data that are nobody's `Bytes`.
    fn encode_loaded(&mut self, id: &MessageId, loaded: Loaded<&[u8]>, out: &mut Vec<u8>);

    /// Encodes a push.
    fn encode_push(&mut self, push: &Push, out: &mut Vec<u8>);

    /// Encodes a request; `number` is 1, 2, ... and comes back in [`Incoming::Reply`]. It is not
    /// sent where [`Request::expects`] is `None`.
    fn encode_request(&mut self, number: u64, request: &Request, out: &mut Vec<u8>);

    /// Decodes what a server sent. `expects` gives what call `number` waits for, `None` if no such
    /// call is under way (then the message is malformed).
    fn decode_incoming(
        &mut self,
        frame: &Bytes,
        expects: &mut dyn FnMut(u64) -> Option<Expect>,
    ) -> Result<Incoming, Malformed>;
}

/// A client's message: a request and, unless it is one-way, the id that its answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `None` for a one-way message.
    pub id: Option<MessageId>,
    /// What is asked.
    pub request: Request,
}

/// A message id as it was encoded by the client: opaque, echoed byte for byte.
///
/// ZEO's client sends integers, and pairs `(oid, tid)` of 21 bytes, which fit inline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageId(pub SmallVec<[u8; 24]>);

/// What a client finds in a server's message.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The answer to the call `number`.
    Reply {
        /// As given to [`Codec::encode_request`].
        number: u64,
        /// The answer.
        reply: Reply,
    },
    /// Something told unasked.
    Push(Push),
}

/// What a codec accepts from its peer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Nesting of containers.
    pub depth: usize,
    /// Values (container or not) in one message.
    pub values: usize,
}

impl Default for Limits {
    /// What a server accepts from its clients.
    fn default() -> Self {
        Self { message_bytes: 256 << 20, depth: 32, values: 1 << 20 }
    }
}

impl Limits {
    /// What a client accepts from its server, which it trusts: an invalidation may name as many
    /// objects as a message has room for.
    pub fn of_client() -> Self {
        let limits = Self::default();
        Self { values: limits.message_bytes / VALUE_BYTES_MIN, ..limits }
    }
}

/// What a value has at least in a message that is long because of its many values: an oid's 8 bytes.
const VALUE_BYTES_MIN: usize = 8;

/// Bytes that are not a message of this protocol: the connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub struct Malformed(pub String);

/// A server's greeting that this client cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not speak {wanted}: it greets with {greeting:?}")]
pub struct HandshakeError {
    /// What the client speaks.
    pub wanted: &'static str,
    /// What the server sent, printable.
    pub greeting: String,
}
