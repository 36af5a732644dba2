//! What a transaction carries besides its texts: a pickled dict in a `Data.fs`, a MessagePack map
//! elsewhere.
//!
//! To MessagePack and back, a pickle that ZODB 4 or later has written comes back byte for byte, as
//! long as it has no list (MessagePack has one kind of sequence, which comes back as a tuple), no
//! integer beyond 64 bits, and no object twice (as which Python also counts two equal literals of
//! a program: a pickle then has a reference). Others come back with the same content: those of
//! Python 2 (whose strings are taken for UTF-8), references, and lists as tuples.

use bytes::Bytes;
use protocol::Limits;
use protocol::zeo::msgpack;
use protocol::zeo::{Kind, NotPlain, Tree, Value, Writer};
use protocol_pickle::{PickleWriter, unpickle};

/// Why a transaction's extension cannot be translated.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// A pickle that asks for more than plain data, or none at all.
    #[error("the extension's pickle cannot be translated: {0}")]
    Pickle(String),
    /// Not the MessagePack of a map.
    #[error("the extension is no MessagePack map")]
    NotAMap,
    /// A value that one of the two cannot express.
    #[error(transparent)]
    NotPlain(#[from] NotPlain),
}

/// The MessagePack map for a pickled dict. Nothing, which stands for an empty dict, stays nothing.
pub fn to_msgpack(pickle: &[u8]) -> Result<Bytes, ExtensionError> {
    if pickle.is_empty() {
        return Ok(Bytes::new());
    }
    let values = unpickle::parse(pickle).map_err(ExtensionError::Pickle)?;
    values.root().to_msgpack_map().map_err(ExtensionError::Pickle)
}

/// The pickle that ZODB writes for a dict; nothing for an empty one.
pub fn to_pickle(extension: &Bytes) -> Result<Vec<u8>, ExtensionError> {
    if extension.is_empty() {
        return Ok(Vec::new());
    }
    let mut tree = Tree::new();
    let root = msgpack::parse(extension, &Limits::default(), &mut tree);
    let root = root.map_err(|_| ExtensionError::NotAMap)?;
    let map = Value::new(&tree, extension, root);
    match map.entries() {
        None => Err(ExtensionError::NotAMap),
        Some(0) => Ok(Vec::new()),
        Some(_) => {
            let mut out = PROTOCOL_3.to_vec();
            map.write(&mut Memoizing { out: &mut out, count: 0 })?;
            out.push(STOP);
            Ok(out)
        }
    }
}

/// Writes as Python does when it is not told to be `fast`: whatever could be referred to gets a
/// number.
struct Memoizing<'a> {
    out: &'a mut Vec<u8>,
    count: u32,
}

impl Memoizing<'_> {
    fn plain(&mut self) -> PickleWriter<'_> {
        PickleWriter::new(self.out)
    }

    fn memoize(&mut self) {
        match u8::try_from(self.count) {
            Ok(number) => self.out.extend([BINPUT, number]),
            Err(_) => {
                self.out.push(LONG_BINPUT);
                self.out.extend(self.count.to_le_bytes());
            }
        }
        self.count += 1;
    }
}

impl Writer for Memoizing<'_> {
    fn takes_key(kind: Kind) -> bool {
        <PickleWriter<'_> as Writer>::takes_key(kind)
    }

    /// No MessagePack value becomes one.
    fn prefix(&mut self, path: &str) {
        self.plain().prefix(path);
    }

    fn nil(&mut self) {
        self.plain().nil();
    }

    fn bool(&mut self, value: bool) {
        self.plain().bool(value);
    }

    fn int(&mut self, value: i128) {
        self.plain().int(value);
    }

    fn float(&mut self, value: f64) {
        self.plain().float(value);
    }

    fn bytes(&mut self, value: &[u8]) {
        self.plain().bytes(value);
        self.memoize();
    }

    fn str(&mut self, value: &str) {
        self.plain().str(value);
        self.memoize();
    }

    fn raw(&mut self, encoded: &[u8]) {
        self.plain().raw(encoded);
    }

    fn tuple(&mut self, len: usize, items: impl FnOnce(&mut Self)) {
        let end = match len {
            0 => EMPTY_TUPLE,
            1 => TUPLE1,
            2 => TUPLE2,
            3 => TUPLE3,
            _ => {
                self.out.push(MARK);
                TUPLE
            }
        };
        items(self);
        self.out.push(end);
        if len > 0 {
            self.memoize();
        }
    }

    /// MessagePack's sequences are tuples here.
    fn list<I: ExactSizeIterator>(&mut self, items: I, mut each: impl FnMut(&mut Self, I::Item)) {
        self.tuple(items.len(), |writer| items.for_each(|item| each(writer, item)));
    }

    fn map(&mut self, len: usize, entries: impl FnOnce(&mut Self)) {
        self.out.push(EMPTY_DICT);
        self.memoize();
        match len {
            0 => {}
            1 => {
                entries(self);
                self.out.push(SETITEM);
            }
            _ => {
                self.out.push(MARK);
                entries(self);
                self.out.push(SETITEMS);
            }
        }
    }
}

/// How pickles of this protocol begin.
const PROTOCOL_3: [u8; 2] = [0x80, 3];

// Python's names (`pickletools.py`).
const STOP: u8 = b'.';
const MARK: u8 = b'(';
const BINPUT: u8 = b'q';
const LONG_BINPUT: u8 = b'r';
const EMPTY_DICT: u8 = b'}';
const SETITEM: u8 = b's';
const SETITEMS: u8 = b'u';
const EMPTY_TUPLE: u8 = b')';
const TUPLE1: u8 = 0x85;
const TUPLE2: u8 = 0x86;
const TUPLE3: u8 = 0x87;
const TUPLE: u8 = b't';
