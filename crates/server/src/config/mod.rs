//! Configuration files: ZEO's own `zeo.conf`, or the command line's options in TOML.
//!
//! Whatever a file asks for becomes options of the command line, each with its file and line:
//! what a value may be is written down once, there.
//!
//! ```text
//! zeo.conf -> zconfig: a tree -> zeo, storages, eventlog ─┐
//!                                                         ├─> Settings -> options::gather
//! TOML ───────────────────────────────────────> toml ─────┘
//! ```
//!
//! **Never**: a change of anything; a failure because of a key that is not known.
//!
//! Start reading at [`load`], then [`zeo`].

mod eventlog;
mod keys;
mod place;
mod storages;
mod toml;
mod zconfig;
mod zeo;

use std::path::Path;

pub(crate) use place::{Notice, Place, Setting, Wrong};
pub(crate) use storages::left_alone;
pub(crate) use zconfig::Source;

/// What a file asks for.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) options: Vec<Setting>,
    pub(crate) notices: Vec<Notice>,
}

/// Reads a configuration file. `command` knows the options, `is_given` whether one of them is
/// given elsewhere, so that this file's word does not matter.
pub(crate) fn load(
    path: &Path,
    source: &dyn Source,
    command: &clap::Command,
    is_given: &dyn Fn(&str) -> bool,
) -> Result<Settings, Wrong> {
    let file = Place::file(path);
    let text = source.read(path).map_err(|why| file.wrong(why))?;
    if is_zconfig(path, &text) {
        let document = zconfig::parse(path, &text, source)?;
        zeo::settings(&document, is_given)
    } else {
        let options = toml::settings(&file, &text, command)?;
        Ok(Settings { options, notices: Vec::new() })
    }
}

/// The files and the environment of this process.
#[derive(Debug)]
pub(crate) struct System;

impl Source for System {
    fn read(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }

    fn variable(&self, name: &str) -> Option<String> {
        let default = || DEFAULTS.iter().find(|(known, _)| *known == name);
        std::env::var(name).ok().or_else(|| default().map(|(_, value)| (*value).to_owned()))
    }
}

/// The first line that says something tells: none of TOML begins like one of `zeo.conf`, where
/// nothing but sections and directives can be outermost.
fn is_zconfig(path: &Path, text: &str) -> bool {
    let first =
        text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with('#'));
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    !is_toml && first.is_some_and(|line| line.starts_with(['<', '%']))
}

/// What the `plone/plone-zeo` image sets where its user sets nothing.
const DEFAULTS: [(&str, &str); 4] = [
    ("ZEO_PORT", "8100"),
    ("ZEO_READ_ONLY", "false"),
    ("ZEO_INVALIDATION_QUEUE_SIZE", "100"),
    ("ZEO_PACK_KEEP_OLD", "true"),
];

#[cfg(test)]
mod tests;
