//! MessagePack of plain values.
//!
//! It lives here and not in the crate of the codec that speaks it, because it is also what
//! [`crate::Begin::extension`] is made of, whatever a client speaks: every encoding has to
//! translate to it and back.

mod reader;
mod writer;

use bytes::Bytes;

pub use reader::{is_map, is_value, parse};
pub use writer::MsgPackWriter;

use super::encoding::Writer;
use super::tree::Tree;
use super::value::Value;
use crate::codec::Limits;

/// Writes a value in another encoding; as `None` if it is not one that `W`'s readers take.
pub fn copy<W: Writer>(value: &Bytes, writer: &mut W) {
    let mut tree = Tree::new();
    let root = parse(value, &Limits::default(), &mut tree);
    let value = root.ok().map(|root| Value::new(&tree, value, root));
    if value.is_none_or(|value| !value.fits::<W>() || value.write(writer).is_err()) {
        writer.nil();
    }
}
