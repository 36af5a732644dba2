//! ZConfig's language, as far as it is the same for every program: lines of keys and values,
//! nested sections, definitions, other files. From text to a tree that knows the line of
//! everything in it.
//!
//! What sections and keys mean is not known here, so that none is refused: in that a tree is more
//! than ZConfig would let through. As in ZConfig, the names of keys, sections and definitions are
//! the same in capitals, and this makes them small.
//!
//! **Never**: a file or the environment, but through [`Source`].

mod parser;
mod substitute;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::place::{Place, Wrong};

pub(super) use parser::parse;

/// Where a configuration may look.
pub(crate) trait Source {
    /// A whole text file.
    fn read(&self, path: &Path) -> Result<String, String>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
}

/// What a file says, with all that it includes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// What is in no section.
    pub(crate) root: Section,
    /// Packages that are asked for by `%import`.
    pub(crate) imports: Vec<(String, Place)>,
}

/// `<kind name> ... </kind>`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    /// In their order; a name may come more than once.
    pub(crate) keys: Vec<Key>,
    pub(crate) sections: Vec<Self>,
    /// Where it begins.
    pub(crate) at: Place,
}

/// A key and its value, which is empty if there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) at: Place,
}

impl Section {
    fn new(kind: String, name: Option<String>, at: Place) -> Self {
        Self { kind, name, keys: Vec::new(), sections: Vec::new(), at }
    }
}
