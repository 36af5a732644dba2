//! The memory of one connection: small while it is idle, whatever went through it before.

use std::mem;

use bytes::BytesMut;
use protocol::frame::PREFIX_BYTES;

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// How much was handed out by [`Self::lend`] and is not known to be written.
    lent: usize,
    /// The memory of what was handed out last, to be used again.
    spare: Vec<u8>,
}

impl Output {
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Where to append. All of it is unwritten, so that its length says how much waits.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.written);
        self.written = 0;
        &mut self.bytes
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.bytes.len(), "more was written than there is");
        if self.written >= self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            discard_large(&mut self.bytes);
        }
    }

    /// How much is not written, be it here or handed out. In bytes.
    pub(crate) fn unwritten(&self) -> usize {
        self.lent + self.rest().len()
    }

    /// Hands out all that waits, by ownership. Not twice at a time, or it would change places.
    pub(crate) fn lend(&mut self) -> Option<Vec<u8>> {
        if self.lent > 0 || self.rest().is_empty() {
            return None;
        }
        self.lent = self.rest().len();
        let spare = mem::take(&mut self.spare);
        Some(mem::replace(self.tail(), spare))
    }

    /// Takes the memory back, whose content was written.
    pub(crate) fn take_back(&mut self, mut memory: Vec<u8>) {
        self.lent = 0;
        memory.clear();
        discard_large(&mut memory);
        self.spare = memory;
    }
}

fn discard_large(empty: &mut Vec<u8>) {
    if empty.capacity() > KEPT_BYTES {
        *empty = Vec::new();
    }
}

/// Gives `input` spare capacity for a read.
///
/// It grows with what has arrived, by doubling, never with what is announced; and what a long
/// message made it grow to is given back when that message has been taken off.
pub(crate) fn prepare(input: &mut BytesMut) {
    prepare_for(input, input.len());
}

/// The same, where `arrived` is not what is in `input`.
pub(crate) fn prepare_for(input: &mut BytesMut, arrived: usize) {
    input.reserve(arrived.clamp(SPARE_BYTES, KEPT_BYTES));
    if input.is_empty() && input.capacity() > KEPT_BYTES {
        *input = BytesMut::with_capacity(2 * SPARE_BYTES);
    }
}

/// Gives the memory of long messages back at once: their client may be idle from now on, even in
/// the middle of a short one. `read` is how much there was before they were taken off.
pub(crate) fn release(input: &mut BytesMut, read: usize) {
    if read > KEPT_BYTES && input.len() <= SPARE_BYTES {
        *input = BytesMut::from(&input[..]);
    }
}

/// The same, for an `input` that is empty whenever this is called: `arrived` as for
/// [`prepare_for`].
pub(crate) fn release_for(input: &mut BytesMut, arrived: usize) {
    if arrived <= SPARE_BYTES && input.capacity() > 4 * SPARE_BYTES {
        *input = BytesMut::new();
    }
}

/// Whether there is something for a session to handle: a whole message, of any length.
pub(crate) fn has_frame(input: &BytesMut) -> bool {
    input.first_chunk::<PREFIX_BYTES>().is_some_and(|prefix| {
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        input.len() - PREFIX_BYTES >= length
    })
}

/// A read asks for at least this much: many requests, or a large part of a usual record.
const SPARE_BYTES: usize = 8 << 10;

/// A buffer that was larger than this is not kept.
const KEPT_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use protocol::frame;

    use super::*;

    #[test]
    fn output_leaves_in_pieces() {
        let mut output = Output::default();
        output.tail().extend_from_slice(b"abcdef");
        output.consume(2);
        assert_eq!(output.rest(), b"cdef");
        output.tail().extend_from_slice(b"gh");
        assert_eq!(output.rest(), b"cdefgh");
        output.consume(6);
        assert_eq!(output.rest(), b"");
    }

    #[test]
    fn large_output_memory_is_not_kept() {
        let mut output = Output::default();
        output.tail().resize(KEPT_BYTES + 1, 0);
        output.consume(KEPT_BYTES + 1);
        assert_eq!(output.bytes.capacity(), 0);
        output.tail().resize(100, 0);
        output.consume(100);
        assert!(output.bytes.capacity() >= 100, "small memory is used again");
    }

    #[test]
    fn output_that_is_handed_out_counts_as_unwritten_and_its_memory_is_used_again() {
        let mut output = Output::default();
        assert_eq!(output.lend(), None);
        let mut memories = Vec::new();
        for _ in 0..4 {
            output.tail().extend_from_slice(b"first");
            let first = output.lend().unwrap();
            assert_eq!(first, b"first");
            assert_eq!((output.rest().len(), output.unwritten()), (0, 5));
            output.tail().extend_from_slice(b"second");
            assert_eq!(output.lend(), None, "the first part is not written");
            memories.push(first.as_ptr().addr());
            output.take_back(first);
            assert_eq!(output.unwritten(), 6);
            let second = output.lend().unwrap();
            assert_eq!(second, b"second");
            memories.push(second.as_ptr().addr());
            output.take_back(second);
            assert_eq!(output.unwritten(), 0);
        }
        memories.sort_unstable();
        memories.dedup();
        assert_eq!(memories.len(), 2);
    }

    /// A buffer that took a long message in, as it arrives.
    fn filled(long: usize) -> BytesMut {
        let mut input = BytesMut::new();
        let mut whole = Vec::new();
        assert!(frame::write(&mut whole, |out| out.resize(out.len() + long, 7)));
        let mut rest = whole.as_slice();
        while !rest.is_empty() {
            prepare(&mut input);
            let spare = input.capacity() - input.len();
            assert!(spare >= SPARE_BYTES);
            assert!(input.capacity() <= 3 * input.len() + 4 * SPARE_BYTES, "grew beyond need");
            let (now, later) = rest.split_at(spare.min(rest.len()));
            input.extend_from_slice(now);
            rest = later;
        }
        assert!(has_frame(&input));
        input
    }

    #[test]
    fn input_grows_for_a_long_message_and_shrinks_after_it() {
        let long = 1 << 20;
        let mut busy = filled(long);
        drop(frame::split(&mut busy, long));
        prepare(&mut busy);
        assert!(busy.capacity() <= KEPT_BYTES);

        for rest in [&b""[..], b"\0\0"] {
            let mut idle = filled(long);
            idle.extend_from_slice(rest);
            let read = idle.len();
            drop(frame::split(&mut idle, long));
            release(&mut idle, read);
            assert_eq!(&idle[..], rest);
            assert!(idle.capacity() <= SPARE_BYTES, "{}", idle.capacity());
        }
    }

    #[test]
    fn small_requests_use_the_same_memory_again() {
        let mut input = BytesMut::new();
        prepare(&mut input);
        let memory = input.as_ptr();
        for _ in 0..1000 {
            input.extend_from_slice(b"\0\0\0\x05hello");
            drop(frame::split(&mut input, 100));
            prepare(&mut input);
        }
        let distance = input.as_ptr().addr().abs_diff(memory.addr());
        assert!(distance < 2 * SPARE_BYTES, "{distance}");
    }

    #[test]
    fn a_frame_is_there_when_its_last_byte_is() {
        let mut input = BytesMut::new();
        for byte in *b"\0\0\0\x02ab" {
            assert!(!has_frame(&input));
            input.extend_from_slice(&[byte]);
        }
        assert!(has_frame(&input));
    }
}
