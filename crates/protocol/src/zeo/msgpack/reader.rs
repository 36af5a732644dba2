//! MessagePack, read into a [`Tree`] in one pass.

use rmp::Marker;

use crate::codec::{Limits, Malformed};
use crate::zeo::tree::{Items, Kind, NodeId, Span, Tree};

/// Reads `frame`, which has to be exactly one value, into `tree`, which it resets.
pub fn parse(frame: &[u8], limits: &Limits, tree: &mut Tree) -> Result<NodeId, Malformed> {
    tree.reset(limits);
    let mut reader = Reader { frame, position: 0, tree };
    let root = reader.value(limits.depth)?;
    match frame.len() - reader.position {
        0 => Ok(root),
        rest => Err(Malformed(format!("{rest} bytes after the message"))),
    }
}

/// Whether `bytes` are exactly one map, as [`crate::Begin::extension`] has to be.
pub fn is_map(bytes: &[u8], limits: &Limits) -> bool {
    let mut tree = Tree::new();
    let root = parse(bytes, limits, &mut tree);
    root.is_ok_and(|root| matches!(tree.node(root).kind, Kind::Map(_)))
}

/// Whether `bytes` are exactly one value, as [`crate::Wanted::Value`] has to be.
pub fn is_value(bytes: &[u8], limits: &Limits) -> bool {
    parse(bytes, limits, &mut Tree::new()).is_ok()
}

struct Reader<'a> {
    frame: &'a [u8],
    /// Never behind the end of `frame`.
    position: usize,
    tree: &'a mut Tree,
}

impl<'a> Reader<'a> {
    /// One value; containers may be nested `depth` deep, which bounds this recursion.
    fn value(&mut self, depth: usize) -> Result<NodeId, Malformed> {
        let start = self.position;
        let [marker] = self.array()?;
        let kind = match Marker::from_u8(marker) {
            Marker::FixPos(value) => Kind::Int(value.into()),
            Marker::FixNeg(value) => Kind::Int(value.into()),
            Marker::Null => Kind::None,
            Marker::False => Kind::Bool(false),
            Marker::True => Kind::Bool(true),
            Marker::U8 => Kind::Int(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Kind::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Kind::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => unsigned(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Kind::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Kind::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Kind::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Kind::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Kind::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Kind::Float(f64::from_be_bytes(self.array()?)),
            Marker::Reserved => return Err(Malformed("a byte of no meaning".into())),
            marker => return self.sized(marker, start, depth),
        };
        self.tree.add(kind, Span::new(start, self.position))
    }

    /// What begins with a length.
    fn sized(&mut self, marker: Marker, start: usize, depth: usize) -> Result<NodeId, Malformed> {
        let kind = match marker {
            Marker::FixStr(len) => self.text(len.into())?,
            Marker::Str8 => self.length8().and_then(|len| self.text(len))?,
            Marker::Str16 => self.length16().and_then(|len| self.text(len))?,
            Marker::Str32 => self.length32().and_then(|len| self.text(len))?,
            Marker::Bin8 => self.length8().and_then(|len| self.bytes(len))?,
            Marker::Bin16 => self.length16().and_then(|len| self.bytes(len))?,
            Marker::Bin32 => self.length32().and_then(|len| self.bytes(len))?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.length8().and_then(|len| self.extension(len))?,
            Marker::Ext16 => self.length16().and_then(|len| self.extension(len))?,
            Marker::Ext32 => self.length32().and_then(|len| self.extension(len))?,
            marker => return self.container(marker, start, depth),
        };
        self.tree.add(kind, Span::new(start, self.position))
    }

    fn container(
        &mut self,
        marker: Marker,
        start: usize,
        depth: usize,
    ) -> Result<NodeId, Malformed> {
        let (kind, len) = match marker {
            Marker::FixArray(len) => (Kind::Tuple(Items::EMPTY), len.into()),
            Marker::Array16 => (Kind::Tuple(Items::EMPTY), self.length16()?),
            Marker::Array32 => (Kind::Tuple(Items::EMPTY), self.length32()?),
            Marker::FixMap(len) => (Kind::Map(Items::EMPTY), usize::from(len) * 2),
            Marker::Map16 => (Kind::Map(Items::EMPTY), self.length16()? * 2),
            Marker::Map32 => (Kind::Map(Items::EMPTY), self.length32()?.saturating_mul(2)),
            _ => return Err(Malformed("a byte of no meaning".into())),
        };
        let depth = depth.checked_sub(1).ok_or_else(|| Malformed("nested too deeply".into()))?;
        let id = self.tree.add(kind, Span::new(start, self.position))?;
        for _ in 0..len {
            let child = self.value(depth)?;
            self.tree.append(id, child)?;
        }
        self.tree.extend(id, Span::new(start, self.position).end);
        Ok(id)
    }

    fn text(&mut self, len: usize) -> Result<Kind, Malformed> {
        let (bytes, span) = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(Kind::Str(span)),
            Err(_) => Err(Malformed("text that is not UTF-8".into())),
        }
    }

    fn bytes(&mut self, len: usize) -> Result<Kind, Malformed> {
        self.take(len).map(|(_, span)| Kind::Bytes(span))
    }

    /// An extension type: a byte that names it, then `len` bytes.
    fn extension(&mut self, len: usize) -> Result<Kind, Malformed> {
        self.take(1)?;
        self.take(len)?;
        Ok(Kind::Other)
    }

    fn length8(&mut self) -> Result<usize, Malformed> {
        self.array().map(u8::from_be_bytes).map(usize::from)
    }

    fn length16(&mut self) -> Result<usize, Malformed> {
        self.array().map(u16::from_be_bytes).map(usize::from)
    }

    fn length32(&mut self) -> Result<usize, Malformed> {
        let len = self.array().map(u32::from_be_bytes)?;
        Ok(usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let rest = self.frame.get(self.position..).unwrap_or_default();
        let array = rest.first_chunk().ok_or_else(cut_short)?;
        self.position += N;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<(&'a [u8], Span), Malformed> {
        let start = self.position;
        let end = start.checked_add(len).ok_or_else(cut_short)?;
        let bytes = self.frame.get(start..end).ok_or_else(cut_short)?;
        self.position = end;
        Ok((bytes, Span::new(start, end)))
    }
}

fn unsigned(value: u64) -> Kind {
    i64::try_from(value).map_or(Kind::Uint(value), Kind::Int)
}

fn cut_short() -> Malformed {
    Malformed("it ends within a value".into())
}
