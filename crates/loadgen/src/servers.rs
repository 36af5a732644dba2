//! Servers under test: how they are built, started, found ready, and stopped, as
//! `benchmarks/servers.toml` says.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context as _, bail};
use measure::{Usage, usage};
use serde::Deserialize;
use tempfile::TempDir;

use crate::tls::Trust;
use crate::{pin, versions};

/// All servers, by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Servers {
    pub(crate) server: BTreeMap<String, Server>,
}

/// One kind of server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// For people.
    pub(crate) about: String,
    /// The package of this workspace that it is built from.
    package: Option<String>,
    /// The command line; see [`expand`] for what stands in braces.
    pub(crate) command: Vec<String>,
    /// What its clients may speak.
    pub(crate) protocols: Vec<String>,
    /// How it is found to be ready.
    #[serde(default)]
    ready: Ready,
    /// It has TLS, with the certificate and private key that are made for it in `{dir}/tls.pem`.
    #[serde(default)]
    pub(crate) tls: bool,
    /// Files that are made in its folder before it starts.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// The command that prints its version and those of what it needs, in one line.
    version: Option<Vec<String>>,
    /// A program or file without which it is skipped.
    needs: Option<String>,
    /// The command that installs that.
    #[serde(default)]
    install: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ready {
    /// It prints `listening ADDRESS` and `ready`.
    #[default]
    Printed,
    /// A client can connect to `{port}`.
    Connect,
}

/// A server that runs.
pub(crate) struct Running {
    child: Child,
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// Whom its clients trust, if it has TLS.
    pub(crate) tls: Option<Trust>,
    /// Of the server, by name.
    pub(crate) versions: BTreeMap<String, String>,
    folder: TempDir,
}

/// How long a server may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

impl Servers {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    pub(crate) fn get(&self, name: &str) -> anyhow::Result<&Server> {
        let known = || self.server.keys().cloned().collect::<Vec<_>>().join(", ");
        self.server.get(name).with_context(|| format!("no server {name:?}; known are {}", known()))
    }
}

impl Server {
    /// Why it cannot be measured here, if it cannot: it is not installed.
    pub(crate) fn missing(&self) -> Option<String> {
        not_installed(self.needs.as_deref(), &self.install)
    }

    /// Builds it as it is shipped.
    pub(crate) fn build(&self) -> anyhow::Result<()> {
        let Some(package) = &self.package else { return Ok(()) };
        let status = cargo()
            .args(["build", "--quiet", "--release", "--package", package])
            .status()
            .context("running cargo")?;
        if !status.success() {
            bail!("building {package} failed");
        }
        Ok(())
    }

    /// Starts it in a folder of its own, on these CPUs (or on all), and waits until it is ready for
    /// `protocol`. `name`: as in [`Servers`].
    pub(crate) fn start(
        &self,
        name: &str,
        protocol: &str,
        cpus: &[u32],
    ) -> anyhow::Result<Running> {
        let folder = tempfile::tempdir().context("a folder for the server")?;
        let port = match self.ready {
            Ready::Connect => free_port()?,
            Ready::Printed => 0,
        };
        let expand = |text: &str| expand(text, protocol, folder.path(), port);
        for (name, text) in &self.files {
            fs::write(folder.path().join(name), expand(text))?;
        }
        let tls = self.tls.then(|| Trust::make(folder.path())).transpose()?;
        let mut command = self.command.iter().map(|word| expand(word));
        let program = command.next().context("a command without a program")?;
        let stderr = fs::File::create(folder.path().join("stderr"))?;
        let is_heard = self.ready == Ready::Printed;
        let mut child = pin::start_on(cpus, || {
            Command::new(&program)
                .args(command)
                .stdin(Stdio::null())
                .stdout(if is_heard { Stdio::piped() } else { Stdio::null() })
                .stderr(stderr)
                .spawn()
                .with_context(|| format!("starting {program}"))
        })?;
        let address = match self.ready {
            Ready::Printed => printed_address(&mut child),
            Ready::Connect => connected(&mut child, port),
        };
        let address = address.with_context(|| {
            // It was started here, and nobody else knows it.
            _ = child.kill();
            _ = child.wait();
            let said = fs::read_to_string(folder.path().join("stderr")).unwrap_or_default();
            let last = said.lines().last().unwrap_or("nothing").to_owned();
            format!("{program} does not get ready (it says: {last})")
        })?;
        let versions = self.versions(name, &program, expand);
        Ok(Running { child, address, tls, versions, folder })
    }

    /// What its programs say of themselves, and which compiler made those that are ours.
    fn versions(
        &self,
        name: &str,
        program: &str,
        expand: impl Fn(&str) -> String,
    ) -> BTreeMap<String, String> {
        let command = match (&self.version, &self.package) {
            (Some(command), _) => command.iter().map(|word| expand(word)).collect(),
            (None, Some(_)) => vec![program.to_owned(), "--version".to_owned()],
            (None, None) => Vec::new(),
        };
        let version = versions::printed(&command);
        let rustc = self.package.as_ref().and_then(|_| versions::rustc(Path::new(program)));
        version
            .map(|version| (name.to_owned(), version))
            .into_iter()
            .chain(rustc.map(|rustc| (format!("{name}.rustc"), rustc)))
            .collect()
    }
}

