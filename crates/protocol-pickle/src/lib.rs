//! ZEO's protocol in pickles: 'Z5' in the handshake.
//!
//! [`Pickle`] is the codec. The messages themselves are `protocol::zeo`'s; here is only how plain
//! values become pickles (`writer`, byte for byte what zodbpickle writes at protocol 3 without a
//! memo) and come back (`reader`). [`unpickle`] reads pickles that others have left in storages. The
//! extension of a transaction is MessagePack in `protocol::Begin`, so `protocol::zeo::msgpack`
//! translates it.
//!
//! **Never**: an import, a call or anything else that a pickle could ask for beyond plain data; a
//! copy of a record on decode; memory sized by a length that a peer announces; I/O.
//!
//! Start reading at [`Z5`], then `reader`.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod opcode;
mod reader;
pub mod unpickle;
mod writer;

use bytes::Bytes;
use protocol::zeo::msgpack::MsgPackWriter;
use protocol::zeo::{Encoding, NodeId, NotPlain, Tree, Value, Zeo};
use protocol::{Limits, Malformed};

pub use writer::PickleWriter;

/// The codec.
pub type Pickle = Zeo<Z5>;

/// Pickle as an encoding of ZEO's messages.
#[derive(Debug, Default)]
pub struct Z5 {
    machine: reader::Machine,
}

impl Encoding for Z5 {
    const NAME: &'static str = "pickle";
    const LETTER: u8 = b'Z';
    type Writer<'a> = PickleWriter<'a>;

    fn parse(
        &mut self,
        frame: &[u8],
        limits: &Limits,
        tree: &mut Tree,
    ) -> Result<NodeId, Malformed> {
        self.machine.parse(frame, limits, tree)
    }

    fn release(&mut self) {
        self.machine.release();
    }

    fn write(out: &mut Vec<u8>, message: impl FnOnce(&mut PickleWriter<'_>)) {
        out.extend_from_slice(&[opcode::PROTO, PROTOCOL]);
        message(&mut PickleWriter::new(out));
        out.push(opcode::STOP);
    }

    fn msgpack(value: Value<'_>) -> Result<Bytes, NotPlain> {
        let mut out = Vec::new();
        value.write(&mut MsgPackWriter::new(&mut out))?;
        Ok(out.into())
    }
}

/// What ZEO writes: the first protocol that has bytes.
const PROTOCOL: u8 = 3;
