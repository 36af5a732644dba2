//! Things that must not be written, line by line.
//!
//! A line that has to is marked `tidy:allow(RULE): reason`, on it or on the line above.

use std::path::Path;

use super::SourceFile;

pub(super) fn check(files: &[SourceFile], root: &Path) -> Vec<String> {
    let root = root.to_string_lossy();
    files.iter().flat_map(|file| check_file(file, &root)).collect()
}

fn check_file(file: &SourceFile, root: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut in_tests = is_test_file(&file.path);
    let mut above = "";
    for (index, line) in file.text.lines().enumerate() {
        // By our order of things, unit tests end a file.
        in_tests |= above.trim() == "#[cfg(test)]" && line.ends_with('{');
        for (rule, is_broken) in [
            ("path", names_a_machine(line, root)),
            ("unfinished", is_rust(file) && is_unfinished(line)),
            ("ignore", is_rust(file) && code(line).starts_with(IGNORE)),
            ("sleep", in_tests && is_program(file) && sleeps(line)),
        ] {
            let mark = format!("tidy:allow({rule}): ");
            if is_broken && !line.contains(&mark) && !above.contains(&mark) {
                complaints.push(format!("{}:{}: {}", file.path, index + 1, reason(rule)));
            }
        }
        above = line;
    }
    complaints
}

fn reason(rule: &str) -> &'static str {
    match rule {
        "path" => "names a path of one machine",
        "unfinished" => "is unfinished or a left-over of debugging",
        "ignore" => "an ignored test is no test",
        _ => "a test waits for what it needs (a message, readiness), it does not sleep",
    }
}

fn is_rust(file: &SourceFile) -> bool {
    file.path.ends_with(".rs")
}

fn is_program(file: &SourceFile) -> bool {
    is_rust(file) || file.path.ends_with(".py")
}

fn is_test_file(path: &str) -> bool {
    let in_tests_folder = path.contains("/tests/") && path.ends_with(".rs");
    let is_tests_module = path.ends_with("tests.rs") || path.ends_with("_tests.py");
    in_tests_folder || is_tests_module || path.starts_with("crates/testkit/")
}

fn names_a_machine(line: &str, root: &str) -> bool {
    HOMES.iter().any(|home| line.contains(home)) || (root.len() > 1 && line.contains(root))
}

fn is_unfinished(line: &str) -> bool {
    UNFINISHED.iter().any(|word| code(line).contains(word))
}

/// A call of a free function `sleep`, whatever its path; simulated clocks have methods.
fn sleeps(line: &str) -> bool {
    let line = code(line);
    line.match_indices(SLEEP).any(|(at, _)| {
        let (before, _) = line.split_at(at);
        let is_name_or_method =
            before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
        let is_declared = before.ends_with("fn ");
        before.ends_with("time.") || (!is_name_or_method && !is_declared)
    })
}

/// The line without its comment, if it is nothing but one.
fn code(line: &str) -> &str {
    let text = line.trim_start();
    if text.starts_with("//") || text.starts_with('#') && !text.starts_with("#[") {
        ""
    } else {
        text
    }
}

// Spelt so that this file does not break its own rules.
const HOMES: &[&str] = &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Use", "rs/")];
const UNFINISHED: &[&str] =
    &[concat!("to", "do!("), concat!("db", "g!("), concat!("unimple", "mented!(")];
const IGNORE: &str = concat!("#[ig", "nore");
const SLEEP: &str = concat!("sle", "ep(");

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        let file = SourceFile { path: path.into(), text: text.into() };
        check(&[file], Path::new("/srv/checkout")).len()
    }

    #[test]
    fn unfinished_code_and_ignored_tests_are_found() {
        for word in UNFINISHED {
            assert_eq!(complaints("a.rs", &format!("    {word});")), 1, "{word}");
            assert_eq!(complaints("a.rs", &format!("    // {word});")), 0, "{word}");
        }
        assert_eq!(complaints("a.rs", &format!("    {IGNORE} = \"slow\"]")), 1);
    }

    #[test]
    fn a_test_must_not_sleep() {
        let call = format!("    std::thread::{SLEEP}second);");
        let nap = format!("    {SLEEP}second).await;");
        let unit = format!("fn x() {{}}\n#[cfg(test)]\nmod tests {{\n{call}\n}}");
        assert_eq!(complaints("crates/x/src/a.rs", &call), 0);
        assert_eq!(complaints("crates/x/src/a.rs", &unit), 1);
        assert_eq!(complaints("crates/x/src/a/tests.rs", &call), 1);
        assert_eq!(complaints("crates/x/tests/all.rs", &nap), 1);
        assert_eq!(complaints("tests/zeosuite/extra_tests.py", &format!("  time.{SLEEP}.1)")), 1);
        assert_eq!(complaints("crates/testkit/src/a.rs", &format!("disk.{SLEEP}1)")), 0);
        assert_eq!(complaints("crates/testkit/src/a.rs", &format!("fn {SLEEP}n: u8)")), 0);
    }

    #[test]
    fn paths_of_a_machine_are_found_in_any_file() {
        for home in HOMES {
            assert_eq!(complaints("README.md", &format!("see {home}me/x")), 1);
        }
        assert_eq!(complaints("Cargo.toml", "path = \"/srv/checkout/x\""), 1);
        assert_eq!(complaints("run", "#!/usr/bin/env bash"), 0);
    }

    #[test]
    fn a_mark_with_a_reason_allows_a_line() {
        let call = format!("std::thread::{SLEEP}second);");
        let mark = "// tidy:allow(sleep): the kernel has no event for it";
        assert_eq!(complaints("x/tests.rs", &format!("{mark}\n{call}")), 0);
        assert_eq!(complaints("x/tests.rs", &format!("{call} {mark}")), 0);
        assert_eq!(complaints("x/tests.rs", &format!("// tidy:allow(path): x\n{call}")), 1);
    }
}
