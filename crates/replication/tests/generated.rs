//! `src/generated.rs` is what `proto/replication.proto` generates. To bring it up to date:
//!
//! ```text
//! UPDATE_GENERATED=1 cargo test -p replication --test generated
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../../protocol-proto/tests/generated/check.rs"]
mod check;

#[test]
fn the_committed_code_is_what_the_contract_generates() {
    check::check(env!("CARGO_MANIFEST_DIR"), "replication.proto", "zeoxide.replication.v1");
}
