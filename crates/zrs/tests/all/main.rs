//! Tests of the crate from outside, in one binary.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod damage;
mod golden;
mod messages;
mod support;
