//! Looks at a server under load with `perf`: which system calls it makes, and where its time goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};
use measure::profile::{KERNEL, USER};
use measure::record::SCHEMA;
use measure::{Host, Outcome, Point, Profile, Verdict};
use tempfile::TempDir;

use crate::control::{Job, unix_ns};
use crate::fleet::Fleet;
use crate::point;
use crate::servers::Running;

/// The system calls that servers are known to use. Others are counted together.
const COUNTED: &[&str] = &[
    "recvfrom",
    "sendto",
    "recvmsg",
    "sendmsg",
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "preadv2",
    "pwrite64",
    "pwritev",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_ctl",
    "poll",
    "io_uring_enter",
    "futex",
    "sched_yield",
    "fdatasync",
    "fsync",
];

/// All others.
const OTHERS: &str = "(others)";

/// Samples a second. Not a round number, which timers of servers could keep step with.
const SAMPLES_PER_SECOND: &str = "2999";

/// Why no server can be looked at here; `None`: it can.
pub(crate) fn missing() -> Option<String> {
    let install = "apt-get install linux-perf";

    let tried =
        Command::new("perf").args(["stat", "-e", "raw_syscalls:sys_enter", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
            Some(format!("perf may not count system calls here (it says: {})", why.trim()))
        }
        Err(_) => Some(format!("perf is not there; to install it: {install}")),
    }
}

/// Loads `server` as a measurement does, and looks at it for all of the counted time.
pub(crate) fn look(
    point: &Point,
    job: &Job,
    server: &Running,
    fleet: &mut Fleet,
    host: &Host,
    interrupted: &AtomicBool,
) -> anyhow::Result<Profile> {
    let began = unix_ns() / 1_000_000_000;
    let mut perf = None;
    let watch = || {
        // It starts at the beginning of the counted time, and ends by itself.
        if perf.is_none() {
            perf = Some(Perf::start(server.pid(), job.seconds));
        }
    };
    let outcome = point::measure_watched(job, server, fleet, interrupted, watch, |_| {});
    let counted = perf.context("the load did not begin")??.finish()?;
    if let Verdict::Failed(why) = &outcome.verdict {
        bail!("{why}");
    }
    profile(point, host, began, &outcome, &counted)
}

fn profile(
    point: &Point,
    host: &Host,
    began: u64,
    outcome: &Outcome,
    counted: &Counted,
) -> anyhow::Result<Profile> {
    let operations = outcome.rate() * counted.seconds;
    let all: u64 = counted.samples.values().sum();
    if operations < 1.0 || all == 0 {
        bail!("perf saw nothing of the server");
    }
    let of_all = |(area, count): (&String, &u64)| (area.clone(), *count as f64 / all as f64);
    let each = |(name, count): (&String, &u64)| (name.clone(), *count as f64 / operations);
    Ok(Profile {
        schema: SCHEMA,
        point: point.clone(),
        began,
        host: host.clone(),
        rate: outcome.rate(),
        server_cpu_us: outcome.server_cpu_us(),
        system_calls: counted.system_calls.iter().map(each).collect(),
        cpu: counted.samples.iter().map(of_all).collect(),
    })
}

/// `perf`, while it looks.
struct Perf {
    folder: TempDir,
    count: Child,
    sample: Child,
    seconds: f64,
}

/// What it saw.
struct Counted {
    seconds: f64,
    system_calls: BTreeMap<String, u64>,
    /// By area, as in [`Profile::cpu`].
    samples: BTreeMap<String, u64>,
}

impl Perf {
    /// Looks at a process and all its threads for nearly `seconds`.
    fn start(pid: u32, seconds: f64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for perf")?;
        // It needs a moment to begin, and should be done before the load is.
        let seconds = 0.8 * seconds;
        let (pid, time) = (pid.to_string(), seconds.to_string());
        let mut count = Command::new("perf");
        count.args(["stat", "-x", ",", "-o"]).arg(folder.path().join("counts"));
        count.args(["-e", "raw_syscalls:sys_enter"]);
        for name in COUNTED.iter().filter(|name| is_known(name)) {
            count.args(["-e", &format!("syscalls:sys_enter_{name}")]);
        }
        count.args(["-p", &pid, "--", "sleep", &time]);
        let mut sample = Command::new("perf");
        sample.args(["record", "-q", "-g", "-e", "cpu-clock", "-F", SAMPLES_PER_SECOND, "-o"]);
        sample.arg(folder.path().join("samples")).args(["-p", &pid, "--", "sleep", &time]);
        Ok(Self { count: quiet(&mut count)?, sample: quiet(&mut sample)?, folder, seconds })
    }

    fn finish(mut self) -> anyhow::Result<Counted> {
        for child in [&mut self.count, &mut self.sample] {
            let status = child.wait().context("waiting for perf")?;
            if !status.success() {
                bail!("perf ended with {status}");
            }
        }
        let counts = fs::read_to_string(self.folder.path().join("counts")).context("counts")?;
        let script = Command::new("perf")
            .args(["script", "-F", "ip,sym,dso", "-i"])
            .arg(self.folder.path().join("samples"))
            .output()
            .context("running perf script")?;
        let samples = samples(&String::from_utf8_lossy(&script.stdout));
        Ok(Counted { seconds: self.seconds, system_calls: system_calls(&counts)?, samples })
    }
}

