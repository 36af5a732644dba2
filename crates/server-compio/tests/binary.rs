//! What every server does, done by this one.

#[path = "../../server/tests/suite/mod.rs"]
mod suite;

/// The binary under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_zeoxide-compio");
