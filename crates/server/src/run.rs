//! From the command line to the exit code: what `main` of every server binary does.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use codecs::Endpoint;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use session::Host;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;
use tracing::{info, warn};

use crate::clock;
use crate::config::System;
use crate::listen::{self, Bound, Listener, Terms};
use crate::logging::Log;
use crate::metrics;
use crate::options::Options;
use crate::options::gather::{self, Gathered};
use crate::pid_file::{self, PidFile};
use crate::replication::{self, Replication};
use crate::shared::{Phase, Server};
use crate::storages;
use crate::tls;

/// What makes one server binary different from another.
pub trait Runtime {
    /// The binary's name.
    const NAME: &'static str;

    /// Accepts from all listeners and drives the connections, while [`Lifetime::wait`] blocks.
    /// Returns when that has returned and no connection is left.
    fn serve(setup: Setup) -> anyhow::Result<()>;
}

/// What a runtime gets to work with.
#[derive(Debug)]
pub struct Setup {
    /// Shared by all connections.
    pub server: Arc<Server>,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// `--threads`.
    pub threads: Option<usize>,
    /// How long to serve.
    pub lifetime: Lifetime,
}

/// The time from readiness to the end.
#[derive(Debug)]
pub struct Lifetime {
    server: Arc<Server>,
    urls: Vec<Endpoint>,
    /// Where monitoring asks.
    metrics: Option<String>,
    /// Where secondaries come in.
    replication: Option<String>,
    signals: Signals,
    log: Log,
    /// Set when the end was asked for by SIGHUP.
    hung_up: Arc<AtomicBool>,
    /// Set with the first signal; the next one then ends the process.
    impatient: Arc<AtomicBool>,
}

/// Runs a server as its command line says.
pub fn run<R: Runtime>() -> ExitCode {
    let Gathered { options, notices } = match parse(R::NAME) {
        Ok(gathered) => gathered,
        Err(exit) => return exit,
    };
    let started = Log::open(&options).and_then(|log| start(R::NAME, &options, log));
    let Started { setup, files, pid_file, replication } = match started {
        Ok(started) => started,
        Err(error) => {
            complain(R::NAME, &error);
            return ExitCode::from(USAGE);
        }
    };
    for notice in notices {
        if notice.is_warning {
            warn!("{}: {}", notice.at, notice.what);
        } else {
            info!("{}: {}", notice.at, notice.what);
        }
    }
    let hung_up = Arc::clone(&setup.lifetime.hung_up);
    let server = Arc::clone(&setup.server);
    let served = R::serve(setup);
    replication.stop();
    storages::close(server.host.storages.values().map(|hosted| &hosted.storage));
    drop((files, pid_file));
    match served {
        Ok(()) => {
            info!("stopped");
            // zdaemon starts a server again that ends like this; ZEO's does.
            if hung_up.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            complain(R::NAME, &error);
            ExitCode::FAILURE
        }
    }
}

fn parse(name: &'static str) -> Result<Gathered, ExitCode> {
    gather::gather(name, std::env::args_os().collect(), &System).map_err(|error| {
        if let Some(help) = error.downcast_ref::<clap::Error>() {
            // Help and version; a closed standard output is no reason to complain.
            let _printed = help.print();
            return ExitCode::SUCCESS;
        }
        complain(name, &error);
        ExitCode::from(USAGE)
    })
}

