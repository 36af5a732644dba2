//! MessagePack, written: always the shortest form, like Python's msgpack.

use rmp::encode;

use crate::zeo::encoding::Writer;
use crate::zeo::tree::Kind;

/// Appends MessagePack to a vector.
#[derive(Debug)]
pub struct MsgPackWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> MsgPackWriter<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }
}

impl Writer for MsgPackWriter<'_> {
    /// Python's msgpack takes no others by itself (`strict_map_key`).
    fn takes_key(kind: Kind) -> bool {
        matches!(kind, Kind::Bytes(_) | Kind::Str(_))
    }

    fn nil(&mut self) {
        encode::write_nil(self.out).expect(INFALLIBLE);
    }

    fn bool(&mut self, value: bool) {
        encode::write_bool(self.out, value).expect(INFALLIBLE);
    }

    fn int(&mut self, value: i128) {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => encode::write_sint(self.out, value).map(drop),
            (_, Ok(value)) => encode::write_uint(self.out, value).map(drop),
            _ if value < 0 => encode::write_sint(self.out, i64::MIN).map(drop),
            _ => encode::write_uint(self.out, u64::MAX).map(drop),
        }
        .expect(INFALLIBLE);
    }

    fn float(&mut self, value: f64) {
        encode::write_f64(self.out, value).expect(INFALLIBLE);
    }

    fn bytes(&mut self, value: &[u8]) {
        encode::write_bin_len(self.out, length(value.len())).expect(INFALLIBLE);
        self.out.extend_from_slice(value);
    }

    fn str(&mut self, value: &str) {
        encode::write_str_len(self.out, length(value.len())).expect(INFALLIBLE);
        self.out.extend_from_slice(value.as_bytes());
    }

    fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    fn tuple(&mut self, len: usize, items: impl FnOnce(&mut Self)) {
        encode::write_array_len(self.out, length(len)).expect(INFALLIBLE);
        items(self);
    }

    fn list<I: ExactSizeIterator>(&mut self, items: I, mut each: impl FnMut(&mut Self, I::Item)) {
        encode::write_array_len(self.out, length(items.len())).expect(INFALLIBLE);
        for item in items {
            each(self, item);
        }
    }

    fn map(&mut self, len: usize, entries: impl FnOnce(&mut Self)) {
        encode::write_map_len(self.out, length(len)).expect(INFALLIBLE);
        entries(self);
    }

    fn prefix(&mut self, path: &str) {
        encode::write_ext_meta(self.out, length(path.len()), PREFIX_TYPE)
            .map(drop)
            .expect(INFALLIBLE);
        self.out.extend_from_slice(path.as_bytes());
    }
}

/// What is longer outgrows the frame as well, which `protocol::frame` notices.
fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// No application of ours has extension types, so that any number will do.
const PREFIX_TYPE: i8 = 1;

const INFALLIBLE: &str = "a vector takes all bytes";
