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
    /// Most memory in RAM until now, in bytes (of the later look).
    pub peak_resident_bytes: u64,
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
        Ok(Self {
            user_seconds: seconds(11)?,
            system_seconds: seconds(12)?,
            voluntary_switches,
            involuntary_switches,
            peak_resident_bytes: 1024 * number(&status, "VmHWM:").unwrap_or(0),
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
        }
    }
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
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Usage::of_process(u32::MAX).is_err());
    }
}
