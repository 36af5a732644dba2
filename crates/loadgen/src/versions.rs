//! Which programs were measured, and by which one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Of this program, and how what is built here is built.
pub(crate) fn own() -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([
        ("loadgen".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("loadgen.profile".to_owned(), profile().to_owned()),
    ]);
    let program = std::env::current_exe().ok();
    let rustc = program.as_deref().and_then(rustc);
    versions.extend(rustc.map(|rustc| ("loadgen.rustc".to_owned(), rustc)));
    let manifest = fs::read_to_string("Cargo.toml").unwrap_or_default();
    versions.extend(release(&manifest).map(|text| ("cargo.profile.release".to_owned(), text)));
    versions
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}

/// What `Cargo.toml` says of the profile in which servers are built.
fn release(manifest: &str) -> Option<String> {
    let manifest: toml::Table = toml::from_str(manifest).ok()?;
    let release = manifest.get("profile")?.get("release")?.as_table()?;
    let settings: Vec<_> =
        release.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    Some(settings.join(", "))
}

/// What a command prints first; `None` if it fails.
pub(crate) fn printed(command: &[String]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let first = text.lines().next()?.trim();
    (output.status.success() && !first.is_empty()).then(|| first.to_owned())
}

/// The compiler that made a program, as the program's file itself says it in section `.comment`.
pub(crate) fn rustc(program: &Path) -> Option<String> {
    const MARK: &[u8] = b"\0rustc version ";
    let bytes = fs::read(program).ok()?;
    let is_mark = |window: &[u8]| {
        // This program has the mark in its own data, too, with something else behind it.
        window.split_last().is_some_and(|(last, mark)| mark == MARK && last.is_ascii_digit())
    };
    let at = bytes.windows(MARK.len() + 1).position(is_mark)?;
    let rest = bytes.get(at + MARK.len()..)?;
    let version = rest.get(..rest.iter().position(|byte| *byte == 0)?)?;
    String::from_utf8(version.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_tells_its_compiler() {
        let own = own();
        let rustc = printed(&["rustc".to_owned(), "--version".to_owned()]).unwrap();
        assert_eq!(format!("rustc {}", own["loadgen.rustc"]), rustc);
        assert_eq!(own["loadgen"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn what_cannot_be_told_is_left_out() {
        assert_eq!(printed(&["false".to_owned()]), None);
        assert_eq!(printed(&["no such program".to_owned()]), None);
        assert_eq!(release("[profile.dev]\nlto = 'fat'"), None);
        assert_eq!(release("[profile.release]\nlto = 'fat'").unwrap(), "lto = \"fat\"");
    }
}
