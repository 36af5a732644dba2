//! The bytes of headers, and what they mean.

use bytes::Bytes;
use protocol::{Oid, Tid};

/// Which Python wrote the file: its pickles differ, the file does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// `FS21`: Python 2.
    Python2,
    /// `FS30`: Python 3.
    Python3,
}

impl Magic {
    /// The first bytes of the file.
    pub const fn to_bytes(self) -> [u8; 4] {
        match self {
            Self::Python2 => *b"FS21",
            Self::Python3 => *b"FS30",
        }
    }

    pub(crate) fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        [Self::Python2, Self::Python3].into_iter().find(|magic| magic.to_bytes() == bytes)
    }
}

/// What has become of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `b' '`: committed.
    Complete,
    /// `b'p'`: committed, and since then a pack took records of it.
    Packed,
    /// `b'u'`: taken back by an undo of ZODB 3.2 or before. FileStorage passes over it, and so must
    /// whoever asks for what is stored.
    Undone,
}

impl Status {
    /// ZODB's character.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Complete => b' ',
            Self::Packed => b'p',
            Self::Undone => b'u',
        }
    }

    /// The inverse of [`Self::to_byte`].
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Complete, Self::Packed, Self::Undone].into_iter().find(|one| one.to_byte() == byte)
    }
}

/// A transaction without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its tid.
    pub tid: Tid,
    /// What has become of it.
    pub status: Status,
    /// Who, in at most 65,535 bytes.
    pub user: Bytes,
    /// What, in at most 65,535 bytes.
    pub description: Bytes,
    /// More: a pickled dict, or nothing, in at most 65,535 bytes. See [`crate::extension`].
    pub extension: Bytes,
}

/// A revision of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose revision.
    pub oid: Oid,
    /// The revision; `None`: the object was deleted, or its creation undone. The format has no
    /// empty ones.
    pub data: Option<Bytes>,
    /// The tid of the revision whose data an undo brought back.
    pub origin: Option<Tid>,
    /// Whether the object's revision before this one can be found from it: in the file, the record
    /// points there. A pack takes these pointers away. An object's first record has none anyway,
    /// whatever is asked of a writer here.
    pub linked: bool,
}

/// The fixed part of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransactionHeader {
    pub(crate) tid: Tid,
    /// Up to the second length, which is not counted.
    pub(crate) bytes: u64,
    /// Not a [`Status`]: it can be [`CHECKPOINT`], or damaged.
    pub(crate) status: u8,
    pub(crate) user_bytes: u16,
    pub(crate) description_bytes: u16,
    pub(crate) extension_bytes: u16,
}

impl TransactionHeader {
    pub(crate) fn decode(bytes: [u8; TRANSACTION_HEADER_BYTES]) -> Self {
        let mut fields = Fields(&bytes);
        Self {
            tid: Tid::from_bytes(fields.take()),
            bytes: u64::from_be_bytes(fields.take()),
            status: u8::from_be_bytes(fields.take()),
            user_bytes: u16::from_be_bytes(fields.take()),
            description_bytes: u16::from_be_bytes(fields.take()),
            extension_bytes: u16::from_be_bytes(fields.take()),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.tid.to_bytes());
        out.extend(self.bytes.to_be_bytes());
        out.push(self.status);
        for length in [self.user_bytes, self.description_bytes, self.extension_bytes] {
            out.extend(length.to_be_bytes());
        }
    }

    /// Bytes before the first record.
    pub(crate) fn head_bytes(&self) -> u64 {
        let texts = [self.user_bytes, self.description_bytes, self.extension_bytes];
        TRANSACTION_HEADER_BYTES as u64 + texts.map(u64::from).iter().sum::<u64>()
    }
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) oid: Oid,
    pub(crate) tid: Tid,
    /// Where the object's previous record is; 0 for none.
    pub(crate) previous: u64,
    /// Where the transaction is.
    pub(crate) transaction: u64,
    /// Always 0: ZODB had versions once.
    pub(crate) version_bytes: u16,
    /// 0: a pointer follows in place of data.
    pub(crate) data_bytes: u64,
}

impl RecordHeader {
    pub(crate) fn decode(bytes: [u8; RECORD_HEADER_BYTES]) -> Self {
        let mut fields = Fields(&bytes);
        Self {
            oid: Oid::from_bytes(fields.take()),
            tid: Tid::from_bytes(fields.take()),
            previous: u64::from_be_bytes(fields.take()),
            transaction: u64::from_be_bytes(fields.take()),
            version_bytes: u16::from_be_bytes(fields.take()),
            data_bytes: u64::from_be_bytes(fields.take()),
        }
    }

    pub(crate) fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let fields = (self.oid.to_bytes().into_iter())
            .chain(self.tid.to_bytes())
            .chain(self.previous.to_be_bytes())
            .chain(self.transaction.to_be_bytes())
            .chain(self.version_bytes.to_be_bytes())
            .chain(self.data_bytes.to_be_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Bytes of the whole record; `None`: more than a number can say.
    pub(crate) fn record_bytes(&self) -> Option<u64> {
        let content = if self.data_bytes == 0 { POINTER_BYTES } else { self.data_bytes };
        content.checked_add(RECORD_HEADER_BYTES as u64)
    }
}

/// Takes fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("a header has room for its fields");
        self.0 = rest;
        *field
    }
}

/// Records beyond this are refused, since one of them has to fit into memory.
pub const RECORD_BYTES_MAX: u64 = 2 << 30;

/// A status while a transaction is written; one that stays was never committed.
pub(crate) const CHECKPOINT: u8 = b'c';
pub(crate) const MAGIC_BYTES: u64 = 4;
pub(crate) const TRANSACTION_HEADER_BYTES: usize = 23;
pub(crate) const RECORD_HEADER_BYTES: usize = 42;
/// Of a pointer in place of data, and of the length after a transaction.
pub(crate) const POINTER_BYTES: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let header = TransactionHeader {
            tid: Tid(0x0102_0304_0506_0708),
            bytes: 0x1112_1314_1516_1718,
            status: b'p',
            user_bytes: 0x2122,
            description_bytes: 0x3132,
            extension_bytes: 0x4142,
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        assert_eq!(TransactionHeader::decode(bytes.try_into().unwrap()), header);
        let header = RecordHeader {
            oid: Oid(1),
            tid: Tid(2),
            previous: 3,
            transaction: 4,
            version_bytes: 5,
            data_bytes: u64::MAX,
        };
        assert_eq!(RecordHeader::decode(header.encode()), header);
        assert_eq!(header.record_bytes(), None);
    }
}
