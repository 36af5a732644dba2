//! What every crate has: a manifest that inherits, and a page that introduces it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

pub(super) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut complaints = Vec::new();
    for package in &workspace.packages {
        let place = workspace.relative(&package.manifest);
        complaints.extend(check_manifest(&place, &read(&package.manifest)?));
        for entry_point in &package.entry_points {
            complaints.extend(check_page(&workspace.relative(entry_point), &read(entry_point)?));
        }
    }
    Ok(complaints)
}

/// The crate's `//!` page says what it is, what it never does and where to start reading.
fn check_page(place: &str, text: &str) -> Vec<String> {
    let page: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    if page.is_empty() {
        return vec![format!("{place}: has no `//!` page that says what the crate is")];
    }
    let lacks = |words: &&&str| !page.iter().any(|line| line.contains(**words));
    let complaint =
        |words: &&str| format!("{place}: its `//!` page has no sentence with `{words}`");
    ["Never", "Start reading"].iter().filter(lacks).map(complaint).collect()
}

fn check_manifest(place: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for wanted in INHERITED {
        if !text.lines().any(|line| line == *wanted) {
            complaints.push(format!("{place}: lacks `{wanted}`"));
        }
    }
    if !text.contains("[lints]\nworkspace = true") {
        complaints.push(format!("{place}: does not inherit the workspace's lints"));
    }
    if text.contains(UNDESCRIBED) {
        complaints.push(format!("{place}: has no description"));
    }
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && line.contains('=')
            && !line.starts_with('#')
            && !line.contains("workspace = true")
        {
            complaints.push(format!("{place}: `{line}` does not inherit from the workspace"));
        }
    }
    complaints
}

const INHERITED: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "publish.workspace = true",
];
const UNDESCRIBED: &str = "description = \"TODO\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(rest: &str) -> String {
        format!("[package]\n{}\n[lints]\nworkspace = true\n{rest}", INHERITED.join("\n"))
    }

    #[test]
    fn a_page_introduces_its_crate() {
        assert_eq!(
            check_page("a", "//! What.\n//! **Never**: I/O.\n//! Start reading at x.").len(),
            0
        );
        assert_eq!(check_page("a", "//! What.\n\n// Never. Start reading").len(), 2);
        assert_eq!(check_page("a", "use x;\n//! Never, Start reading").len(), 1);
    }

    #[test]
    fn a_manifest_inherits() {
        let good = "[dependencies]\na.workspace = true\nb = { workspace = true, features = [] }\n";
        assert_eq!(check_manifest("a", &manifest(good)), Vec::<String>::new());
        assert_eq!(check_manifest("a", "").len(), INHERITED.len() + 1);
        assert_eq!(check_manifest("a", &manifest("[dev-dependencies]\na = \"1.0\"\n")).len(), 1);
        assert_eq!(check_manifest("a", &manifest(UNDESCRIBED)).len(), 1);
    }
}
