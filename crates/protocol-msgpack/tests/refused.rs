//! MessagePack that is refused, at once and without memory for what it announces.

use bytes::Bytes;
use protocol::{Codec, Limits};
use protocol_msgpack::MsgPack;

fn refusal(frame: &[u8]) -> String {
    let limits = Limits { message_bytes: 1 << 20, depth: 32, values: 1000 };
    let call = MsgPack::new(limits).decode_request(&Bytes::copy_from_slice(frame));
    call.map_or_else(|refused| refused.0, |call| format!("decoded: {call:?}"))
}

#[test]
fn announced_lengths_are_not_believed() {
    for marker in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
        assert_eq!(refusal(&[marker, 0xff, 0xff, 0xff, 0xff]), "it ends within a value");
    }
    let many_nils = [&b"\xdd\xff\xff\xff\xff"[..], &[0xc0; 2000]].concat();
    assert_eq!(refusal(&many_nils), "more than 1000 values");
}

#[test]
fn nesting_is_bounded() {
    assert_eq!(refusal(&[0x91; 1 << 16]), "nested too deeply");
    assert_eq!(refusal(&[0x81; 1 << 16]), "nested too deeply");
    let just_enough = [&[0x91; 32][..], &[0xc0]].concat();
    assert_eq!(refusal(&just_enough), "not a message of four parts");
}

#[test]
fn only_whole_messages_are_read() {
    assert_eq!(refusal(b""), "it ends within a value");
    assert_eq!(refusal(b"\xc0\xc0"), "1 bytes after the message");
    assert_eq!(refusal(b"\xc1"), "a byte of no meaning");
    assert_eq!(refusal(b"\xa2\xc3\x28"), "text that is not UTF-8");
}

/// A time stamp is a value that no method takes.
#[test]
fn extension_types_are_read_and_not_taken() {
    let label = b"\x94\x00\xc3\xb0set_client_label\x91\xd6\xff\0\0\0\0";
    let text = refusal(label);
    assert!(text.contains("str is wanted, not an extension type"), "{text}");
}
