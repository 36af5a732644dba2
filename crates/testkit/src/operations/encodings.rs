//! What it costs to turn a message into bytes and back.

use std::hint::black_box;

use bytes::Bytes;
use protocol::{Codec, Limits, Loaded, MessageId, Reply, Request};

use super::Operation;
use super::messages::Message;

/// Encodes `message` as its sender does, into memory that is there already. `None`: this encoding
/// has no form for it.
pub fn encode<C: Codec>(message: Message) -> Option<Operation> {
    let mut end = End::<C>::new();
    let mut out = end.frame(&message)?.to_vec();
    Some(Box::new(move || {
        out.clear();
        end.encode(black_box(&message), &mut out);
        black_box(&out);
    }))
}

/// Decodes `message` as its receiver does, and drops what came of it.
pub fn decode<C: Codec>(message: Message) -> Option<Operation> {
    let mut end = End::<C>::new();
    let frame = end.frame(&message)?;
    Some(Box::new(move || {
        black_box(end.decodes(&message, black_box(&frame)));
    }))
}

/// `message` as bytes, without a length prefix; `None`: this encoding has no form for it.
pub fn frame<C: Codec>(message: &Message) -> Option<Bytes> {
    End::<C>::new().frame(message)
}

/// One end of a connection.
struct End<C> {
    codec: C,
    /// Of the call that replies answer.
    id: MessageId,
}

impl<C: Codec> End<C> {
    fn new() -> Self {
        let mut codec = C::new(Limits::default());
        let mut ping = Vec::new();
        codec.encode_request(CALL, &Request::Ping, &mut ping);
        let call = codec.decode_request(&ping.into()).expect("a ping is decoded");
        Self { codec, id: call.id.expect("a ping is answered") }
    }

    fn frame(&mut self, message: &Message) -> Option<Bytes> {
        let mut out = Vec::new();
        self.encode(message, &mut out);
        let frame = Bytes::from(out);
        self.decodes(message, &frame).then_some(frame)
    }

    fn decodes(&mut self, message: &Message, frame: &Bytes) -> bool {
        match *message {
            Message::Request(_) => black_box(self.codec.decode_request(frame)).is_ok(),
            Message::Reply(expect, _) => {
                black_box(self.codec.decode_incoming(frame, &mut |_| Some(expect))).is_ok()
            }
            Message::Push(_) => black_box(self.codec.decode_incoming(frame, &mut |_| None)).is_ok(),
        }
    }

    fn encode(&mut self, message: &Message, out: &mut Vec<u8>) {
        match message {
            Message::Request(request) => self.codec.encode_request(CALL, request, out),
            // As a server does, from memory that is not `Bytes`.
            Message::Reply(_, Reply::Loaded(Some(Loaded { data, tid, end }))) => {
                let loaded = Loaded { data: &data[..], tid: *tid, end: *end };
                self.codec.encode_loaded(&self.id, loaded, out);
            }
            Message::Reply(_, reply) => self.codec.encode_reply(&self.id, reply, out),
            Message::Push(push) => self.codec.encode_push(push, out),
        }
    }
}

/// An ordinary number of a call: no longer one byte in any encoding.
const CALL: u64 = 12_345;

#[cfg(test)]
mod tests {
    use codecs::{Dialect, WithCodec, dispatch};

    use super::super::messages;
    use super::*;

    struct Frame<'a>(&'a Message);

    impl WithCodec for Frame<'_> {
        type Out = Option<Bytes>;

        fn call<C: Codec>(self) -> Option<Bytes> {
            frame::<C>(self.0)
        }
    }

    #[test]
    fn every_codec_carries_every_message() {
        for dialect in Dialect::ALL {
            for message in messages::fixed().into_iter().chain(messages::sized(100)) {
                let frame = dispatch(dialect, Frame(&message));
                assert!(frame.is_some(), "{dialect}: {}", message.name());
            }
        }
    }

    #[test]
    fn sizes_are_those_of_what_is_carried() {
        for dialect in Dialect::ALL {
            for bytes in crate::operations::SIZES_BYTES {
                for message in messages::sized(bytes) {
                    let length = dispatch(dialect, Frame(&message)).expect("carried").len();
                    // Lists are of whole oids, each with a byte or more around it in ZEO's encodings.
                    let range = bytes - 8..bytes + bytes / 2 + 300;
                    assert!(range.contains(&length), "{dialect}: {}: {length}", message.name());
                }
            }
        }
    }
}
