//! What every case works with: a server with an empty storage, and connections to it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use codecs::{Address, Dialect, Endpoint};
use tempfile::TempDir;

use super::peer::Peer;
use super::{Setup, SocketKind, StorageKind};
use crate::server::{self, ServerProcess, Socket};
use crate::tls::{self, Certificates};

/// A server with one storage, `1`, that was empty when this was made. Dropped, it is stopped, and
/// has to end well.
pub(crate) struct Bench {
    setup: Setup,
    /// `None` between two servers.
    server: Option<ServerProcess>,
    /// Of the running server, in the order of [`Dialect::ALL`].
    doors: Vec<Door>,
    /// Where other servers can follow it.
    followed_at: Option<String>,
    directory: TempDir,
    has_blobs: bool,
}

/// Where clients come in.
pub(crate) struct Door {
    pub(crate) endpoint: Endpoint,
    pub(crate) tls: bool,
}

impl Door {
    pub(crate) fn connect(&self) -> Box<dyn Socket> {
        let url = self.endpoint.to_string();
        if self.tls {
            tls::connect(&url, &Certificates::shared().client)
        } else {
            server::connect(&url)
        }
    }
}

impl Bench {
    pub(crate) fn start(setup: &Setup) -> Self {
        Self::start_with(setup, &[])
    }

    /// `more`: arguments beyond listeners and the storage.
    pub(crate) fn start_with(setup: &Setup, more: &[&str]) -> Self {
        let mut bench = Self::idle(setup);
        bench.launch(more);
        bench
    }

    /// With a blob directory.
    pub(crate) fn start_with_blobs(setup: &Setup) -> Self {
        Self::start_with_blobs_and(setup, &[])
    }

    fn start_with_blobs_and(setup: &Setup, more: &[&str]) -> Self {
        let mut bench = Self::idle(setup);
        bench.has_blobs = true;
        bench.launch(more);
        bench
    }

    /// With a blob directory, for others to follow.
    pub(crate) fn start_primary(setup: &Setup) -> Self {
        Self::start_with_blobs_and(setup, &["--replicate-to=repl://127.0.0.1:0"])
    }

    /// The same, and follows this one.
    pub(crate) fn start_secondary(&self, setup: &Setup) -> Self {
        let url = self.followed_at.as_ref().expect("it was started for that");
        let from = format!("--replicate-from={url}");
        let mut more = vec!["--replicate-to=repl://127.0.0.1:0", &from];
        if setup.socket == SocketKind::Tls {
            more.push("--replicate-ca=authority.pem");
        }
        Self::start_with_blobs_and(setup, &more)
    }

    fn idle(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (doors, followed_at) = (Vec::new(), None);
        Self { setup: *setup, server: None, doors, followed_at, directory, has_blobs: false }
    }

    /// A connection that has chosen the storage, in the dialect under test.
    pub(crate) fn peer(&self) -> Peer {
        Peer::registered(self.endpoint(), false)
    }

    /// Two connections.
    pub(crate) fn peers(&self) -> (Peer, Peer) {
        (self.peer(), self.peer())
    }

    pub(crate) fn endpoint(&self) -> &Door {
        self.endpoint_of(self.setup.dialect)
    }

    pub(crate) fn endpoint_of(&self, dialect: Dialect) -> &Door {
        let is_wanted = |door: &&Door| door.endpoint.dialect == dialect;
        self.doors.iter().find(is_wanted).expect("there is a listener for each")
    }

    /// Ends the server in order and starts another one on its storage.
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    pub(crate) fn restart_with(&mut self, more: &[&str]) {
        self.end();
        self.launch(more);
    }

    /// Kills the server and starts another one on its storage.
    pub(crate) fn crash(&mut self) {
        self.server.take().expect("it runs").kill();
        self.launch(&[]);
    }

    /// Ends the server in order. Gives its log.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.end()
    }

    /// Where the server runs.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The storage's directory, if it has one.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The blob directory.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.directory.path().join("blobs")
    }

    pub(crate) fn server(&self) -> &ServerProcess {
        self.server.as_ref().expect("it runs")
    }

    /// Runs another process of the same program to its end.
    pub(crate) fn run(&self, arguments: &[String]) -> Output {
        server::run(self.setup.program, arguments, self.directory.path())
    }

    fn launch(&mut self, more: &[&str]) {
        let mut arguments: Vec<String> =
            Dialect::ALL.iter().map(|dialect| self.listener(*dialect)).collect();
        let blobs = if self.has_blobs { "?blobs=blobs" } else { "" };
        let file = || format!("--storage=1=file:{}{blobs}", self.data().display());
        match self.setup.storage {
            StorageKind::File => arguments.push(file()),
            // Without a cache, so that all is read there.
            StorageKind::Mapped => {
                arguments.extend([file(), "--reads=mapped".to_owned(), "--cache=0".to_owned()]);
            }
            StorageKind::Memory => arguments.push(format!("--storage=1=memory:{blobs}")),
        }
        let tls = self.setup.socket == SocketKind::Tls;
        if tls {
            arguments.extend(Certificates::shared().write(self.directory.path()));
        }
        arguments.extend(more.iter().map(ToString::to_string));
        let server = ServerProcess::start(self.setup.program, &arguments, self.directory.path());
        let parsed = |url: &String| url.parse().expect("the server prints URLs");
        let parsed = |url| Door { endpoint: parsed(url), tls };
        let of_peers = |url: &&String| url.starts_with("repl://");
        self.followed_at = server.urls().iter().find(of_peers).cloned();
        let of_clients = server.urls().iter().filter(|url| !of_peers(url));
        self.doors = of_clients.map(parsed).collect();
        self.server = Some(server);
    }

    fn listener(&self, dialect: Dialect) -> String {
        let address = match self.setup.socket {
            SocketKind::Tcp | SocketKind::Tls => {
                Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 }
            }
            SocketKind::Unix => Address::Unix(self.directory.path().join(dialect.name())),
        };
        format!("--listen={}", Endpoint { dialect, address })
    }

    fn end(&mut self) -> Vec<String> {
        let log = self.server.take().expect("it runs").stop();
        assert!(!log.iter().any(|line| line.contains("panicked")), "the server panicked: {log:?}");
        log
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        match &self.server {
            Some(server) if thread::panicking() => {
                eprintln!("the server's log:\n{}", server.log().join("\n"));
            }
            Some(_) => _ = self.end(),
            None => {}
        }
    }
}
