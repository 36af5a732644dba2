//! MessagePack of plain values.
//!
//! It lives here and not in the crate of the codec that speaks it, because it is also what
//! [`crate::Begin::extension`] is made of, whatever a client speaks: every encoding has to
//! translate to it and back.

mod reader;
mod writer;

pub use reader::{is_map, parse};
pub use writer::MsgPackWriter;
