//! Writes records that nobody measured into a folder, for tests of the page that is made of them.
//!
//! **Never**: a measurement. Start reading at `src/report/sample.rs`.

#[path = "../src/report/sample.rs"]
mod sample;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).context("usage: sample_records FOLDER")?;
    for record in sample::records() {
        record.keep(&PathBuf::from(&folder))?;
    }
    for profile in sample::profiles() {
        profile.keep(&PathBuf::from(&folder))?;
    }
    Ok(())
}
