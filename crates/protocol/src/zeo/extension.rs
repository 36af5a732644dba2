//! The extensions of transactions, MessagePack, on their way to and from the other side.

use bytes::Bytes;

use super::encoding::Writer;
use super::msgpack::{self, MsgPackWriter};
use super::tree::{NodeId, Tree};
use super::value::{NotPlain, Value};
use crate::codec::Limits;

/// A transaction's extension, as it is kept.
#[derive(Debug)]
pub(super) struct Extension<'a> {
    bytes: &'a Bytes,
    tree: Tree,
    root: Option<NodeId>,
}

impl<'a> Extension<'a> {
    pub(super) fn read(bytes: &'a Bytes) -> Self {
        let mut tree = Tree::new();
        let root = if bytes.is_empty() {
            None
        } else {
            msgpack::parse(bytes, &Limits::default(), &mut tree).ok()
        };
        Self { bytes, tree, root }
    }

    /// Those that the readers of a `W` take. Another client may have written anything: what cannot
    /// be read must not cost its reader the rest.
    pub(super) fn entries<W: Writer>(&self) -> impl Iterator<Item = Entry<'_>> {
        let map = self.root.map(|root| Value::new(&self.tree, self.bytes, root));
        fitting::<W>(map)
    }

    /// Whether there is an entry of that name.
    pub(super) fn has<W: Writer>(&self, name: &str) -> bool {
        self.entries::<W>().any(|(key, _)| key.str() == Some(name))
    }
}

/// A key and its value.
pub(super) type Entry<'a> = (Value<'a>, Value<'a>);

/// Writes an extension as a map of its own.
pub(super) fn write<W: Writer>(writer: &mut W, extension: &Bytes) {
    let extension = Extension::read(extension);
    let count = extension.entries::<W>().count();
    writer.map(count, |writer| put(writer, extension.entries::<W>()));
}

/// Writes entries that fit.
pub(super) fn put<'a, W: Writer>(writer: &mut W, entries: impl Iterator<Item = Entry<'a>>) {
    for (key, value) in entries {
        for part in [key, value] {
            // It fits, so nothing is refused.
            let (Ok(()) | Err(NotPlain)) = part.write(writer);
        }
    }
}

/// The entries of `map` but those called as in `except`, as an extension.
pub(super) fn of_map(map: Value<'_>, except: &[&str]) -> Bytes {
    let entries = || {
        fitting::<MsgPackWriter<'_>>(Some(map))
            .filter(|(key, _)| !key.str().is_some_and(|key| except.contains(&key)))
    };
    let mut out = Vec::new();
    match entries().count() {
        0 => {}
        count => MsgPackWriter::new(&mut out).map(count, |writer| put(writer, entries())),
    }
    out.into()
}

fn fitting<'a, W: Writer>(map: Option<Value<'a>>) -> impl Iterator<Item = Entry<'a>> {
    map.and_then(|map| map.pairs())
        .into_iter()
        .flatten()
        .filter(|(key, value)| W::takes_key(key.kind()) && value.fits::<W>())
}
