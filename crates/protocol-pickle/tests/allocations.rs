//! Reads cost no allocation beyond the reply buffer, and long messages leave nothing behind.
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]

// The allocator and the messages are the same for both encodings.
#[path = "../../protocol-msgpack/tests/counting/mod.rs"]
mod counting;

use protocol_pickle::Pickle;

#[test]
fn reads_allocate_nothing() {
    assert_eq!(counting::read::<Pickle>(), 0);
}

#[test]
fn the_memory_of_a_long_message_is_not_kept() {
    let kept = counting::kept::<Pickle>();
    assert!(kept <= 20_000, "{kept} bytes");
}
