//! Framing, common to all codecs: a 4-byte big-endian length, then that many bytes
//! (`ZEO/asyncio/smp.py`).

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Takes the first whole message off `input`, without copying it.
///
/// `Ok(None)`: more bytes are needed. Nothing is ever allocated for a length that a peer only
/// announces: `input` grows as bytes arrive.
pub fn split(input: &mut BytesMut, limit_bytes: usize) -> Result<Option<Bytes>, TooLong> {
    let Some(prefix) = input.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*prefix);
    let length = usize::try_from(announced).unwrap_or(usize::MAX);
    if length > limit_bytes {
        return Err(TooLong { announced, limit_bytes });
    }
    if input.len() - PREFIX_BYTES < length {
        return Ok(None);
    }
    input.advance(PREFIX_BYTES);
    Ok(Some(input.split_to(length).freeze()))
}

/// Appends one message to `out`: room for the prefix, what `encode` appends, then the prefix
/// itself. A message that outgrows the prefix (4 GiB) is taken back and `false` returned.
#[must_use = "a message that is too long is not sent"]
pub fn write(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    encode(out);
    let body = out.len().saturating_sub(start + PREFIX_BYTES);
    match (u32::try_from(body), out.get_mut(start..start + PREFIX_BYTES)) {
        (Ok(length), Some(prefix)) => {
            prefix.copy_from_slice(&length.to_be_bytes());
            true
        }
        _ => {
            out.truncate(start);
            false
        }
    }
}

/// A peer announced a message above the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of {announced} bytes is announced, the limit is {limit_bytes}")]
pub struct TooLong {
    /// What the prefix says.
    pub announced: u32,
    /// What is accepted.
    pub limit_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_off_one_by_one() {
        let mut out = Vec::new();
        assert!(write(&mut out, |out| out.extend_from_slice(b"one")));
        assert!(write(&mut out, |_| ()));
        assert_eq!(out, b"\0\0\0\x03one\0\0\0\0");
        let mut input = BytesMut::from(&out[..]);
        input.extend_from_slice(b"\0\0\0\x02t");
        assert_eq!(split(&mut input, 3), Ok(Some(Bytes::from("one"))));
        assert_eq!(split(&mut input, 3), Ok(Some(Bytes::new())));
        assert_eq!(split(&mut input, 3), Ok(None));
        input.extend_from_slice(b"w");
        assert_eq!(split(&mut input, 3), Ok(Some(Bytes::from("tw"))));
        assert_eq!(split(&mut input, 3), Ok(None));
    }

    #[test]
    fn a_long_announcement_is_refused_before_its_bytes_arrive() {
        let mut input = BytesMut::from(&b"\xff\xff\xff\xff"[..]);
        assert_eq!(
            split(&mut input, 1 << 20),
            Err(TooLong { announced: u32::MAX, limit_bytes: 1 << 20 })
        );
    }
}
