//! What `cargo metadata` says about this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The workspace's folders and members.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Default, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    /// `lib.rs` or the `main.rs` of each binary.
    pub(crate) entry_points: Vec<PathBuf>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Whether it is a member of this workspace.
    pub(crate) member: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
    Dev,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(std::process::Stdio::inherit())
            .output()
            .context("cannot run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata failed: {}", output.status);
        Self::parse(&output.stdout)
    }

    fn parse(json: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(json).context("cargo metadata is not JSON")?;
        let packages = list(&value, "packages").iter().map(package).collect();
        Ok(Self {
            root: text(&value, "workspace_root").into(),
            target: text(&value, "target_directory").into(),
            packages,
        })
    }

    /// `path` as the project writes it: relative to the root, with forward slashes.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

/// The cargo that runs this program, so that a toolchain override carries over.
///
/// It is not told what cargo told this program of its own package: build scripts that look at that
/// (ring's does) would run again, and all that depends on them would be built again, each time that
/// somebody else calls cargo.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn package(value: &Value) -> Package {
    let is_entry_point =
        |target: &&Value| list(target, "kind").iter().any(|kind| kind == "lib" || kind == "bin");
    let targets = list(value, "targets").iter();
    Package {
        name: text(value, "name"),
        manifest: text(value, "manifest_path").into(),
        entry_points: targets.filter(is_entry_point).map(|t| text(t, "src_path").into()).collect(),
        dependencies: list(value, "dependencies").iter().map(dependency).collect(),
    }
}

fn dependency(value: &Value) -> Dependency {
    let kind = match value.get("kind").and_then(Value::as_str) {
        Some("dev") => Kind::Dev,
        Some("build") => Kind::Build,
        _ => Kind::Normal,
    };
    Dependency { name: text(value, "name"), kind, member: value.get("path").is_some() }
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_this_workspace_names_its_members() {
        let workspace = Workspace::load().expect("cargo metadata runs");
        let xtask = workspace.packages.iter().find(|p| p.name == "xtask").expect("a member");
        assert_eq!(workspace.relative(&xtask.manifest), "xtask/Cargo.toml");
        assert_eq!(workspace.relative(&xtask.entry_points[0]), "xtask/src/main.rs");
        assert!(xtask.dependencies.iter().all(|d| !d.member && d.kind == Kind::Normal));
    }
}
