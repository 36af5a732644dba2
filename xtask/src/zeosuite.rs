//! `cargo xtask zeosuite`: ZEO's own test suite, its Python client against our server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::process::{self, Ending};
use crate::servers::{self, Server};
use crate::venv;
use crate::workspace::Workspace;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server to test
    #[arg(long, value_name = "tokio|threads|smol|async-std|compio|reference")]
    server: Tested,
    /// Which of ZEO's two encodings the server announces
    #[arg(long)]
    protocol: Protocol,
    /// A list of tests/zeosuite/lists (repeatable) [default: all that apply to our servers]
    #[arg(long, value_name = "NAME")]
    list: Vec<String>,
    /// Run only tests whose name contains this, or that match it as a pattern (repeatable)
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// How many tests run at a time
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Run each test so often
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Keep the folders and output of tests that fail here
    #[arg(long, value_name = "DIR")]
    keep_failed: Option<PathBuf>,
}

/// What is tested.
#[derive(Debug, Clone, Copy)]
enum Tested {
    Ours(Server),
    /// ZEO itself, to try out the runner.
    Reference,
}

impl FromStr for Tested {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if name == "reference" {
            return Ok(Self::Reference);
        }
        let ours = <Server as ValueEnum>::from_str(name, false).map(Self::Ours);
        ours.map_err(|_| "tokio, threads, smol, async-std, compio or reference".to_owned())
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocol {
    Msgpack,
    Pickle,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let suite = workspace.root.join("tests/zeosuite");
    let python = venv::python(workspace, &venv::ZEO_SUITE)?;
    let template = template(workspace, options.server)?;
    let mut command = Command::new(python);
    command.arg(suite.join("run.py")).arg("--server").arg(template);
    command.args(arguments(&suite, options)).current_dir(&workspace.root);
    match process::run(&mut command, LIMIT)? {
        Ending::Exited(status) => Ok(status.success()),
        Ending::TimedOut => bail!("the suite hangs: not done after {} s", LIMIT.as_secs()),
    }
}

fn arguments(suite: &Path, options: &Options) -> Vec<String> {
    let mut arguments = vec![
        format!("--protocol={}", name(options.protocol)),
        format!("--jobs={}", options.jobs),
        format!("--repeat={}", options.repeat),
        format!("--serial={}", suite.join("lists/serial.txt").display()),
    ];
    if !matches!(options.server, Tested::Reference) {
        arguments.push(format!("--later={}", suite.join("later.txt").display()));
    }
    let default = DEFAULT_LISTS.map(str::to_owned);
    let lists = if options.list.is_empty() { &default } else { options.list.as_slice() };
    for list in lists {
        arguments.push(format!("--list={}", suite.join(format!("lists/{list}.txt")).display()));
    }
    arguments.extend(options.only.iter().map(|text| format!("--only={text}")));
    if let Some(folder) = &options.keep_failed {
        arguments.push(format!("--keep-failed={}", folder.display()));
    }
    arguments
}

/// What our servers pass, but for `later.txt`.
const DEFAULT_LISTS: [&str; 10] = [
    "core",
    "extra",
    "blob",
    "undo",
    "iteration",
    "pack",
    "monitoring",
    "timeout",
    "load-delayed",
    "ssl",
];

/// Builds the server; the command line that starts it, as the suite fills it in.
fn template(workspace: &Workspace, server: Tested) -> Result<String> {
    let Tested::Ours(server) = server else {
        return Ok(REFERENCE.to_owned());
    };
    let binary = servers::build(workspace, server)?;
    let binary = binary.to_str().context("the target folder's name is not UTF-8")?;
    Ok(format!("'{binary}' {OURS}"))
}

fn name(value: Protocol) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Options of our servers. What a test asks for and this lacks makes the test 'unmappable'.
const OURS: &str = "\
    [!unix? --listen zeo+{protocol}://{addr}] [unix? --listen zeo+{protocol}+unix://{unix}] \
    [* --storage {storage_name}=file:{path}.d[blob_dir??blobs={blob_dir}] *] \
    [read_only? --read-only] \
    [invalidation_queue_size? --invalidation-queue-size {invalidation_queue_size}] \
    [invalidation_age? --invalidation-age {invalidation_age}] \
    [transaction_timeout? --transaction-timeout {transaction_timeout}] \
    [load_delay_ms? --load-delay {load_delay_ms}] \
    [ssl_cert? --tls-cert {ssl_cert} --tls-key {ssl_key} --tls-client-ca {ssl_auth}] \
    [ssl_password? --tls-key-password-file {ssl_password_file}]";

/// ZEO itself, leaving conflicts to clients as ours do, with its bugs in that fixed.
const REFERENCE: &str = "\
    {python} {harness}/ref_zeo_server.py --addr {addr} --kind {kind} --path {path} \
    [blob_dir? --blob-dir {blob_dir}] [read_only? --read-only] --protocol {protocol} \
    [invalidation_queue_size? --invalidation-queue-size {invalidation_queue_size}] \
    [invalidation_age? --invalidation-age {invalidation_age}] \
    [transaction_timeout? --transaction-timeout {transaction_timeout}] \
    [ssl_cert? --ssl-cert {ssl_cert} --ssl-key {ssl_key} --ssl-auth {ssl_auth}] \
    [ssl_password? --ssl-password {ssl_password}] --opaque --ccr-fix";

/// Far more than a run takes; each test has its own, shorter limit.
const LIMIT: Duration = Duration::from_secs(20 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(line: &[&str]) -> Vec<String> {
        let line = ["zeosuite", "--protocol=pickle"].iter().chain(line);
        arguments(Path::new("s"), &Line::parse_from(line).options)
    }

    #[test]
    fn what_should_pass_runs_by_default_and_later_is_for_our_servers_only() {
        let ours = parsed(&["--server=tokio"]);
        for list in DEFAULT_LISTS {
            assert!(ours.contains(&format!("--list=s/lists/{list}.txt")), "{list}");
        }
        assert!(ours.contains(&"--later=s/later.txt".to_owned()));
        let reference = parsed(&["--server=reference", "--list=pack"]);
        assert!(!reference.iter().any(|argument| argument.starts_with("--later")));
        assert!(!reference.contains(&"--list=s/lists/core.txt".to_owned()));
        assert!(reference.contains(&"--list=s/lists/pack.txt".to_owned()));
    }

    #[test]
    fn the_runner_passes_its_own_tests() {
        let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/zeosuite");
        let mut command = Command::new("python3");
        command.args(["-m", "unittest", "--quiet", "runner_tests"]).current_dir(suite);
        let status = command.env("PYTHONDONTWRITEBYTECODE", "1").status().expect("python3 runs");
        assert!(status.success());
    }
}
