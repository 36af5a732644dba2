//! Facts about the machine, as far as they can be read.
//!
//! Records are published: nothing here may name a machine, a person, or a place in a file system.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crc_fast::{CrcAlgorithm, checksum};

use serde::{Deserialize, Serialize};

mod place;

/// Facts by name, such as `cpu.model`; what cannot be read is absent, not guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Host(pub BTreeMap<String, String>);

/// Names of facts, and the files whose content they are.
const FILES: &[(&str, &str)] = &[
    ("kernel.release", "/proc/sys/kernel/osrelease"),
    ("kernel.version", "/proc/sys/kernel/version"),
    ("kernel.preempt", "/sys/kernel/debug/sched/preempt"),
    ("kernel.swappiness", "/proc/sys/vm/swappiness"),
    ("kernel.dirty_ratio", "/proc/sys/vm/dirty_ratio"),
    ("kernel.dirty_background_ratio", "/proc/sys/vm/dirty_background_ratio"),
    ("cpu.smt", "/sys/devices/system/cpu/smt/active"),
    ("cpu.governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("cpu.boost", "/sys/devices/system/cpu/cpufreq/boost"),
    ("cpu.driver", "/sys/devices/system/cpu/cpuidle/current_driver"),
    ("cpu.isolated", "/sys/devices/system/cpu/isolated"),
    ("numa.nodes", "/sys/devices/system/node/online"),
    ("clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("memory.thp", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("load.before", "/proc/loadavg"),
    ("uptime", "/proc/uptime"),
    ("io_uring.disabled", "/proc/sys/kernel/io_uring_disabled"),
    ("net.congestion_control", "/proc/sys/net/ipv4/tcp_congestion_control"),
    ("net.default_qdisc", "/proc/sys/net/core/default_qdisc"),
    ("net.busy_poll", "/proc/sys/net/core/busy_poll"),
    ("net.netdev_max_backlog", "/proc/sys/net/core/netdev_max_backlog"),
    ("net.tcp_max_syn_backlog", "/proc/sys/net/ipv4/tcp_max_syn_backlog"),
    ("net.tcp_mem", "/proc/sys/net/ipv4/tcp_mem"),
    ("net.tcp_rmem", "/proc/sys/net/ipv4/tcp_rmem"),
    ("net.tcp_wmem", "/proc/sys/net/ipv4/tcp_wmem"),
    ("net.somaxconn", "/proc/sys/net/core/somaxconn"),
    ("net.rmem_max", "/proc/sys/net/core/rmem_max"),
    ("net.wmem_max", "/proc/sys/net/core/wmem_max"),
    ("machine.product", "/sys/class/dmi/id/product_name"),
    ("machine.vendor", "/sys/class/dmi/id/sys_vendor"),
    ("machine.hypervisor", "/sys/hypervisor/type"),
];

/// Names of facts, and the commands that print them.
const COMMANDS: &[(&str, &[&str])] = &[
    ("git.commit", &["git", "rev-parse", "HEAD"]),
    ("git.changed_files", &["git", "status", "--porcelain", "--untracked-files=no"]),
];

impl Host {
    /// What can be read here and now. Commit and `Cargo.lock` are those of the working directory;
    /// `data` is where servers keep their files.
    pub fn read(data: &Path) -> Self {
        let mut facts = BTreeMap::new();
        for (name, path) in FILES {
            if let Ok(text) = fs::read_to_string(path) {
                let words: Vec<&str> = text.split_whitespace().collect();
                facts.insert((*name).to_owned(), words.join(" "));
            }
        }
        facts.retain(|_, value| !value.is_empty());
        for (name, command) in COMMANDS {
            if let Some(printed) = printed(command) {
                facts.insert((*name).to_owned(), printed);
            }
        }
        if let Some(changed) = facts.get_mut("git.changed_files") {
            *changed = changed.lines().count().to_string();
        }
        if let Ok(lock) = fs::read("Cargo.lock") {
            let hash = checksum(CrcAlgorithm::Crc64Nvme, &lock);
            facts.insert("cargo.lock".to_owned(), format!("crc64 {hash:016x}"));
        }
        let parameters = fs::read_to_string("/proc/cmdline").unwrap_or_default();
        let telling = Some(telling(&parameters)).filter(|telling| !telling.is_empty());
        facts.extend(telling.map(|telling| ("kernel.parameters".to_owned(), telling)));
        cpus(&mut facts);
        place::disk(data, &mut facts);
        place::control_groups(&mut facts);
        memory(&mut facts);
        limits(&mut facts);
        facts.insert("os.arch".to_owned(), std::env::consts::ARCH.to_owned());
        Self(facts)
    }
}

/// Of the kernel's command line, what is known to matter for speed: the rest may name anything.
fn telling(parameters: &str) -> String {
    let is_telling = |word: &&str| {
        let name = word.split('=').next().unwrap_or_default();
        PARAMETERS.iter().any(|known| name.starts_with(known))
    };
    parameters.split_whitespace().filter(is_telling).collect::<Vec<_>>().join(" ")
}

/// How names of such parameters begin.
const PARAMETERS: &[&str] = &[
    "mitigations",
    "spectre",
    "nospectre",
    "spec_store",
    "l1tf",
    "mds",
    "tsx",
    "nopti",
    "pti",
    "isolcpus",
    "nohz",
    "rcu_nocb",
    "irqaffinity",
    "maxcpus",
    "nosmt",
    "mem=",
    "hugepages",
    "transparent_hugepage",
    "numa_balancing",
    "preempt",
    "clocksource",
    "tsc",
    "idle",
    "cpuidle",
    "haltpoll",
    "processor.max_cstate",
    "intel_idle",
    "intel_pstate",
    "amd_pstate",
    "iommu",
    "elevator",
    "swiotlb",
];

fn printed(command: &[&str]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn cpus(facts: &mut BTreeMap<String, String>) {
    let Ok(text) = fs::read_to_string("/proc/cpuinfo") else { return };
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    for (name, key) in
        [("cpu.model", "model name"), ("cpu.microcode", "microcode"), ("cpu.flags", "flags")]
    {
        facts.extend(value(key).map(|value| (name.to_owned(), value)));
    }
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    facts.insert("cpu.count".to_owned(), count.to_string());
    let hypervisor =
        value("flags").is_some_and(|flags| flags.split(' ').any(|f| f == "hypervisor"));
    facts.insert("cpu.hypervisor".to_owned(), hypervisor.to_string());
    let vulnerabilities = "/sys/devices/system/cpu/vulnerabilities";
    for entry in fs::read_dir(vulnerabilities).into_iter().flatten().flatten() {
        let name = format!("mitigation.{}", entry.file_name().display());
        facts.extend(fs::read_to_string(entry.path()).map(|text| (name, text.trim().to_owned())));
    }
}

fn memory(facts: &mut BTreeMap<String, String>) {
    let Ok(text) = fs::read_to_string("/proc/meminfo") else { return };
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    facts.extend(total.map(|total| ("memory.total".to_owned(), total.trim().to_owned())));
}

fn limits(facts: &mut BTreeMap<String, String>) {
    let Ok(text) = fs::read_to_string("/proc/self/limits") else { return };
    for (name, key) in [
        ("limit.open_files", "Max open files"),
        ("limit.locked_memory", "Max locked memory"),
        ("limit.processes", "Max processes"),
        ("limit.stack", "Max stack size"),
        ("limit.address_space", "Max address space"),
    ] {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let words = line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        facts.extend(words.map(|words| (name.to_owned(), words)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_may_name_something_stay_here() {
        let line = "root=UUID=1-2 mitigations=off host=secret nohz_full=1-3 init=/bin/x";
        assert_eq!(telling(line), "mitigations=off nohz_full=1-3");
    }

    #[test]
    fn what_every_linux_has_is_read() {
        let Host(facts) = Host::read(Path::new("."));
        for name in [
            "kernel.release",
            "cpu.count",
            "memory.total",
            "limit.open_files",
            "os.arch",
            "disk.file_system",
            "disk.mount_options",
            "net.tcp_rmem",
        ] {
            assert!(facts.get(name).is_some_and(|fact| !fact.is_empty()), "{name}: {facts:?}");
        }
        assert!(facts["cpu.count"].parse::<usize>().unwrap() > 0);
    }
}
