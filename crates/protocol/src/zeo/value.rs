//! A node together with its tree and frame: how decoders look at a message.

use bytes::Bytes;

use super::encoding::Writer;
use super::tree::{Items, Kind, Node, NodeId, Span, Tree};

/// One value of a decoded message.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    tree: &'a Tree,
    frame: &'a Bytes,
    node: Node,
}

impl<'a> Value<'a> {
    /// The value `id` of `tree`, which was parsed from `frame`.
    pub fn new(tree: &'a Tree, frame: &'a Bytes, id: NodeId) -> Self {
        Self { tree, frame, node: tree.node(id) }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.node.kind
    }

    /// Whether it is `None`.
    pub fn is_none(&self) -> bool {
        self.node.kind == Kind::None
    }

    /// Python's idea of truth.
    pub fn is_true(&self) -> bool {
        match self.node.kind {
            Kind::None => false,
            Kind::Bool(value) => value,
            Kind::Int(value) => value != 0,
            Kind::Float(value) => value != 0.0,
            Kind::Bytes(span) | Kind::Str(span) => span.start != span.end,
            Kind::Tuple(items) | Kind::List(items) | Kind::Map(items) => items.len() > 0,
            Kind::Long(_) => self.int() != Some(0),
            Kind::Uint(_) | Kind::Prefix(_) | Kind::Other => true,
        }
    }

    /// An integer of at most 128 bits.
    pub fn int(&self) -> Option<i128> {
        match self.node.kind {
            Kind::Int(value) => Some(i128::from(value)),
            Kind::Uint(value) => Some(i128::from(value)),
            Kind::Long(span) => long(self.slice(span)),
            _ => None,
        }
    }

    /// A double, or an integer of at most 64 bits.
    pub fn float(&self) -> Option<f64> {
        if let Kind::Float(value) = self.node.kind {
            return Some(value);
        }
        let value = i64::try_from(self.int()?).ok()?;
        // Exact up to 2^53, as Python's float(), and rounded once beyond.
        let high = i32::try_from(value >> 32).ok()?;
        let low = u32::try_from(value & 0xffff_ffff).ok()?;
        Some(f64::from(high) * 4_294_967_296.0 + f64::from(low))
    }

