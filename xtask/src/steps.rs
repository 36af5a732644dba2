//! The table of everything that `cargo xtask test` runs.

/// One thing that must pass.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) action: Action,
    /// A step that takes longer than this hangs.
    pub(crate) limit_minutes: u64,
    /// A program without which the step is skipped, and said to be.
    pub(crate) needs: Option<&'static str>,
}

/// Both kinds are spelt as one would type them, so that a failed step can be repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Arguments of `cargo`, with environment variables in front.
    Cargo(&'static [(&'static str, &'static str)], &'static [&'static str]),
    /// Arguments of `cargo xtask`.
    Xtask(&'static [&'static str]),
}

use Action::{Cargo, Xtask};

/// Quick and telling ones first; the order also builds everything only once.
pub(crate) const STEPS: &[Step] = &[
    step("fmt", "formatting", Cargo(&[], &["fmt", "--all", "--check"])),
    step("tidy", "layers, sizes, crate docs, manifests", Xtask(&["tidy"])),
    step(
        "clippy",
        "lints, warnings denied",
        Cargo(&[], &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ),
    step(
        "doc",
        "documentation, warnings denied",
        Cargo(&[("RUSTDOCFLAGS", "-D warnings")], &["doc", "--workspace", "--no-deps"]),
    ),
    Step {
        needs: Some("cargo-deny"),
        ..step(
            "deny",
            "licences, sources and duplicates of dependencies",
            Cargo(&[], &["deny", "--offline", "check", "bans", "licenses", "sources"]),
        )
    },
    Step {
        // Builds all, and tries every runtime with every codec and storage: minutes when all is well.
        limit_minutes: 40,
        ..step(
            "unit",
            "unit, property, conformance and doc tests",
            Cargo(&[], &["test", "--workspace", "--no-fail-fast"]),
        )
    },
    step(
        "shuttle",
        "the lock manager under every kind of schedule",
        Cargo(&[], &["test", "--package=storage", "--features=shuttle", "--test=locks_shuttle"]),
    ),
    step(
        "release-tokio",
        "the tokio server as it is shipped",
        Cargo(&[], &["build", "--release", "--package=server-tokio"]),
    ),
    step(
        "release-threads",
        "the threads server as it is shipped",
        Cargo(&[], &["build", "--release", "--package=server-threads"]),
    ),
    step(
        "release-smol",
        "the smol server as it is shipped",
        Cargo(&[], &["build", "--release", "--package=server-smol"]),
    ),
    step(
        "release-async-std",
        "the server on async-std, which is discontinued",
        Cargo(&[], &["build", "--release", "--package=server-async-std"]),
    ),
    step(
        "release-compio",
        "the io_uring server as it is shipped",
        Cargo(&[], &["build", "--release", "--package=server-compio"]),
    ),
    step(
        "shootout",
        "every server under the load generator, for a moment each",
        Cargo(&[], &["run", "--release", "--package=loadgen", "--", "shootout", "--verify"]),
    ),
    step(
        "shootout-sizes",
        "records as databases have them, for a moment each",
        Cargo(
            &[],
            &["run", "--release", "--package=loadgen", "--", "shootout", "sizes", "--verify"],
        ),
    ),
    step(
        "shootout-invalidations",
        "up to 256 subscribers, for a moment each",
        Cargo(
            &[],
            &[
                "run",
                "--release",
                "--package=loadgen",
                "--",
                "shootout",
                "invalidations",
                "--verify",
            ],
        ),
    ),
    step(
        "shootout-memory",
        "reads from the disk, a thousand idle connections, and connecting",
        Cargo(
            // The system's own folder may be in memory, where nothing is ever read from a disk.
            &[("TMPDIR", "target")],
            &["run", "--release", "--package=loadgen", "--", "shootout", "memory", "--verify"],
        ),
    ),
    step(
        "workloads",
        "every workload of the load generator, in closed and open loops, against the tokio server",
        Cargo(
            // As seen from the package's folder, where its tests run.
            &[("ZEOXIDE_TEST_SERVER", "../../target/release/zeoxide-tokio")],
            &["test", "--package=loadgen", "--test=workloads"],
        ),
    ),
    step(
        "administration",
        "the administration command, with the tokio server",
        Cargo(
            // As seen from the package's folder, where its tests run.
            &[("ZEOXIDE_TEST_SERVER", "../../target/release/zeoxide-tokio")],
            &["test", "--package=zeoxide", "--test=all"],
        ),
    ),
    step("datafs", "Data.fs files that ZODB makes at random, copied and read", Xtask(&["datafs"])),
    step(
        "python-client",
        "the load generator's drivers with the real Python client, against the tokio server",
        Xtask(&["python-client"]),
    ),
    step(
        "instructions",
        "instruction counts of the hot operations, against the baseline",
        Xtask(&["instructions"]),
    ),
    step("application", "a bank on ZODB whose server is killed", Xtask(&["application"])),
    step("report-page", "a report's page in headless Chromium", Xtask(&["report-page"])),
    zeo("zeo-tokio-msgpack", &["zeosuite", "--server=tokio", "--protocol=msgpack"]),
    zeo("zeo-tokio-pickle", &["zeosuite", "--server=tokio", "--protocol=pickle"]),
    zeo("zeo-threads-msgpack", &["zeosuite", "--server=threads", "--protocol=msgpack"]),
    zeo("zeo-threads-pickle", &["zeosuite", "--server=threads", "--protocol=pickle"]),
    // The codecs above are the same here; what can differ is how bytes come and go.
    zeo("zeo-smol-msgpack", &["zeosuite", "--server=smol", "--protocol=msgpack"]),
    zeo("zeo-async-std-msgpack", &["zeosuite", "--server=async-std", "--protocol=msgpack"]),
    zeo("zeo-compio-msgpack", &["zeosuite", "--server=compio", "--protocol=msgpack"]),
];

impl Action {
    /// What to type to repeat it.
    pub(crate) fn command_line(self) -> String {
        match self {
            Cargo(environment, arguments) => {
                let environment: String =
                    environment.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
                format!("{environment}cargo {}", arguments.join(" "))
            }
            Xtask(arguments) => format!("cargo xtask {}", arguments.join(" ")),
        }
    }
}

const fn step(name: &'static str, about: &'static str, action: Action) -> Step {
    Step { name, about, action, limit_minutes: 20, needs: None }
}

const fn zeo(name: &'static str, arguments: &'static [&'static str]) -> Step {
    step(name, "ZEO's own suite and ours with the Python client", Xtask(arguments))
}
