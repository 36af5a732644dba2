//! Reads cost no allocation beyond the reply buffer, and long messages leave nothing behind.
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]

mod counting;

use protocol_msgpack::MsgPack;

#[test]
fn reads_allocate_nothing() {
    assert_eq!(counting::read::<MsgPack>(), 0);
}

#[test]
fn the_memory_of_a_long_message_is_not_kept() {
    let kept = counting::kept::<MsgPack>();
    assert!(kept <= 20_000, "{kept} bytes");
}
