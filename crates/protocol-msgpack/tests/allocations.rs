//! Reads cost no allocation beyond the reply buffer.
#![allow(unsafe_code, reason = "an allocator that counts has to be one")]

mod counting;

use protocol_msgpack::MsgPack;

#[test]
fn reads_allocate_nothing() {
    assert_eq!(counting::read::<MsgPack>(), 0);
}
