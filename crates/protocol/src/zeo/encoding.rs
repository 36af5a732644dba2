//! The seam below ZEO's messages: an encoding of plain values.

use bytes::Bytes;

use super::tree::{Kind, NodeId, Tree};
use super::value::{NotPlain, Value};
use crate::codec::{Limits, Malformed};

/// One way to write ZEO's messages: pickle or MessagePack.
///
/// A value of the type holds only scratch memory of the parser.
pub trait Encoding: Default + Send + 'static {
    /// See [`crate::Codec::NAME`].
    const NAME: &'static str;

    /// What this encoding is called in the handshake.
    const LETTER: u8;

    /// Appends values to a message.
    type Writer<'a>: Writer;

    /// Reads one whole message into `tree`, which it resets, and returns the outermost value.
    ///
    /// Work and memory are bounded by `limits` and by the length of the frame, whatever it says.
    fn parse(
        &mut self,
        frame: &[u8],
        limits: &Limits,
        tree: &mut Tree,
    ) -> Result<NodeId, Malformed>;

    /// Gives back what a huge message has made of the scratch memory.
    fn release(&mut self) {}

    /// Appends the message that `message` writes, one value, to `out`.
    fn write(out: &mut Vec<u8>, message: impl FnOnce(&mut Self::Writer<'_>));

    /// A value as MessagePack, as in [`crate::Begin::extension`] and [`crate::Wanted::Value`].
    fn msgpack(value: Value<'_>) -> Result<Bytes, NotPlain>;
}

/// Appends values, each call one, outermost containers first.
pub trait Writer {
    /// Whether those who read it in Python take such a key in a map.
    fn takes_key(kind: Kind) -> bool;
    /// `None`.
    fn nil(&mut self);
    /// A truth value.
    fn bool(&mut self, value: bool);
    /// An integer. MessagePack has 64 bits: beyond them it writes the nearest that it has.
    fn int(&mut self, value: i128);
    /// A double.
    fn float(&mut self, value: f64);
    /// Bytes.
    fn bytes(&mut self, value: &[u8]);
    /// Text.
    fn str(&mut self, value: &str);
    /// A value that is already encoded.
    fn raw(&mut self, encoded: &[u8]);
    /// A tuple of `len` values, which `items` writes.
    fn tuple(&mut self, len: usize, items: impl FnOnce(&mut Self));
    /// A list: `each` writes one value for every item.
    fn list<I: ExactSizeIterator>(&mut self, items: I, each: impl FnMut(&mut Self, I::Item));
    /// A map of `len` entries; `entries` writes a key and a value for each.
    fn map(&mut self, len: usize, entries: impl FnOnce(&mut Self));
    /// A `ZopeUndo.Prefix.Prefix`. MessagePack has no objects: an extension type takes its place,
    /// which servers refuse.
    fn prefix(&mut self, path: &str);
}
