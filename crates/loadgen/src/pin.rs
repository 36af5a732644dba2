//! Keeping processes on CPUs: who shares one with another is measured with it.

use anyhow::{Context as _, bail};
use measure::Pin;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs that this thread may run on.
pub(crate) fn current() -> anyhow::Result<CpuSet> {
    sched_getaffinity(None).context("which CPUs may be used")
}

/// Keeps this thread, and what it starts from now on, on these CPUs.
pub(crate) fn stay_on(cpus: &CpuSet) -> anyhow::Result<()> {
    sched_setaffinity(None, cpus).context("staying on some CPUs")
}

/// The CPUs of these numbers, as far as this thread may run on each of them.
pub(crate) fn of(numbers: &[u32]) -> anyhow::Result<CpuSet> {
    let allowed = current()?;
    let mut cpus = CpuSet::new();
    for number in numbers.iter().map(|number| *number as usize) {
        if number >= CpuSet::MAX_CPU || !allowed.is_set(number) {
            let there: Vec<_> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
            bail!("pin: CPU {number} is not there or not allowed; there are {there:?}");
        }
        cpus.set(number);
    }
    Ok(cpus)
}

/// Starts something that is to stay on these CPUs; with none of them it may run on all.
pub(crate) fn start_on<T>(
    numbers: &[u32],
    start: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if numbers.is_empty() {
        return start();
    }
    // A process begins on the CPUs of the thread that starts it.
    let before = current()?;
    stay_on(&of(numbers)?)?;
    let started = start();
    stay_on(&before)?;
    started
}

/// Whether each of so many workers has a CPU to itself.
pub(crate) fn is_alone(pin: &Pin, workers: u32) -> bool {
    let mut own = pin.workers.clone();
    own.sort_unstable();
    own.dedup();
    let is_shared = own.iter().any(|cpu| pin.server.contains(cpu)) || pin.server.is_empty();
    !is_shared && own.len() >= workers as usize
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn allowed(status: &str) -> String {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap().trim().to_owned()
    }

    #[test]
    fn what_is_started_stays_and_who_starts_it_does_not() {
        let own = || allowed(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
        let before = own();
        let last = (0..CpuSet::MAX_CPU).rfind(|cpu| current().unwrap().is_set(*cpu)).unwrap();
        let started = start_on(&[last as u32], || {
            Ok(Command::new("cat").arg("/proc/self/status").output().unwrap())
        });
        let said = String::from_utf8(started.unwrap().stdout).unwrap();
        assert_eq!(allowed(&said), last.to_string());
        assert_eq!(own(), before);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        for number in [1023, u32::MAX] {
            let error = start_on(&[number], || Ok(())).unwrap_err().to_string();
            assert!(error.contains(&format!("CPU {number} is not there")), "{error}");
        }
    }

    #[test]
    fn alone_is_who_shares_with_nobody() {
        let alone = |server: &[u32], workers: &[u32], count| {
            is_alone(&Pin { server: server.to_vec(), workers: workers.to_vec() }, count)
        };
        assert!(alone(&[0], &[1], 1));
        assert!(alone(&[0, 1], &[2, 3], 2));
        assert!(!alone(&[0], &[1], 2), "two on one");
        assert!(!alone(&[0], &[1, 1], 2));
        assert!(!alone(&[0, 1], &[1], 1), "with the server");
        assert!(!alone(&[], &[1], 1), "the server may run there, too");
        assert!(!alone(&[0], &[], 1));
    }
}
