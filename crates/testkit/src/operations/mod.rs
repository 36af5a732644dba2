//! What costs are measured of: each operation is described once, timed by the crates' benchmarks and
//! counted, in instructions, by `cargo xtask instructions` (the example `instructions`).
//!
//! Nothing here depends on the time, on chance or on where it runs, so that the same code does the
//! same work each time.

pub mod encodings;
pub mod messages;
pub mod sessions;
pub mod storages;

/// Something made ready to be done again and again, each time at the same cost.
pub type Operation = Box<dyn FnMut()>;

/// Record sizes that are measured: small, ordinary, large.
pub const SIZES_BYTES: [usize; 3] = [100, 1 << 10, 64 << 10];
