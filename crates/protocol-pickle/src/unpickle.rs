//! A reader of pickled plain data, of any protocol that a `Data.fs` may hold.
//!
//! `reader` reads what ZEO's clients send, in place and without references. Extensions of
//! transactions are older and rarer: they refer to what was said before, and those of Python 2 have
//! its strings. Python 3 writes bytes as calls where the pickle's protocol has none; those two calls
//! are read as what they make. An object of any class is passed over, and cannot be written.

mod machine;

use std::borrow::Cow;

use bytes::Bytes;
use protocol::zeo::Writer;
use protocol::zeo::msgpack::MsgPackWriter;

use machine::Machine;

/// The values of a pickle, in the order in which they came to be; the last one is the outermost.
#[derive(Debug, Default)]
pub struct Values<'a> {
    nodes: Vec<Node<'a>>,
    root: usize,
}

#[derive(Debug, Clone)]
enum Node<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Bytes(Cow<'a, [u8]>),
    Str(&'a str),
    Sequence(Vec<usize>),
    /// Keys and values in turn.
    Map(Vec<usize>),
    /// Named, but neither imported nor called: a class or a function.
    Global(&'a str, &'a str),
    /// What that would have made.
    Object(&'a str, &'a str),
    /// Plain, but too much for those that it is written for, for this reason.
    Unfit(&'static str),
}

/// One of the values of a pickle.
#[derive(Clone, Copy, Debug)]
pub struct Value<'v> {
    values: &'v Values<'v>,
    id: usize,
}

/// Reads a whole pickle; otherwise what is wrong with it.
pub fn parse(pickle: &[u8]) -> Result<Values<'_>, String> {
    Machine::new(pickle).run()
}

impl Values<'_> {
    /// The outermost value.
    pub fn root(&self) -> Value<'_> {
        Value { values: self, id: self.root }
    }
}

impl<'v> Value<'v> {
    fn node(self) -> Option<&'v Node<'v>> {
        self.values.nodes.get(self.id)
    }

    fn at(self, id: usize) -> Self {
        Self { id, ..self }
    }

    /// Whether it is `None`.
    pub fn is_none(self) -> bool {
        matches!(self.node(), Some(Node::None))
    }

    /// An integer.
    pub fn int(self) -> Option<i128> {
        if let Some(Node::Int(value)) = self.node() { Some(*value) } else { None }
    }

    /// Bytes; or those of a text, since nobody can tell what Python 2 has meant.
    pub fn bytes(self) -> Option<&'v [u8]> {
        match self.node() {
            Some(Node::Bytes(bytes)) => Some(bytes),
            Some(Node::Str(text)) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// The elements of a tuple or list that has `N` of them.
    pub fn array<const N: usize>(self) -> Option<[Self; N]> {
        let Some(Node::Sequence(items)) = self.node() else {
            return None;
        };
        let items: [usize; N] = items.as_slice().try_into().ok()?;
        Some(items.map(|id| self.at(id)))
    }

    /// The MessagePack map for a dict, which is how a transaction's extension is kept elsewhere.
    /// Nothing for an empty one. What is referred to several times is written each time. Otherwise
    /// what cannot be written.
    pub fn to_msgpack_map(self) -> Result<Bytes, String> {
        match self.node() {
            Some(Node::Map(items)) if items.is_empty() => return Ok(Bytes::new()),
            Some(Node::Map(_)) => {}
            _ => return Err("it is no dict".into()),
        }
        let mut budget = WRITTEN_MAX;
        self.measure(DEPTH_MAX, &mut budget)?;
        let mut out = Vec::new();
        self.put(&mut MsgPackWriter::new(&mut out));
        Ok(out.into())
    }

    /// Fails for what contains itself, or becomes huge by references.
    fn measure(self, depth: usize, budget: &mut usize) -> Result<(), String> {
        let cost = match self.node() {
            Some(Node::Bytes(bytes)) => bytes.len() + 1,
            Some(Node::Str(text)) => text.len() + 1,
            Some(Node::Int(value)) if !BITS_64.contains(value) => {
                return Err("an integer of more than 64 bits".into());
            }
            Some(Node::Unfit(why)) => return Err((*why).into()),
            Some(Node::Global(module, name) | Node::Object(module, name)) => {
                return Err(format!("it has something of {module}.{name}, which is no plain data"));
            }
            _ => 1,
        };
        *budget = budget.checked_sub(cost).ok_or("it is too large without its references")?;
        if let Some(Node::Sequence(items) | Node::Map(items)) = self.node() {
            let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
            items.iter().try_for_each(|item| self.at(*item).measure(depth, budget))?;
        }
        Ok(())
    }

    /// As deep as [`Self::measure`] has gone, which has found nothing else than plain data.
    fn put<W: Writer>(self, writer: &mut W) {
        match self.node() {
            None | Some(Node::None | Node::Global(..) | Node::Object(..) | Node::Unfit(_)) => {
                writer.nil()
            }
            Some(Node::Bool(value)) => writer.bool(*value),
            Some(Node::Int(value)) => writer.int(*value),
            Some(Node::Float(value)) => writer.float(*value),
            Some(Node::Bytes(value)) => writer.bytes(value),
            Some(Node::Str(value)) => writer.str(value),
            Some(Node::Sequence(items)) => writer.tuple(items.len(), |writer| {
                items.iter().for_each(|item| self.at(*item).put(writer));
            }),
            Some(Node::Map(items)) => writer.map(items.len() / 2, |writer| {
                items.iter().for_each(|item| self.at(*item).put(writer));
            }),
        }
    }
}

/// Far beyond what an application nests, and little on the stack.
const DEPTH_MAX: usize = 100;
/// A `Data.fs` has room for 64 KiB; references can make more of them.
const WRITTEN_MAX: usize = 1 << 20;
/// What MessagePack can hold.
const BITS_64: std::ops::RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;
