//! What the system knows of a process.

use std::fs;

use crate::Failed;

const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of a process so far, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, Failed> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |position: usize| -> Result<f64, Failed> {
        Ok(fields.get(position).ok_or("short /proc/PID/stat")?.parse()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Memory of a process that is in RAM.
pub(crate) fn resident_mib(pid: u32) -> Result<f64, Failed> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
