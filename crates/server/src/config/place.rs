//! Where something was asked for, and what is told about it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A line of a file, a whole file, or a variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    source: Arc<str>,
    line: Option<usize>,
}

/// An option of the command line that was given elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its long name, without the dashes.
    pub(crate) option: String,
    pub(crate) value: String,
    pub(crate) at: Place,
}

/// Something that an operator should read in the log, and that keeps no server from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) at: Place,
    pub(crate) what: String,
    /// The server does not do all that was asked for.
    pub(crate) is_warning: bool,
}

/// Why a configuration cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub(crate) struct Wrong {
    pub(crate) at: Place,
    pub(crate) what: String,
}

impl Place {
    /// A whole file.
    pub(crate) fn file(path: &Path) -> Self {
        Self { source: path.to_string_lossy().into(), line: None }
    }

    /// A variable of the environment, or an option.
    pub(crate) fn named(name: &str) -> Self {
        Self { source: name.into(), line: None }
    }

    /// A line of this file, counted from 1.
    pub(crate) fn line(&self, line: usize) -> Self {
        Self { source: Arc::clone(&self.source), line: Some(line) }
    }

    pub(crate) fn wrong(&self, what: impl Into<String>) -> Wrong {
        Wrong { at: self.clone(), what: what.into() }
    }

    pub(crate) fn warning(&self, what: impl Into<String>) -> Notice {
        Notice { at: self.clone(), what: what.into(), is_warning: true }
    }

    pub(crate) fn note(&self, what: impl Into<String>) -> Notice {
        Notice { at: self.clone(), what: what.into(), is_warning: false }
    }

    pub(crate) fn set(&self, option: &str, value: impl Into<String>) -> Setting {
        Setting { option: option.to_owned(), value: value.into(), at: self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}