/// That a program or file is not there, and how it is installed; `None` if it is there.
pub(crate) fn not_installed(needs: Option<&str>, install: &str) -> Option<String> {
    let needs = needs?.replace("{target}", &target());
    let found = if needs.contains('/') {
        Path::new(&needs).exists()
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|folder| folder.join(&needs).is_file())
    };
    let install = install.replace("{target}", &target());
    (!found).then(|| format!("{needs} is not there; to install it: {install}"))
}

/// `{target}`: cargo's target folder. `{dir}`: the server's own folder. `{port}`: a free port.
/// `{protocol}`, `{scheme}`: what clients will speak, in the words of records and of our URLs.
fn expand(text: &str, protocol: &str, folder: &Path, port: u16) -> String {
    let scheme = match protocol {
        "msgpack" => "zeo+msgpack",
        "pickle" => "zeo+pickle",
        other => other,
    };
    text.replace("{target}", &target())
        .replace("{dir}", &folder.display().to_string())
        .replace("{port}", &port.to_string())
        .replace("{protocol}", protocol)
        .replace("{scheme}", scheme)
        .replace("{is_msgpack}", if protocol == "msgpack" { "true" } else { "false" })
}

/// The cargo that runs this program.
///
/// It is not told what cargo told this program of its own package: build scripts that look at that
/// (ring's does) would run again, and with all that depends on them this very program would be
/// replaced while it runs.
fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Cargo's target folder: that of this program, if it was built there.
pub(crate) fn target() -> String {
    let own = env::current_exe().ok();
    let folder = own.as_deref().and_then(Path::parent).and_then(Path::parent);
    let folder = folder.filter(|folder| folder.join("release").is_dir());
    folder.map_or_else(|| PathBuf::from("target"), Path::to_owned).display().to_string()
}

/// Some port that nobody has now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn printed_address(child: &mut Child) -> anyhow::Result<String> {
    let output = child.stdout.take().context("a server's output")?;
    let (sender, said) = mpsc::channel();
    // It reads on to the end: what a server prints later must find a reader, too.
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens any more when the server is ready.
            _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let mut address = None;
    loop {
        match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line == "ready" => {
                return address.context("it is ready, and listens nowhere");
            }
            Ok(line) => {
                if let Some(url) = line.strip_prefix("listening ") {
                    let (_, place) = url.rsplit_once("//").unwrap_or(("", url));
                    address = Some(place.to_owned());
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("nothing after {PATIENCE:?}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("it ended"),
        }
    }
}

fn connected(child: &mut Child, port: u16) -> anyhow::Result<String> {
    let address = format!("127.0.0.1:{port}");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            bail!("it ended: {status}");
        }
        if TcpStream::connect(&address).is_ok() {
            return Ok(address);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("nobody listens on {address} after {PATIENCE:?}")
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its heap and stacks.
    pub(crate) fn anonymous_bytes(&self) -> anyhow::Result<u64> {
        usage::anonymous_bytes(self.child.id()).context("the server's memory")
    }

    /// Where the system refuses, the peak is that since the start.
    pub(crate) fn reset_peak(&self) {
        _ = usage::reset_peak(self.child.id());
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of_process(self.child.id()).context("the server is gone")
    }

    /// Stops it in order; what does not end is killed, and said.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself; `wait` will tell.
            _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                // Peers have their own ideas of what to return.
                let by_us = matches!(status.signal(), Some(2 | 15));
                if !status.success() && !by_us && status.code().is_none() {
                    bail!("it ended with {status}");
                }
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("it does not stop")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `stop` there is nothing left to do.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> anyhow::Result<Running> {
        let server = format!(
            "about = 'a'\nprotocols = ['msgpack']\ncommand = ['sh', '-c', \"\"\"{script}\"\"\"]"
        );
        toml::from_str::<Server>(&server)?.start("server", "msgpack", &[])
    }

    #[test]
    fn a_server_is_ready_when_it_says_so() {
        let running = start("echo listening {scheme}://host:1; echo ready; read line").unwrap();
        assert_eq!(running.address, "host:1");
        running.stop().unwrap();
        let why = |script| format!("{:#}", start(script).err().unwrap());
        assert!(why("echo no such disk >&2; exit 3").contains("(it says: no such disk): it ended"));
        assert!(why("echo ready").contains("listens nowhere"));
    }

    /// Without a reader it would end by SIGPIPE.
    #[test]
    fn what_a_server_prints_later_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, done) = (folder.path().join("pipe"), folder.path().join("done"));
        let script = format!(
            "mkfifo {pipe}; echo listening a://b; echo ready; read line < {pipe}; echo later; \
             echo later; mv {pipe} {done}; exec sleep 600",
            pipe = pipe.display(),
            done = done.display(),
        );
        let mut running = start(&script).unwrap();
        // Opening it waits for the reader.
        fs::write(&pipe, "go on\n").unwrap();
        while !done.exists() {
            assert_eq!(running.child.try_wait().unwrap(), None, "it ended");
            thread::yield_now();
        }
        running.stop().unwrap();
    }
}
