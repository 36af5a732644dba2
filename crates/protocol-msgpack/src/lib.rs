//! ZEO's protocol in MessagePack: 'M5' in the handshake.
//!
//! [`MsgPack`] is the codec. It is put together here and made elsewhere: the messages are
//! `protocol::zeo`'s, and how plain values become bytes and come back, as Python's msgpack does
//! it with `use_bin_type=True`, is `protocol::zeo::msgpack`'s, since transactions' extensions are
//! written in it whatever their clients speak.
//!
//! **Never**: I/O, a copy of a record on decode, memory sized by a length that a peer announces.
//!
//! Start reading at [`M5`], then `protocol::zeo::msgpack`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use bytes::Bytes;
use protocol::zeo::msgpack::{self, MsgPackWriter};
use protocol::zeo::{Encoding, NodeId, NotPlain, Tree, Value, Zeo};
use protocol::{Limits, Malformed};

/// The codec.
pub type MsgPack = Zeo<M5>;

/// MessagePack as an encoding of ZEO's messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct M5;

impl Encoding for M5 {
    const NAME: &'static str = "msgpack";
    const LETTER: u8 = b'M';
    type Writer<'a> = MsgPackWriter<'a>;

    fn parse(
        &mut self,
        frame: &[u8],
        limits: &Limits,
        tree: &mut Tree,
    ) -> Result<NodeId, Malformed> {
        msgpack::parse(frame, limits, tree)
    }

    fn write(out: &mut Vec<u8>, message: impl FnOnce(&mut MsgPackWriter<'_>)) {
        message(&mut MsgPackWriter::new(out));
    }

    /// The client's own bytes: a slice of its message.
    fn msgpack(value: Value<'_>) -> Result<Bytes, NotPlain> {
        Ok(value.shared_raw())
    }
}
