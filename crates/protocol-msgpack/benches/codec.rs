//! What the hot messages cost in MessagePack.

mod zeo;

use criterion::Criterion;
use protocol_msgpack::MsgPack;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    zeo::all::<MsgPack>(&mut criterion);
    criterion.final_summary();
}
