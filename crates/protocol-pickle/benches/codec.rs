//! What the hot messages cost in pickles.

// The messages are the same in both encodings.
#[path = "../../protocol-msgpack/benches/zeo/mod.rs"]
mod zeo;

use criterion::Criterion;
use protocol_pickle::Pickle;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    zeo::all::<Pickle>(&mut criterion);
    criterion.final_summary();
}
