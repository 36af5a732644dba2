//! How far a pack is.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use storage::PackState;

use crate::text::size;

/// A pack under way, or the last one, as a server's status or a storage tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct PackStatus {
    pub(crate) running: bool,
    /// Parts of the log that it has been through.
    pub(crate) parts_done: u64,
    /// All that it goes through; 0 while that is not known.
    pub(crate) parts: u64,
    pub(crate) bytes_freed: u64,
}

impl PackStatus {
    /// From a server's JSON; `None` if that says something else.
    pub(crate) fn parse(json: &Value) -> Option<Self> {
        Self::deserialize(json).ok()
    }
}

impl From<PackState> for PackStatus {
    fn from(state: PackState) -> Self {
        let PackState { is_running, parts_done, parts, bytes_freed, .. } = state;
        Self { running: is_running, parts_done, parts, bytes_freed }
    }
}

impl fmt::Display for PackStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, parts_done, parts, bytes_freed } = *self;
        let freed = size(bytes_freed);
        match running {
            true if parts == 0 => write!(f, "begins"),
            true => write!(f, "{parts_done} of {parts} parts, {freed} freed"),
            false if parts_done == parts => write!(f, "done, {freed} freed"),
            false => write!(f, "STOPPED after {parts_done} of {parts} parts, {freed} freed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_runs_or_is_done_or_has_failed() {
        let told = |json: &str| {
            let status = PackStatus::parse(&serde_json::from_str(json).unwrap());
            status.map(|status| status.to_string())
        };
        let of = |running, parts_done| {
            format!(
                r#"{{"running": {running}, "parts_done": {parts_done}, "parts": 3, "bytes_freed": 2048, "new": 1}}"#
            )
        };
        assert_eq!(told(&of(true, 1)).unwrap(), "1 of 3 parts, 2.0 KiB freed");
        assert_eq!(told(&of(false, 3)).unwrap(), "done, 2.0 KiB freed");
        assert_eq!(told(&of(false, 1)).unwrap(), "STOPPED after 1 of 3 parts, 2.0 KiB freed");
        assert_eq!(told("7"), None);
    }
}