/// The one line that a user gets when a server cannot start.
fn complain(name: &str, error: &anyhow::Error) {
    let mut line = name.to_owned();
    for cause in error.chain() {
        let cause = cause.to_string().replace('\n', " ");
        // Some errors tell their cause themselves.
        if !line.ends_with(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    eprintln!("{line}");
}

struct Started {
    setup: Setup,
    /// Dropped last, to remove the socket files.
    files: Vec<listen::SocketFile>,
    /// Dropped with them.
    pid_file: Option<PidFile>,
    replication: Replication,
}

/// Everything that can fail, in an order that leaves no trace when it does: look, bind, open
/// (which also looks first).
fn start(name: &'static str, options: &Options, log: Log) -> anyhow::Result<Started> {
    storages::check(options)?;
    options.pid_file.as_deref().map_or(Ok(()), pid_file::check)?;
    let terms = Terms { tls: tls::load(&options.tls)?, unix_mode: options.unix_mode };
    let bound = listen::bind_all(&options.listen, &terms)?;
    let metrics = options.metrics.as_deref().map(metrics::bind).transpose()?;
    let replication = replication::prepare(options, terms.tls.as_ref())?;
    let impatient = Arc::new(AtomicBool::new(false));
    let signals = handle_signals(&impatient).context("cannot handle signals")?;
    raise_descriptor_limit();
    let storages = storages::open(options)?;
    let replication_url = replication.url();
    let replication = replication::start(replication, options, &storages)?;
    for (name, hosted) in &storages {
        info!(name, storage = hosted.storage.name(), "opened");
    }
    let host = Host { storages, read_only: options.read_only, started: clock::now() };
    let connections_max = options.max_connections.unwrap_or(u32::MAX) as usize;
    let server = Server::new(host, options.limits(), options.max_outgoing, connections_max);
    let mut lifetime = Lifetime {
        server: Arc::clone(&server),
        urls: Vec::new(),
        metrics: metrics.as_ref().map(metrics::Bound::url),
        replication: replication_url,
        signals,
        log,
        hung_up: Arc::default(),
        impatient,
    };
    let (mut listeners, mut files) = (Vec::new(), Vec::new());
    for Bound { listener, url, file } in bound {
        lifetime.urls.push(url);
        listeners.push(listener);
        files.extend(file);
    }
    watch_greetings(&server).context("cannot start a thread")?;
    if let Some(metrics) = metrics {
        metrics.serve(&server, name, &lifetime.urls, replication.reporter())?;
    }
    let threads = options.threads.map(usize::from);
    let pid_file = options.pid_file.as_deref().and_then(PidFile::write);
    let setup = Setup { server, listeners, threads, lifetime };
    Ok(Started { setup, files, pid_file, replication })
}

/// Ends, as long as the process lives, connections that do not answer the greeting.
fn watch_greetings(server: &Arc<Server>) -> io::Result<()> {
    let server = Arc::clone(server);
    let watch = move || {
        loop {
            thread::sleep(GREETINGS_INTERVAL);
            server.end_unanswered(Instant::now());
        }
    };
    thread::Builder::new().name("greetings".to_owned()).spawn(watch).map(drop)
}

fn handle_signals(impatient: &Arc<AtomicBool>) -> io::Result<Signals> {
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(impatient))?;
    }
    // Past a file size limit, writes should fail and not end the server.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])
}

/// Each connection and each segment file of a storage is a descriptor, and the usual soft limit of
/// 1024 is for programs that use `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!("cannot raise the limit of open files: {error}");
    }
}

impl Lifetime {
    /// Tells that the server is ready, and waits until a signal asks to stop. Then calls
    /// `stop_accepting`, and returns when no connection is left or patience ends.
    pub fn wait(mut self, stop_accepting: impl FnOnce()) {
        self.announce();
        let signal = self.signals.forever().find(|signal| match *signal {
            SIGUSR2 => {
                self.log.reopen();
                false
            }
            _ => true,
        });
        self.hung_up.store(signal == Some(SIGHUP), Ordering::Relaxed);
        self.impatient.store(true, Ordering::Relaxed);
        self.server.enter(Phase::Stopping);
        // Not before: who reads it may ask at once how the server is.
        info!(signal, "stopping");
        stop_accepting();
        let left = self.server.wait_until_empty(FINISH_PATIENCE);
        if left == 0 {
            return;
        }
        warn!(connections = left, "closing connections that did not finish in time");
        self.server.enter(Phase::Stopped);
        let left = self.server.wait_until_empty(CLOSE_PATIENCE);
        if left > 0 {
            warn!(connections = left, "connections that do not end are left behind");
        }
    }

    fn announce(&self) {
        let mut lines: String = self.urls.iter().map(|url| format!("listening {url}\n")).collect();
        let others = self.metrics.iter().chain(&self.replication);
        lines.extend(others.map(|url| format!("listening {url}\n")));
        lines.push_str("ready\n");
        let mut stdout = io::stdout().lock();
        // Whoever started the server may have gone; its clients have not.
        if let Err(error) = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
            warn!("cannot tell on standard output what is ready: {error}");
        }
    }
}

/// Exit code for a wrong command line or what it names.
const USAGE: u8 = 2;

/// How often to look for connections that do not answer the greeting.
const GREETINGS_INTERVAL: Duration = Duration::from_secs(10);

/// How long connections may take to finish what was asked of them.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

/// How long connections may take to end when they must.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
