//! The pickles of a primary, read as what they mean.
//!
//! A primary pickles them in protocol 1: on Python 2 with strings, on Python 3 with calls that make
//! bytes. `protocol_pickle::unpickle` reads both.

use bytes::Bytes;
use protocol::{Oid, Tid};
use protocol_pickle::unpickle::{self, Value};

use crate::event::{Extension, Status, Transaction};

/// A message that is a pickle.
#[derive(Debug)]
pub(crate) enum Message {
    Begin(Transaction),
    Record(Head),
    /// The MD5 of all before it.
    Commit([u8; 16]),
}

/// A record without its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) oid: Oid,
    pub(crate) tid: Tid,
    pub(crate) origin: Option<Tid>,
    /// Of its blob, if one follows. An empty one has none.
    pub(crate) blocks: Option<u64>,
}

/// Reads a message; otherwise what is wrong with it.
pub(crate) fn parse(message: &[u8]) -> Result<Message, String> {
    let values = unpickle::parse(message)?;
    let [kind, content] = values.root().array().ok_or("it is no pair")?;
    let kind = kind.bytes().unwrap_or_default();
    let read = match kind {
        b"T" => transaction(content).map(Message::Begin),
        b"S" => content.array().and_then(head).map(Message::Record),
        b"B" => content.array().and_then(head_of_blob).map(Message::Record),
        b"C" => content.array().and_then(|[sum]| sum.bytes()?.try_into().ok()).map(Message::Commit),
        _ => None,
    };
    read.ok_or_else(|| format!("it is no {:?} of zrs2.1", kind.escape_ascii().to_string()))
}

fn transaction(content: Value<'_>) -> Option<Transaction> {
    let [tid, status, user, description, extension] = content.array()?;
    Some(Transaction {
        tid: Tid::try_from(tid.bytes()?).ok()?,
        status: match status.bytes()? {
            b" " => Status::Complete,
            b"p" => Status::Packed,
            _ => return None,
        },
        user: Bytes::copy_from_slice(user.bytes()?),
        description: Bytes::copy_from_slice(description.bytes()?),
        extension: extension.to_msgpack_map().map_or_else(Extension::LeftOut, Extension::Plain),
    })
}

fn head([oid, tid, version, origin]: [Value<'_>; 4]) -> Option<Head> {
    // ZODB has had no versions since 3.9.
    if !version.bytes()?.is_empty() {
        return None;
    }
    Some(Head {
        oid: Oid::try_from(oid.bytes()?).ok()?,
        tid: Tid::try_from(tid.bytes()?).ok()?,
        origin: match origin.is_none() {
            true => None,
            false => Some(Tid::try_from(origin.bytes()?).ok()?),
        },
        blocks: None,
    })
}

fn head_of_blob([oid, tid, version, origin, blocks]: [Value<'_>; 5]) -> Option<Head> {
    let blocks = u64::try_from(blocks.int()?).ok()?;
    Some(Head { blocks: Some(blocks), ..head([oid, tid, version, origin])? })
}

/// Whether ZODB takes a record for a blob's: it begins with a pickle of the class `ZODB.blob.Blob`
/// itself.
pub(crate) fn names_blob(data: &[u8]) -> bool {
    let rest = match data {
        // The protocol, from 2 on.
        [0x80, _, rest @ ..] => rest,
        rest => rest,
    };
    let rest = match rest.strip_prefix(b"cZODB.blob\nBlob\n") {
        // A number to refer to it by.
        Some([b'q', _, rest @ ..] | [b'r', _, _, _, _, rest @ ..]) => rest,
        Some(rest) => rest,
        None => return false,
    };
    rest.first() == Some(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [
            &b""[..],
            b"N.",
            b"(U\x01Tt.",
            b"(U\x01X)t.",
            b"(U\x01T(U\x08........U\x01 U\x00U\x00t.",
            // A status that a primary passes over, a short tid, an integer as a user.
            b"(U\x01T(U\x08........U\x01uU\x00U\x00}tt.",
            b"(U\x01T(U\x07.......U\x01 U\x00U\x00}tt.",
            b"(U\x01T(U\x08........U\x01 K\x00U\x00}tt.",
            // Of a version, with a number for an origin, with blocks.
            b"(U\x01S(U\x08........U\x08........U\x01vNtt.",
            b"(U\x01S(U\x08........U\x08........U\x00K\x00tt.",
            b"(U\x01S(U\x08........U\x08........U\x00NK\x00tt.",
            // With no blocks, with less than none.
            b"(U\x01B(U\x08........U\x08........U\x00Ntt.",
            b"(U\x01B(U\x08........U\x08........U\x00NJ\xff\xff\xff\xfftt.",
            b"(U\x01C(U\x0f...............tt.",
            b"(U\x01C(U\x10................tt.N",
        ] {
            assert!(parse(message).is_err(), "{}", message.escape_ascii());
        }
        for message in [
            &b"(U\x01T(U\x08........U\x01 U\x00U\x00}tt."[..],
            b"(U\x01S(U\x08........U\x08........U\x00Ntt.",
            b"(U\x01B(U\x08........U\x08........U\x00U\x08........L12L\ntt.",
            b"(U\x01C(U\x10................tt.",
        ] {
            assert!(parse(message).is_ok(), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn an_extension_that_is_not_plain_is_left_out() {
        for (value, wanted) in [
            // An object, a classic one, half a character, a large number, no dict at all.
            (&b"}U\x01acm\nC\n)Rs"[..], "m.C"),
            (b"}U\x01a(cm\nC\no}bs", "m.C"),
            (b"}U\x01aX\x03\x00\x00\x00\xed\xa0\x80s", "UTF-8"),
            (b"}U\x01aL1000000000000000000000000000000000000000L\ns", "128 bits"),
            (b"K\x01", "no dict"),
        ] {
            let head = b"(U\x01T(U\x08........U\x01pU\x00U\x00";
            let message = [&head[..], value, b"tt."].concat();
            let Ok(Message::Begin(transaction)) = parse(&message) else { panic!("{wanted}") };
            let Extension::LeftOut(why) = transaction.extension else { panic!("{wanted}") };
            assert!(why.contains(wanted), "{why}");
            assert_eq!(transaction.status, Status::Packed);
        }
    }

    #[test]
    fn blobs_are_told_by_their_class() {
        for data in [
            &b"\x80\x03cZODB.blob\nBlob\nq\x00.\x80\x03N."[..],
            b"\x80\x02cZODB.blob\nBlob\nr\x00\x01\x00\x00.N.",
            b"cZODB.blob\nBlob\n.N.",
        ] {
            assert!(names_blob(data), "{}", data.escape_ascii());
        }
        for data in [
            &b""[..],
            b"\x80\x03",
            b"\x80\x03cZODB.blob\nBlobs\nq\x00.",
            b"\x80\x03cZODB.blob\nBlob\nq\x00",
            b"\x80\x03(cZODB.blob\nBlob\nq\x00Nt.",
        ] {
            assert!(!names_blob(data), "{}", data.escape_ascii());
        }
    }
}
