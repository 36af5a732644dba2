//! Rules of the project that the compiler does not know.
//!
//! Each module checks one kind of rule and returns its complaints as `place: what is wrong`;
//! none prints and none stops at the first.

mod crates;
mod functions;
mod layers;
mod lines;
mod sizes;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// A text file of the project.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// Relative to the workspace's root.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let complaints = check(workspace)?;
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("tidy: {} complaints", complaints.len());
    Ok(complaints.is_empty())
}

fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let files = source_files(workspace)?;
    let allowances = fs::read_to_string(workspace.root.join(sizes::ALLOWANCES_FILE))
        .with_context(|| format!("cannot read {}", sizes::ALLOWANCES_FILE))?;
    let mut complaints = layers::check(&workspace.packages);
    complaints.extend(crates::check(workspace)?);
    complaints.extend(sizes::check(&files, &allowances));
    complaints.extend(lines::check(&files, &workspace.root));
    Ok(complaints)
}

/// Every text file below the root, but for what is built.
fn source_files(workspace: &Workspace) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders = vec![workspace.root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?
            .collect::<Result<Vec<_>, _>>()?;
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() && path != workspace.target && !is_foreign(&path) {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                files.push(SourceFile { path: workspace.relative(&path), text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Folders whose content is not the project's own.
fn is_foreign(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    [".git", "target", "__pycache__", "zeoxide-data"].iter().any(|foreign| name == *foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projects_own_files_are_seen_and_what_is_built_is_not() {
        let workspace = Workspace::load().expect("cargo metadata runs");
        let files = source_files(&workspace).expect("readable");
        let has = |path: &str| files.iter().any(|file| file.path == path);
        assert!(has("xtask/src/tidy/mod.rs") && has(sizes::ALLOWANCES_FILE));
        assert!(!files.iter().any(|file| is_foreign(Path::new(&file.path).parent().unwrap())));
    }
}
