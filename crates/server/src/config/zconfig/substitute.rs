//! `$name`, `${name}`, `$(VARIABLE)` and `$$` in values.

use std::collections::BTreeMap;

/// The value with what was defined in place of its names.
///
/// Definitions are not looked through again. Names of definitions are found in small letters,
/// those of variables as they are.
pub(super) fn substitute(
    text: &str,
    defines: &BTreeMap<String, String>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        value.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            value.push('$');
            rest = after;
            continue;
        }
        let (opening, closing) = match after.chars().next() {
            Some('{') => ("{", "}"),
            Some('(') => ("(", ")"),
            _ => ("", ""),
        };
        // Both are there, or empty.
        let (name, after) = split_name(after.strip_prefix(opening).unwrap_or(after));
        if name.is_empty() {
            return Err(format!("'${opening}' is not followed by a name; '$$' is one '$'"));
        }
        rest = after
            .strip_prefix(closing)
            .ok_or_else(|| format!("'${opening}{name}' is not followed by '{closing}'"))?;
        let found = match opening {
            "(" => variable(name)
                .ok_or_else(|| format!("the environment has no variable {name} for '$({name})'"))?,
            _ => defines
                .get(&name.to_ascii_lowercase())
                .ok_or_else(|| format!("'{name}' was not defined: %define {name} VALUE"))?
                .clone(),
        };
        value.push_str(&found);
        if value.len() > MAX_BYTES {
            return Err(format!("this becomes longer than {MAX_BYTES} bytes"));
        }
    }
    value.push_str(rest);
    Ok(value)
}

/// Whether something may be defined by this name.
pub(super) fn is_name(text: &str) -> bool {
    matches!(split_name(text), (name, "") if !name.is_empty())
}

/// A name that the text begins with, and the rest.
fn split_name(text: &str) -> (&str, &str) {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    if text.starts_with(|character: char| character.is_ascii_digit()) {
        return ("", text);
    }
    text.split_at(text.find(|character| !is_part(character)).unwrap_or(text.len()))
}

/// Definitions that each use another one twice would fill the memory.
const MAX_BYTES: usize = 1 << 16;
