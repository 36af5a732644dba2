//! Committed code against the contract that it was generated from; also for other crates.

use std::path::Path;
use std::{env, fs};

/// Fails unless `src/generated.rs` below `root` is what `proto/{contract}` generates for `package`.
pub(crate) fn check(root: &str, contract: &str, package: &str) {
    let root = Path::new(root);
    let fresh = generate(root, contract, package);
    let committed = root.join("src/generated.rs");
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&committed, fresh).unwrap();
    } else {
        let committed = fs::read_to_string(committed).unwrap();
        assert!(committed == fresh, "set UPDATE_GENERATED=1 and run this test again");
    }
}

/// Compiles with protox, which is a protoc in Rust: nothing has to be installed.
fn generate(root: &Path, contract: &str, package: &str) -> String {
    let descriptors = protox::compile([contract], [&root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        // `Bytes` fields are slices of the frame that is decoded, not copies.
        .bytes(["."])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();
    fs::read_to_string(out.path().join(format!("{package}.rs"))).unwrap()
}