fn quiet(command: &mut Command) -> anyhow::Result<Child> {
    let nothing = || Stdio::null();
    command.stdin(nothing()).stdout(nothing()).stderr(nothing()).spawn().context("starting perf")
}

/// Whether this kernel, on this kind of CPU, has that system call.
fn is_known(name: &str) -> bool {
    Path::new("/sys/kernel/tracing/events/syscalls").join(format!("sys_enter_{name}")).exists()
}

/// What `perf stat` has counted: lines of `COUNT,UNIT,EVENT,...`.
fn system_calls(text: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let (mut all, mut calls) = (None, BTreeMap::new());
    for line in text.lines() {
        let mut fields = line.split(',');
        let (Some(count), Some(event)) = (fields.next(), fields.nth(1)) else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        if event == "raw_syscalls:sys_enter" {
            all = Some(count);
        } else if let Some(name) = event.strip_prefix("syscalls:sys_enter_")
            && count > 0
        {
            calls.insert(name.to_owned(), count);
        }
    }
    let all = all.context("perf counted no system calls")?;
    let others = all.saturating_sub(calls.values().sum());
    if others > 0 {
        calls.insert(OTHERS.to_owned(), others);
    }
    Ok(calls)
}

/// How many samples fell into each area. Each sample is a block of lines, `ADDRESS SYMBOL (FILE)`,
/// innermost first. Time that goes into the counting of system calls is nobody's.
fn samples(text: &str) -> BTreeMap<String, u64> {
    let mut samples = BTreeMap::new();
    let blocks = text.split("\n\n").map(str::trim);
    for block in blocks.filter(|block| !block.is_empty() && !block.contains(COUNTING)) {
        *samples.entry(area(block).to_owned()).or_default() += 1;
    }
    samples
}

/// Where the kernel counts a system call.
const COUNTING: &str = "__traceiter_sys_enter";

fn area(block: &str) -> &str {
    let symbols = block.lines().filter_map(|line| line.split_whitespace().nth(1));
    for symbol in symbols {
        // As in `__x64_sys_recvfrom`, `__arm64_sys_recvfrom`, `__do_sys_io_uring_enter`; and what
        // leaves no other trace, `ksys_write`.
        let entry = symbol.strip_prefix("__").and_then(|rest| rest.split_once("_sys_"));
        if let Some(name) = symbol.strip_prefix("ksys_").or_else(|| entry.map(|(_, name)| name)) {
            return name;
        }
    }
    let innermost = block.lines().next().unwrap_or_default();
    if innermost.contains("[kernel") || innermost.contains("[guest.kernel") { KERNEL } else { USER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_name() {
        let text = "# started on a day\n\n176712,,raw_syscalls:sys_enter,551933640,100.00,,\n\
                    84566,,syscalls:sys_enter_recvfrom,551933640,100.00,,\n\
                    0,,syscalls:sys_enter_read,551933640,100.00,,\n\
                    4406,,syscalls:sys_enter_epoll_wait,551933640,100.00,,\n";
        let calls = system_calls(text).unwrap();
        let expected = [("(others)", 87_740), ("epoll_wait", 4_406), ("recvfrom", 84_566)];
        assert_eq!(calls.iter().map(|(n, c)| (n.as_str(), *c)).collect::<Vec<_>>(), expected);
        assert!(system_calls("nothing").is_err());
    }

    #[test]
    fn a_sample_belongs_to_its_system_call() {
        let text = "
	ffffffff81e4938b skb_attempt_defer_free ([kernel.kallsyms])
	ffffffff81e2f5d0 __x64_sys_recvfrom ([kernel.kallsyms])
	ffffffff821ed511 do_syscall_64 ([kernel.kallsyms])
	          10a974 __libc_recv (/usr/lib/x86_64-linux-gnu/libc.so.6)


	          161bff core::str::converts::from_utf8 (/usr/bin/server)
	       400000004 [unknown] ([unknown])


	ffffffff813c2f6b asm_sysvec_apic_timer_interrupt ([kernel.kallsyms])
	          161bff core::str::converts::from_utf8 (/usr/bin/server)


	ffff800010000000 __arm64_sys_sendto ([kernel.kallsyms])


	ffffffff81e2f5d0 __do_sys_io_uring_enter ([kernel.kallsyms])


	ffffffff8119d0e0 perf_syscall_enter ([kernel.kallsyms])
	ffffffff8119d0e0 __traceiter_sys_enter ([kernel.kallsyms])
	ffffffff821ed511 do_syscall_64 ([kernel.kallsyms])


	ffffffff81e2f5d0 vfs_write ([kernel.kallsyms])
	ffffffff81e2f5d0 ksys_write ([kernel.kallsyms])
";
        let found: Vec<_> = samples(text).into_iter().collect();
        let calls = ["io_uring_enter", "recvfrom", "sendto", "write"].map(|name| (name, 1));
        let expected = [(KERNEL, 1), (USER, 1)].into_iter().chain(calls);
        let expected = expected.map(|(area, count)| (area.to_owned(), count));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
}
