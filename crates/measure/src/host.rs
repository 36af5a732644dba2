//! Facts about the machine, as far as they can be read.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Facts by name, such as `cpu.model`; what cannot be read is absent, not guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Host(pub BTreeMap<String, String>);

/// Names of facts, and the files whose content they are.
const FILES: &[(&str, &str)] = &[
    ("kernel.release", "/proc/sys/kernel/osrelease"),
    ("kernel.cmdline", "/proc/cmdline"),
    ("cpu.smt", "/sys/devices/system/cpu/smt/active"),
    ("cpu.governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("cpu.boost", "/sys/devices/system/cpu/cpufreq/boost"),
    ("clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("memory.thp", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("load.before", "/proc/loadavg"),
    ("uptime", "/proc/uptime"),
    ("io_uring.disabled", "/proc/sys/kernel/io_uring_disabled"),
    ("net.congestion_control", "/proc/sys/net/ipv4/tcp_congestion_control"),
    ("net.default_qdisc", "/proc/sys/net/core/default_qdisc"),
    ("net.somaxconn", "/proc/sys/net/core/somaxconn"),
    ("net.rmem_max", "/proc/sys/net/core/rmem_max"),
    ("net.wmem_max", "/proc/sys/net/core/wmem_max"),
    ("cgroup.cpu_max", "/sys/fs/cgroup/cpu.max"),
    ("cgroup.memory_max", "/sys/fs/cgroup/memory.max"),
    ("machine.product", "/sys/class/dmi/id/product_name"),
    ("machine.vendor", "/sys/class/dmi/id/sys_vendor"),
];

/// Names of facts, and the commands that print them.
const COMMANDS: &[(&str, &[&str])] = &[
    ("git.commit", &["git", "rev-parse", "HEAD"]),
    ("git.changed_files", &["git", "status", "--porcelain", "--untracked-files=no"]),
    ("rustc", &["rustc", "--version"]),
    ("file_system", &["stat", "--file-system", "--format=%T", "."]),
];

impl Host {
    /// What can be read here and now. The commit is that of the working directory.
    pub fn read() -> Self {
        let mut facts = BTreeMap::new();
        for (name, path) in FILES {
            if let Ok(text) = fs::read_to_string(path) {
                facts.insert((*name).to_owned(), text.trim().to_owned());
            }
        }
        for (name, command) in COMMANDS {
            if let Some(printed) = printed(command) {
                facts.insert((*name).to_owned(), printed);
            }
        }
        if let Some(changed) = facts.get_mut("git.changed_files") {
            *changed = changed.lines().count().to_string();
        }
        cpus(&mut facts);
        memory(&mut facts);
        limits(&mut facts);
        facts.insert("os.arch".to_owned(), std::env::consts::ARCH.to_owned());
        Self(facts)
    }
}

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
    for (name, key) in
        [("limit.open_files", "Max open files"), ("limit.locked_memory", "Max locked memory")]
    {
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        let words = line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        facts.extend(words.map(|words| (name.to_owned(), words)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_linux_has_is_read() {
        let Host(facts) = Host::read();
        for name in ["kernel.release", "cpu.count", "memory.total", "limit.open_files", "os.arch"] {
            assert!(facts.get(name).is_some_and(|fact| !fact.is_empty()), "{name}: {facts:?}");
        }
        assert!(facts["cpu.count"].parse::<usize>().unwrap() > 0);
    }
}
