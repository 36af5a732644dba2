//! ZEO's protocol in MessagePack: 'M5' in the handshake.
//!
//! [`MsgPack`] is the codec. The messages themselves are `protocol::zeo`'s; here is only how
//! plain values become bytes (`writer`) and come back (`reader`), as Python's msgpack does it with
//! `use_bin_type=True`.
//!
//! **Never**: I/O, a copy of a record on decode, memory sized by a length that a peer announces.
//!
//! Start reading at [`M5`], then `reader`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod reader;
mod writer;

use bytes::Bytes;
use protocol::zeo::{Encoding, NodeId, NotPlain, Tree, Value, Zeo};
use protocol::{Limits, Malformed};

pub use writer::MsgPackWriter;

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
        reader::parse(frame, limits, tree)
    }

    fn write(out: &mut Vec<u8>, message: impl FnOnce(&mut MsgPackWriter<'_>)) {
        message(&mut MsgPackWriter::new(out));
    }

    fn extension(map: Value<'_>) -> Result<Bytes, NotPlain> {
        Ok(map.shared_raw())
    }

    fn write_extension(extension: &[u8], writer: &mut MsgPackWriter<'_>) {
        protocol::zeo::Writer::raw(
            writer,
            if extension.is_empty() { EMPTY_MAP } else { extension },
        );
    }
}

const EMPTY_MAP: &[u8] = b"\x80";
