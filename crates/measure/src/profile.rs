//! Where a server's time goes at one point, by the kernel's own account.
//!
//! A profile is no measurement: a server that is looked at so closely is slower. It is kept beside
//! the records, and says what their figures are made of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::file::{self, RecordError};
use crate::host::Host;
use crate::record::Point;

/// What one look at a server under load found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// [`crate::record::SCHEMA`].
    pub schema: u32,
    /// What the server was doing.
    pub point: Point,
    /// When it began, in seconds since 1970 (UTC).
    pub began: u64,
    /// Where.
    pub host: Host,
    /// Operations a second while it was looked at.
    pub rate: f64,
    /// The server's CPU time for each operation while it was looked at, in microseconds.
    pub server_cpu_us: f64,
    /// System calls for each operation, by name.
    pub system_calls: BTreeMap<String, f64>,
    /// Shares of the server's CPU time, which are 1 together: in system calls, by name; elsewhere in
    /// the [`KERNEL`]; and in [`USER`] mode.
    pub cpu: BTreeMap<String, f64>,
}

/// CPU time of the kernel outside of system calls: interrupts, page faults, its own threads.
pub const KERNEL: &str = "(kernel)";

/// CPU time of the server's own code and its libraries.
pub const USER: &str = "(user)";

/// The end of a profile's file name.
const SUFFIX: &str = ".profile.json";

impl Profile {
    /// The name of the file for `point`: that of its record, with another end.
    pub fn file_name(point: &Point) -> String {
        let name = point.file_name();
        format!("{}{SUFFIX}", name.strip_suffix(".json").unwrap_or(&name))
    }

    /// Whether a file is a profile, by its name.
    pub fn is_named(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX))
    }

    /// Writes it into `folder`, which is created. Whoever reads finds all of it or nothing.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf, RecordError> {
        file::keep(folder, &Self::file_name(&self.point), self)
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        file::read(path)
    }

    /// Whether it is there, and of this schema.
    pub fn is_there(folder: &Path, point: &Point) -> bool {
        let path = folder.join(Self::file_name(point));
        fs::exists(&path).unwrap_or(false) && Self::read(&path).is_ok()
    }

    /// The CPU time of an operation in each area, in microseconds, most first.
    pub fn cpu_us(&self) -> Vec<(&str, f64)> {
        let mut areas: Vec<_> = self
            .cpu
            .iter()
            .map(|(area, share)| (area.as_str(), share * self.server_cpu_us))
            .collect();
        areas.sort_by(|a, b| b.1.total_cmp(&a.1));
        areas
    }
}
