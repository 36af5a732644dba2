//! What the operating system knows of this process.

use std::fs;

/// Memory in use that is not swapped out, in bytes, where the system tells it.
pub(super) fn resident_bytes() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes = line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?;
    kibibytes.checked_mul(1024)
}

/// Open files and sockets, where the system tells it.
pub(super) fn open_descriptors() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One is what this reads.
    (entries.count() as u64).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_found_and_nothing_else() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\nVmData:\t 1 kB\n"), Some(2 << 20));
        for odd in ["", "VmRSS: x kB", "VmRSS: 1 MB", "VmRSS: 99999999999999999999 kB"] {
            assert_eq!(resident(odd), None, "{odd}");
        }
    }
}
