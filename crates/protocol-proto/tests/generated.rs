//! `src/generated.rs` is what `proto/zeoxide.proto` generates. To bring it up to date:
//!
//! ```text
//! UPDATE_GENERATED=1 cargo test -p protocol-proto --test generated
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::{env, fs};

#[test]
fn the_committed_code_is_what_the_contract_generates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = generate(root);
    let committed = root.join("src/generated.rs");
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&committed, fresh).unwrap();
    } else {
        let committed = fs::read_to_string(committed).unwrap();
        assert!(committed == fresh, "set UPDATE_GENERATED=1 and run this test again");
    }
}

/// Compiles with protox, which is a protoc in Rust: nothing has to be installed.
fn generate(root: &Path) -> String {
    let contract = root.join("proto");
    let descriptors = protox::compile(["zeoxide.proto"], [&contract]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        // `Bytes` fields are slices of the frame that is decoded, not copies.
        .bytes(["."])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    fs::read_to_string(out.path().join("zeoxide.v1.rs")).unwrap()
}
