//! Pickle, written: what zodbpickle's C pickler writes at protocol 3 with `fast = 1`.

use protocol::zeo::{Kind, Writer};

use crate::opcode;

/// Appends pickled values to a vector (without the PROTO and STOP of a whole pickle).
#[derive(Debug)]
pub struct PickleWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> PickleWriter<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    fn put(&mut self, opcode: u8, argument: &[u8]) {
        self.out.push(opcode);
        self.out.extend_from_slice(argument);
    }
}

impl Writer for PickleWriter<'_> {
    /// What Python can hash for certain.
    fn takes_key(kind: Kind) -> bool {
        !matches!(
            kind,
            Kind::Tuple(_) | Kind::List(_) | Kind::Map(_) | Kind::Prefix(_) | Kind::Other
        )
    }

    fn nil(&mut self) {
        self.out.push(opcode::NONE);
    }

    fn bool(&mut self, value: bool) {
        self.out.push(if value { opcode::NEWTRUE } else { opcode::NEWFALSE });
    }

    fn int(&mut self, value: i128) {
        if let Ok(value) = u8::try_from(value) {
            self.put(opcode::BININT1, &[value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.put(opcode::BININT2, &value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.put(opcode::BININT, &value.to_le_bytes());
        } else {
            // The fewest bytes that leave room for the sign bit.
            let bits = 128 - if value < 0 { value.leading_ones() } else { value.leading_zeros() };
            let bytes = u8::try_from(bits / 8 + 1).unwrap_or(16);
            self.put(opcode::LONG1, &[bytes]);
            self.out.extend(value.to_le_bytes().into_iter().take(bytes.into()));
        }
    }

    fn float(&mut self, value: f64) {
        self.put(opcode::BINFLOAT, &value.to_be_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        match u8::try_from(value.len()) {
            Ok(len) => self.put(opcode::SHORT_BINBYTES, &[len]),
            Err(_) => self.put(opcode::BINBYTES, &length(value.len())),
        }
        self.out.extend_from_slice(value);
    }

    fn str(&mut self, value: &str) {
        self.put(opcode::BINUNICODE, &length(value.len()));
        self.out.extend_from_slice(value.as_bytes());
    }

    fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    fn tuple(&mut self, len: usize, items: impl FnOnce(&mut Self)) {
        let end = match len {
            0 => opcode::EMPTY_TUPLE,
            1 => opcode::TUPLE1,
            2 => opcode::TUPLE2,
            3 => opcode::TUPLE3,
            _ => {
                self.out.push(opcode::MARK);
                opcode::TUPLE
            }
        };
        items(self);
        self.out.push(end);
    }

    fn list<I: ExactSizeIterator>(&mut self, items: I, mut each: impl FnMut(&mut Self, I::Item)) {
        self.out.push(opcode::EMPTY_LIST);
        let total = items.len();
        for (index, item) in items.enumerate() {
            if total > 1 && index % BATCH == 0 {
                self.out.push(opcode::MARK);
            }
            each(self, item);
            if total == 1 {
                self.out.push(opcode::APPEND);
            } else if index % BATCH == BATCH - 1 || index == total - 1 {
                self.out.push(opcode::APPENDS);
            }
        }
    }

    /// Python writes long maps in batches as well; those of ZEO are short, so one does.
    fn map(&mut self, len: usize, entries: impl FnOnce(&mut Self)) {
        self.out.push(opcode::EMPTY_DICT);
        match len {
            0 => {}
            1 => {
                entries(self);
                self.out.push(opcode::SETITEM);
            }
            _ => {
                self.out.push(opcode::MARK);
                entries(self);
                self.out.push(opcode::SETITEMS);
            }
        }
    }

    fn prefix(&mut self, path: &str) {
        let parts: Vec<_> = path.split('/').collect();
        self.put(opcode::GLOBAL, opcode::PREFIX_CLASS);
        self.put(opcode::EMPTY_TUPLE, &[opcode::NEWOBJ]);
        self.map(2, |writer| {
            writer.str("length");
            writer.int(i128::try_from(parts.len()).unwrap_or(i128::MAX));
            writer.str("path");
            writer.list(parts.iter(), |writer, part| writer.str(part));
        });
        self.out.push(opcode::BUILD);
    }
}

/// What is longer outgrows the frame as well, which `protocol::frame` notices.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// How many items one APPENDS takes.
const BATCH: usize = 1000;