    /// Text.
    pub fn str(&self) -> Option<&'a str> {
        match self.node.kind {
            Kind::Str(span) => std::str::from_utf8(self.slice(span)).ok(),
            _ => None,
        }
    }

    /// Bytes, in place.
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match self.node.kind {
            Kind::Bytes(span) => Some(self.slice(span)),
            _ => None,
        }
    }

    /// Bytes or the UTF-8 of text, as a slice of the frame that may outlive it.
    pub fn data(&self) -> Option<Bytes> {
        match self.node.kind {
            Kind::Bytes(span) | Kind::Str(span) => Some(self.shared(span)),
            _ => None,
        }
    }

    /// The value's own encoding.
    pub fn raw(&self) -> &'a [u8] {
        self.slice(self.node.span)
    }

    /// The value's own encoding, as a slice of the frame that may outlive it.
    pub fn shared_raw(&self) -> Bytes {
        self.shared(self.node.span)
    }

    /// The elements of a tuple or a list.
    pub fn sequence(&self) -> Option<impl ExactSizeIterator<Item = Value<'a>> + use<'a>> {
        match self.node.kind {
            Kind::Tuple(items) | Kind::List(items) => Some(self.items(items)),
            _ => None,
        }
    }

    /// The elements of a tuple or a list of exactly `N`.
    pub fn array<const N: usize>(&self) -> Option<[Self; N]> {
        let mut elements = self.sequence().filter(|elements| elements.len() == N)?;
        let mut array = [*self; N];
        array.iter_mut().zip(&mut elements).for_each(|(slot, element)| *slot = element);
        Some(array)
    }

    /// How many entries a map has.
    pub fn entries(&self) -> Option<usize> {
        match self.node.kind {
            Kind::Map(items) => Some(items.len() / 2),
            _ => None,
        }
    }

    /// The keys and values of a map.
    pub fn pairs(&self) -> Option<impl Iterator<Item = (Self, Self)> + use<'a>> {
        let Kind::Map(items) = self.node.kind else { return None };
        let mut items = self.items(items);
        Some(std::iter::from_fn(move || Some((items.next()?, items.next()?))))
    }

    /// The entry of a map.
    pub fn get(&self, key: &str) -> Option<Self> {
        self.pairs()?.find(|(candidate, _)| candidate.str() == Some(key)).map(|(_, value)| value)
    }

    /// The path of a `ZopeUndo.Prefix.Prefix`, which keeps the path's parts.
    pub fn prefix(&self) -> Option<String> {
        let Kind::Prefix(state) = self.node.kind else { return None };
        let parts = self.items(state).next()?.get("path")?.sequence()?.map(|part| part.str());
        Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
    }

    /// Whether [`Self::write`] to a `W` succeeds and `W`'s readers take all of it.
    pub fn fits<W: Writer>(&self) -> bool {
        match self.node.kind {
            Kind::Prefix(_) | Kind::Other => false,
            Kind::Long(_) => self.int().is_some_and(|value| BITS_64.contains(&value)),
            Kind::Tuple(items) | Kind::List(items) => {
                self.items(items).all(|item| item.fits::<W>())
            }
            Kind::Map(_) => self.pairs().is_some_and(|mut pairs| {
                pairs.all(|(key, value)| W::takes_key(key.kind()) && value.fits::<W>())
            }),
            _ => true,
        }
    }

    /// Encodes the value anew, for the other encoding.
    pub fn write(&self, writer: &mut impl Writer) -> Result<(), NotPlain> {
        match self.node.kind {
            Kind::None => writer.nil(),
            Kind::Bool(value) => writer.bool(value),
            Kind::Int(value) => writer.int(i128::from(value)),
            Kind::Uint(value) => writer.int(i128::from(value)),
            Kind::Long(_) => {
                let value = self.int().filter(|value| BITS_64.contains(value));
                writer.int(value.ok_or(NotPlain)?);
            }
            Kind::Float(value) => writer.float(value),
            Kind::Bytes(span) => writer.bytes(self.slice(span)),
            Kind::Str(_) => writer.str(self.str().ok_or(NotPlain)?),
            Kind::Tuple(items) => {
                let mut done = Ok(());
                writer.tuple(items.len(), |writer| {
                    done = self.items(items).try_for_each(|item| item.write(writer));
                });
                done?;
            }
            Kind::List(items) => {
                let mut done = Ok(());
                writer.list(self.items(items), |writer, item| {
                    done = done.and_then(|()| item.write(writer));
                });
                done?;
            }
            Kind::Map(items) => {
                let mut done = Ok(());
                writer.map(items.len() / 2, |writer| {
                    done = self.items(items).try_for_each(|item| item.write(writer));
                });
                done?;
            }
            Kind::Prefix(_) | Kind::Other => return Err(NotPlain),
        }
        Ok(())
    }

    /// What a person calls it, in messages about wrong arguments.
    pub fn type_name(&self) -> &'static str {
        match self.node.kind {
            Kind::None => "None",
            Kind::Bool(_) => "bool",
            Kind::Int(_) | Kind::Uint(_) | Kind::Long(_) => "int",
            Kind::Float(_) => "float",
            Kind::Bytes(_) => "bytes",
            Kind::Str(_) => "str",
            Kind::Tuple(_) => "tuple",
            Kind::List(_) => "list",
            Kind::Map(_) => "dict",
            Kind::Prefix(_) => "Prefix",
            Kind::Other => "an extension type",
        }
    }

    fn items(&self, items: Items) -> impl ExactSizeIterator<Item = Value<'a>> + use<'a> {
        let (tree, frame) = (self.tree, self.frame);
        tree.items(items).map(move |id| Self::new(tree, frame, id))
    }

    fn slice(&self, span: Span) -> &'a [u8] {
        // Spans lie within the frame: an invariant of the tree.
        self.frame.get(span.range()).unwrap_or_default()
    }

    fn shared(&self, span: Span) -> Bytes {
        self.frame.slice_ref(self.slice(span))
    }
}

/// A value that only pickle can express: an object, or an integer of more than 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only plain data and integers of 64 bits can be kept")]
pub struct NotPlain;

/// Little-endian two's complement of any length, if the value fits.
fn long(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut whole = [fill; 16];
    let (head, tail) = bytes.split_at(bytes.len().min(16));
    whole.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
    let value = i128::from_le_bytes(whole);
    (tail.iter().all(|byte| *byte == fill) && (value < 0) == negative).then_some(value)
}

/// What MessagePack can hold.
const BITS_64: std::ops::RangeInclusive<i128> = i64::MIN as i128..=u64::MAX as i128;

#[cfg(test)]
mod tests {
    use super::long;

    #[test]
    fn long_integers_have_a_sign_in_their_last_byte() {
        assert_eq!(long(&[]), Some(0));
        assert_eq!(long(&[0xff]), Some(-1));
        assert_eq!(long(&[0xff, 0]), Some(255));
        assert_eq!(long(&[0, 0, 0, 0x80, 0]), Some(1 << 31));
        assert_eq!(long(&[0x80; 17]), None);
        let mut widest = [0xff; 17];
        widest[16] = 0;
        assert_eq!(long(&widest), None, "2^128 - 1 is not negative");
        widest[15] = 0x7f;
        assert_eq!(long(&widest), Some(i128::MAX));
    }
}
