//! Tests that both encodings of ZEO's protocol have to pass, generic over the codec.
//!
//! `protocol-pickle` includes this folder as well, so that one copy serves both.

pub(crate) mod golden;
pub(crate) mod hostile;
pub(crate) mod past;
pub(crate) mod round_trip;
pub(crate) mod semantics;
pub(crate) mod strategies;
