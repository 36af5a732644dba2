//! The keys of a section, taken one by one, so that those that nobody knows are left.

use std::collections::BTreeMap;

use super::place::{Notice, Wrong};
use super::zconfig::{Key, Section};

/// What is left of a section's keys.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    section: &'a Section,
    left: BTreeMap<&'a str, Vec<&'a Key>>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(section: &'a Section) -> Self {
        let mut left: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for key in &section.keys {
            left.entry(key.name.as_str()).or_default().push(key);
        }
        Self { section, left }
    }

    /// A key that may be there once.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<&'a Key>, Wrong> {
        match self.left.remove(name).as_deref() {
            None | Some([]) => Ok(None),
            Some([key]) => Ok(Some(key)),
            Some([first, second, ..]) => {
                Err(second.at.wrong(format!("'{name}' was given before, at {}", first.at)))
            }
        }
    }

    /// A key that has to be there, with a value.
    pub(super) fn require(&mut self, name: &str) -> Result<&'a Key, Wrong> {
        match self.take(name)? {
            Some(key) if key.value.is_empty() => {
                Err(key.at.wrong(format!("'{name}' has no value")))
            }
            Some(key) => Ok(key),
            None => Err(self.section.at.wrong(format!("<{}> needs '{name}'", self.section.kind))),
        }
    }

    /// A truth value, in ZConfig's words.
    pub(super) fn truth(&mut self, name: &str) -> Result<Option<(&'a Key, bool)>, Wrong> {
        let Some(key) = self.take(name)? else { return Ok(None) };
        match key.value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(Some((key, true))),
            "false" | "no" | "off" => Ok(Some((key, false))),
            _ => Err(key.at.wrong(format!(
                "'{name}' is true, yes, on, false, no or off, and not '{}'",
                key.value
            ))),
        }
    }

    /// Keys that are understood and change nothing.
    pub(super) fn skip(&mut self, names: &[&str]) {
        for name in names {
            self.left.remove(*name);
        }
    }

    /// A warning about each key of these names.
    pub(super) fn warn(&mut self, names: &[&str], why: &str, notices: &mut Vec<Notice>) {
        for name in names {
            for key in self.left.remove(*name).into_iter().flatten() {
                notices.push(key.at.warning(format!("'{name}' {why}")));
            }
        }
    }

    /// A warning about each key that is left.
    pub(super) fn finish(self, notices: &mut Vec<Notice>) {
        let kind = &self.section.kind;
        let of =
            if kind.is_empty() { "outside of sections".into() } else { format!("of <{kind}>") };
        for key in self.left.into_values().flatten() {
            let what = format!("'{}' {of} is not known and has no effect", key.name);
            notices.push(key.at.warning(what));
        }
    }
}

/// A warning about a section that changes nothing.
pub(super) fn has_no_effect(section: &Section) -> Notice {
    section.at.warning(format!("<{}> has no effect", section.kind))
}
