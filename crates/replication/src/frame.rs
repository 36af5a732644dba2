//! Framing: the length and the CRC-32C of the payload, 4 bytes each, little-endian, then the payload.

use bytes::{Buf, Bytes, BytesMut};
use protocol::Malformed;

use crate::crc;
use crate::message::Message;

/// Takes the first whole message off `input`; its record data are slices of it.
///
/// `Ok(None)`: more bytes are needed. Nothing is allocated for a length that is only announced:
/// `input` grows as bytes arrive.
pub fn read<M: Message>(input: &mut BytesMut, limit_bytes: usize) -> Result<Option<M>, BadFrame> {
    match split(input, limit_bytes)? {
        Some(payload) => Ok(Some(M::decode(payload)?)),
        None => Ok(None),
    }
}

/// Appends a message to `out`; `false`, and `out` as it was: it takes 4 GiB or more.
#[must_use = "a message that is too long is not sent"]
pub fn write<M: Message>(message: &M, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    message.encode(out);
    let Some((header, payload)) =
        out.get_mut(start..).and_then(|frame| frame.split_first_chunk_mut::<HEADER_BYTES>())
    else {
        return false;
    };
    let Ok(length) = u32::try_from(payload.len()) else {
        out.truncate(start);
        return false;
    };
    let (length_bytes, crc_bytes) = header.split_at_mut(4);
    length_bytes.copy_from_slice(&length.to_le_bytes());
    crc_bytes.copy_from_slice(&crc(payload).to_le_bytes());
    true
}

/// Bytes that are no frame of this link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// It is longer than is accepted.
    #[error("a frame of {announced} bytes is announced, the limit is {limit_bytes}")]
    TooLong {
        /// What its header says.
        announced: u32,
        /// What is accepted.
        limit_bytes: usize,
    },
    /// It was changed on its way.
    #[error("the checksum of a frame of {bytes} bytes is wrong")]
    Checksum {
        /// Of the payload.
        bytes: usize,
    },
    /// It is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The payload of the first whole frame.
fn split(input: &mut BytesMut, limit_bytes: usize) -> Result<Option<Bytes>, BadFrame> {
    let mut header = input.as_ref();
    let (Ok(announced), Ok(wanted)) = (header.try_get_u32_le(), header.try_get_u32_le()) else {
        return Ok(None);
    };
    let length = usize::try_from(announced).unwrap_or(usize::MAX);
    if length > limit_bytes {
        return Err(BadFrame::TooLong { announced, limit_bytes });
    }
    if header.len() < length {
        return Ok(None);
    }
    input.advance(HEADER_BYTES);
    let payload = input.split_to(length).freeze();
    if crc(&payload) != wanted {
        return Err(BadFrame::Checksum { bytes: length });
    }
    Ok(Some(payload))
}

/// Bytes before the payload.
const HEADER_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToPrimary;

    fn framed() -> Vec<u8> {
        let mut out = Vec::new();
        assert!(write(&ToPrimary::Alive, &mut out));
        out
    }

    #[test]
    fn messages_come_off_one_by_one() {
        let frame = framed();
        let mut input = BytesMut::from(&[&frame[..], &frame[..3]].concat()[..]);
        assert_eq!(read(&mut input, 99), Ok(Some(ToPrimary::Alive)));
        for byte in &frame[3..] {
            assert_eq!(read::<ToPrimary>(&mut input, 99), Ok(None));
            input.extend_from_slice(&[*byte]);
        }
        assert_eq!(read(&mut input, 99), Ok(Some(ToPrimary::Alive)));
        assert!(input.is_empty());
    }

    #[test]
    fn a_long_announcement_is_refused_before_its_bytes_arrive() {
        let mut input = BytesMut::from(&b"\xff\xff\xff\xff\0\0\0\0"[..]);
        let refused = BadFrame::TooLong { announced: u32::MAX, limit_bytes: 99 };
        assert_eq!(read::<ToPrimary>(&mut input, 99), Err(refused));
    }

    #[test]
    fn every_changed_bit_is_found() {
        let frame = framed();
        for bit in 32..8 * frame.len() {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let read = read::<ToPrimary>(&mut BytesMut::from(&changed[..]), 99);
            assert_eq!(read, Err(BadFrame::Checksum { bytes: frame.len() - 8 }), "{bit}");
        }
    }
}
