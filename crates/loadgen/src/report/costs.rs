//! What else a point cost: each number is shown where a section has it.

use measure::{Outcome, stats};

use super::cell::Cell;
use super::group::Section;
use super::numbers;

/// A number that some outcomes have.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) label: &'static str,
    of: fn(&Outcome) -> Option<f64>,
    pub(super) format: fn(f64) -> String,
    /// Whether a summary has it, too: where there is something, it is what the point is about.
    is_in_summary: bool,
}

/// What a connection that does nothing costs the server.
pub(super) const IDLE_CONNECTION: Cost = Cost {
    label: "memory/idle connection",
    of: |outcome| outcome.idle.map(measure::Idle::bytes_per_connection),
    format: numbers::bytes,
    is_in_summary: true,
};

/// In the order of columns.
const COSTS: [Cost; 7] = [
    IDLE_CONNECTION,
    Cost {
        label: "read from disk/op",
        of: Outcome::disk_read_per_operation,
        format: numbers::bytes,
        is_in_summary: true,
    },
    Cost {
        label: "written to disk/op",
        of: Outcome::disk_written_per_operation,
        format: numbers::bytes,
        is_in_summary: false,
    },
    Cost {
        label: "context switches/op",
        of: |outcome| Some(outcome.switches_per_operation()),
        format: numbers::count,
        is_in_summary: false,
    },
    Cost {
        label: "server's peak memory",
        of: |outcome| Some(outcome.server.peak_resident_bytes as f64),
        format: numbers::bytes,
        is_in_summary: false,
    },
    Cost {
        label: "its memory at the end",
        of: |outcome| outcome.server.resident_bytes.map(|bytes| bytes as f64),
        format: numbers::bytes,
        is_in_summary: false,
    },
    Cost {
        label: "CPUs stolen from the machine",
        of: |outcome| outcome.steal_seconds.map(|seconds| seconds / outcome.seconds),
        format: numbers::count,
        is_in_summary: false,
    },
];

/// How to read them.
pub(super) const HOW: &str = "Medians of the valid repeats. Memory per idle connection is the \
                              server's heap and stacks with the connections, less those without, for \
                              each of them; the kernel's memory for sockets is not in it. The peak \
                              is that of the point, in older records that since the server's start. \
                              Of threads that ended no context switches are known.";

impl Cost {
    /// `None` if no valid repeat has it.
    pub(super) fn median(&self, cell: &Cell<'_>) -> Option<f64> {
        let values: Vec<f64> = cell.valid().filter_map(|(_, outcome)| (self.of)(outcome)).collect();
        stats::median(&values)
    }

    /// Whether any point of the section has something to show.
    fn is_in(&self, section: &Section<'_>) -> bool {
        section.cells.values().any(|cell| self.median(cell).is_some_and(|value| value > 0.0))
    }
}

/// Those that a section has.
pub(super) fn of(section: &Section<'_>) -> Vec<&'static Cost> {
    COSTS.iter().filter(|cost| cost.is_in(section)).collect()
}

/// Those of them that a summary shows.
pub(super) fn in_summary(section: &Section<'_>) -> Vec<&'static Cost> {
    of(section).into_iter().filter(|cost| cost.is_in_summary).collect()
}
