//! Finds functions and their lengths by indentation.
//!
//! All code is formatted by rustfmt, so a function ends at the first closing line that is
//! indented as its first one; no parser is needed.

/// One function with its signature and body, but without attributes and comments above.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) lines: usize,
}

pub(super) fn functions(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line.trim_start()) else { continue };
        let rest = lines.iter().skip(start);
        if let Some(last) = rest.clone().position(|line2| closes(line2, indent(line))) {
            found.push(Function { name, lines: last + 1 });
        }
    }
    found
}

fn closes(line: &str, indentation: usize) -> bool {
    let text = line.trim();
    indent(line) == indentation && (text == "}" || text.ends_with(';') || text.ends_with("{}"))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name, if the line begins a function.
fn function_name(mut text: &str) -> Option<&str> {
    while let Some(rest) = QUALIFIERS.iter().find_map(|q| text.strip_prefix(q)) {
        text = rest;
    }
    let text = text.strip_prefix("fn ")?;
    text.split(['(', '<']).next().filter(|name| !name.is_empty())
}

const QUALIFIERS: &[&str] = &[
    "pub ",
    "pub(crate) ",
    "pub(super) ",
    "const ",
    "async ",
    "unsafe ",
    "extern \"C\" ",
    "default ",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_with_signature_and_closing_brace() {
        let text = "\
pub(crate) const fn one(
    a: u8,
) -> u8 {
    if a {
    }
}

impl X {
    async fn two<T>(&self) {}
    fn three(&self);
    unsafe fn four(&self)
    where
        A: B,
    {
        fn five() {
        }
    }
}
// fn six() {
";
        let lengths: Vec<_> = functions(text).iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(lengths, [("one", 6), ("two", 1), ("three", 1), ("four", 7), ("five", 2)]);
    }
}
