//! What a process used, as the system counts it.

use std::fs;
use std::io;
use std::ops::Sub;

use serde::{Deserialize, Serialize};

/// Counters of a process, or the difference of two looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode.
    pub user_seconds: f64,
    /// CPU time in the kernel.
    pub system_seconds: f64,
    /// How often a thread went to sleep.
    pub voluntary_switches: u64,
    /// How often a thread was made to wait.
    pub involuntary_switches: u64,
    /// Most memory in RAM, in bytes (of the later look): since [`reset_peak`], or else since the
    /// process began.
    pub peak_resident_bytes: u64,
    /// Memory in RAM at the later look. Absent, as all below, where it was not or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// What came from the disk because of it, and not from the page cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_read_bytes: Option<u64>,
    /// What went to the disk because of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_written_bytes: Option<u64>,
}

impl Usage {
    /// Of a process, by its id.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        // The name in the second field may hold anything, but it ends at the last parenthesis.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let seconds = |position: usize| -> io::Result<f64> {
            let ticks: Option<u64> = fields.get(position).and_then(|field| field.parse().ok());
            let ticks = ticks.ok_or_else(|| invalid("/proc/PID/stat"))?;
            Ok(ticks as f64 / ticks_per_second)
        };
        let (voluntary_switches, involuntary_switches) = switches(pid)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        // Not every kernel counts this, and not every process of another user shows it.
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        Ok(Self {
            user_seconds: seconds(11)?,
            system_seconds: seconds(12)?,
            voluntary_switches,
            involuntary_switches,
            peak_resident_bytes: 1024 * number(&status, "VmHWM:").unwrap_or(0),
            resident_bytes: number(&status, "VmRSS:").map(|kib| 1024 * kib),
            disk_read_bytes: number(&io, "read_bytes:"),
            disk_written_bytes: number(&io, "write_bytes:"),
        })
    }

    /// User and system.
    pub fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }

    /// Sum of two processes.
    pub fn and(self, other: Self) -> Self {
        Self {
            user_seconds: self.user_seconds + other.user_seconds,
            system_seconds: self.system_seconds + other.system_seconds,
            voluntary_switches: self.voluntary_switches + other.voluntary_switches,
            involuntary_switches: self.involuntary_switches + other.involuntary_switches,
            peak_resident_bytes: self.peak_resident_bytes + other.peak_resident_bytes,
            resident_bytes: add(self.resident_bytes, other.resident_bytes),
            disk_read_bytes: add(self.disk_read_bytes, other.disk_read_bytes),
            disk_written_bytes: add(self.disk_written_bytes, other.disk_written_bytes),
        }
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user_seconds: self.user_seconds - before.user_seconds,
            system_seconds: self.system_seconds - before.system_seconds,
            voluntary_switches: self.voluntary_switches.saturating_sub(before.voluntary_switches),
            involuntary_switches: self
                .involuntary_switches
                .saturating_sub(before.involuntary_switches),
            peak_resident_bytes: self.peak_resident_bytes,
            resident_bytes: self.resident_bytes,
            disk_read_bytes: subtract(self.disk_read_bytes, before.disk_read_bytes),
            disk_written_bytes: subtract(self.disk_written_bytes, before.disk_written_bytes),
        }
    }
}

/// Has [`Usage::peak_resident_bytes`] of a process begin now.
pub fn reset_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// Anonymous memory of a process in RAM, in bytes: heap and stacks; neither files that it maps, as
/// libraries, nor what the kernel has for it, as socket buffers.
pub fn anonymous_bytes(pid: u32) -> io::Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    number(&maps, "Anonymous:")
        .map(|kib| 1024 * kib)
        .ok_or_else(|| invalid("/proc/PID/smaps_rollup"))
}

/// CPU time that this machine wanted and another one got, all CPUs together, since it was booted.
/// `None` if the system does not tell.
pub fn steal_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: u64 = stat.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a? + b?)
}

fn subtract(later: Option<u64>, before: Option<u64>) -> Option<u64> {
    Some(later?.saturating_sub(before?))
}

/// Of all threads that live: those of a process that starts and ends threads all the while are
/// counted too low.
fn switches(pid: u32) -> io::Result<(u64, u64)> {
    let mut sum = (0, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        sum.0 += number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        sum.1 += number(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(sum)
}

fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not as expected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_what_it_uses() {
        let before = Usage::of_process(std::process::id()).unwrap();
        let mut sum = 0_u64;
        let used = || Usage::of_process(std::process::id()).unwrap() - before;
        while used().cpu_seconds() < 0.03 {
            sum = std::hint::black_box((0..100_000).fold(sum, u64::wrapping_add));
        }
        let used = used();
        assert!(used.cpu_seconds() < 60.0, "{used:?}");
        assert!(used.peak_resident_bytes > 100_000);
        let twice = used.and(used).cpu_seconds();
        assert!((twice - 2.0 * used.cpu_seconds()).abs() < 1e-9);
    }

    #[test]
    fn the_peak_is_that_since_it_was_reset() {
        let own = std::process::id();
        let peak = || Usage::of_process(own).unwrap().peak_resident_bytes;
        // Large enough to be given back at once.
        let large = std::hint::black_box(vec![1_u8; 256 << 20]);
        drop(large);
        let with_large = peak();
        assert!(with_large > 256 << 20);
        reset_peak(own).unwrap();
        assert!(peak() < with_large - (128 << 20), "{} {with_large}", peak());
    }

    #[test]
    fn anonymous_memory_is_counted() {
        let own = || anonymous_bytes(std::process::id()).unwrap();
        let before = own();
        let large = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(own() >= before + (48 << 20), "{before} {}", own());
        drop(large);
        assert!(steal_seconds().is_some_and(|seconds| seconds >= 0.0));
    }

    #[test]
    fn bytes_of_the_disk_are_counted() {
        let host = crate::Host::read(std::path::Path::new("."));
        if host.0.get("disk.file_system").is_none_or(|kind| kind == "tmpfs") {
            println!("skipped: there is no disk here");
            return;
        }
        let used = || Usage::of_process(std::process::id()).unwrap();
        let before = used();
        let mut file = tempfile::tempfile_in(".").unwrap();
        io::Write::write_all(&mut file, &[7; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let written = (used() - before).disk_written_bytes.unwrap();
        assert!(written >= 1 << 20, "{written}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Usage::of_process(u32::MAX).is_err());
    }
}
