//! `zeoxide-compio` does what every server has to do.

testkit::conformance!(env!("CARGO_BIN_EXE_zeoxide-compio"));
