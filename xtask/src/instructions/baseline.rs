//! The counts that are compared with, in a file under version control.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::compare::Counted;

#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    pub(super) tools: Tools,
    /// Instructions of one operation, by its name.
    pub(super) operations: BTreeMap<String, u64>,
}

/// What counts depend on beside the code.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Tools {
    rustc: String,
    valgrind: String,
    /// It has `malloc` and `memcpy`.
    libc: String,
    /// The C library and the checksums choose their code by it.
    processor: String,
}

impl Baseline {
    pub(super) fn of(tools: Tools, counted: &[Counted]) -> Self {
        let count = |one: &Counted| (one.name.clone(), one.instructions);
        Self { tools, operations: counted.iter().map(count).collect() }
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let place = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(path).with_context(place)?;
        toml::from_str(&text).with_context(place)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{HEAD}\n{}", toml::to_string(self)?);
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Tools {
    pub(super) fn found() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        Ok(Self {
            rustc: first_line(Command::new(rustc).arg("--version"))?,
            valgrind: first_line(Command::new("valgrind").arg("--version"))?,
            libc: first_line(Command::new("getconf").arg("GNU_LIBC_VERSION"))?,
            processor: processor(),
        })
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rustc, valgrind, libc, processor } = self;
        write!(f, "{rustc}, {valgrind}, {libc}, {processor}")
    }
}

fn first_line(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} failed: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Valgrind shows programs a processor of its own, which has AVX2 if the real one does and nothing
/// later.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    if !std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64 without AVX2".to_owned();
    }
    std::env::consts::ARCH.to_owned()
}

const HEAD: &str = "\
# Instructions that each operation takes, as counted with these tools. Written by
# `cargo xtask instructions --write`; CONTRIBUTING.md says when.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let counted =
            Counted { name: "a: \"b\", c".to_owned(), instructions: 7, allowed_percent: 3.0 };
        let tool = |name: &str| name.to_owned();
        let tools =
            Tools { rustc: tool("r"), valgrind: tool("v"), libc: tool("l"), processor: tool("p") };
        let baseline = Baseline::of(tools, &[counted]);
        let path = std::env::temp_dir().join(format!("xtask-baseline-{}", std::process::id()));
        baseline.write(&path).expect("it can be written");
        let read = Baseline::read(&path);
        fs::remove_file(&path).expect("it is there");
        assert_eq!(read.expect("it was just written"), baseline);
    }
}
