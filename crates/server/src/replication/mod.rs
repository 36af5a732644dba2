//! Replication's threads and sockets: those who follow our storages, and whom our storages follow.
//!
//! What is said and decided is in the crate `replication`, whose machines have no I/O. Here each link
//! has one thread, which moves the bytes and asks the storage. Links are few and long, so they are
//! alike in all servers, whatever runtime drives the clients.

mod channel;
mod figures;
mod following;
mod following_zrs;
mod node;
mod peer;
mod serving;
mod sync;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, bail};
use rustls::ServerConfig;
use session::Hosted;
use tracing::warn;

use crate::options::Options;
use channel::Bell;
use node::Node;
use serving::Door;

pub(crate) use figures::Report;
use peer::Source;
pub(crate) use peer::{Peer, Upstream};

/// Whether it ends, and who has to hear of it.
#[derive(Debug, Default)]
struct Stop {
    is_stopping: AtomicBool,
    bells: std::sync::Mutex<Vec<Arc<Bell>>>,
}

impl Stop {
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Has `bell` rung at the end.
    fn tell(&self, bell: &Arc<Bell>) {
        let mut bells = self.bells.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Those of links that have ended are nobody's.
        bells.retain(|bell| Arc::strong_count(bell) > 1);
        bells.push(Arc::clone(bell));
        drop(bells);
        if self.is_stopping() {
            bell.ring();
        }
    }

    fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let bells = self.bells.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        bells.iter().for_each(|bell| bell.ring());
    }
}

/// What was asked for and can be had; nothing is replicated yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    door: Option<Door>,
    upstream: Option<From>,
}

/// Whom the storages follow.
#[derive(Clone, Debug)]
enum From {
    Ours(Source),
    Zrs(Peer, zrs::Version),
}

/// Opens the listener for secondaries, if there is to be one, and reads what `options` name; they are
/// met with `tls`, as clients are.
pub(crate) fn prepare(
    options: &Options,
    tls: Option<&Arc<ServerConfig>>,
) -> anyhow::Result<Prepared> {
    let open = |peer| Door::open(peer, tls.cloned());
    let door = options.replicate_to.as_ref().map(open).transpose()?;
    let upstream = match options.replicate_from.clone() {
        None => None,
        Some(Upstream::Ours(peer)) => Some(From::Ours(Source::load(peer, options)?)),
        Some(Upstream::Zrs(peer, version)) => Some(From::Zrs(peer, version)),
    };
    Ok(Prepared { door, upstream })
}

impl Prepared {
    /// The listener, with its real port.
    pub(crate) fn url(&self) -> Option<String> {
        self.door.as_ref().map(|door| door.url.to_string())
    }
}

/// The storages that replicate, by name.
type Nodes = BTreeMap<String, Arc<Node>>;

/// Tells how replication is, at any time.
#[derive(Clone, Debug)]
pub(crate) struct Reporter(Arc<Nodes>);

impl Reporter {
    /// Of each storage that replicates.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let nodes = self.0.values();
        nodes.map(|node| node.figures().report(&node.name, node.position().tid)).collect()
    }
}

/// All that replicates in this server, until it is stopped.
#[derive(Debug)]
pub(crate) struct Replication {
    nodes: Arc<Nodes>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

/// Gives each storage its role, and starts to replicate.
pub(crate) fn start(
    prepared: Prepared,
    options: &Options,
    storages: &BTreeMap<String, Arc<Hosted>>,
) -> anyhow::Result<Replication> {
    let Prepared { door, upstream } = prepared;
    let stop = Arc::new(Stop::default());
    let follows = upstream.is_some();
    let mut nodes = BTreeMap::new();
    for (name, hosted) in storages {
        let node = Node::open(name, &hosted.storage, follows, options);
        let node = node.with_context(|| format!("cannot replicate storage '{name}'"))?;
        nodes.extend(node.map(|node| (name.clone(), Arc::new(node))));
    }
    nodes.values().for_each(|node: &Arc<Node>| node.introduce(follows));
    let nodes = Arc::new(nodes);
    let mut threads = Vec::new();
    if let Some(upstream) = upstream {
        for node in nodes.values() {
            let (node, upstream, stop) = (Arc::clone(node), upstream.clone(), Arc::clone(&stop));
            let (bytes_max, blobs) = (options.max_message, options.replicate_blobs);
            let follow = move || match upstream {
                From::Ours(source) => following::run(&node, &source, (bytes_max, blobs), &stop),
                From::Zrs(peer, version) => {
                    following_zrs::run(&node, &peer, version, bytes_max, &stop);
                }
            };
            threads.push(spawn("follow", follow)?);
        }
    }
    if let Some(door) = door {
        let stop = Arc::clone(&stop);
        let nodes = Arc::clone(&nodes);
        threads.push(spawn("replicate", move || door.serve(&nodes, &stop))?);
    }
    Ok(Replication { nodes, stop, threads })
}

impl Replication {
    pub(crate) fn reporter(&self) -> Reporter {
        Reporter(Arc::clone(&self.nodes))
    }

    /// Ends all links, and waits for that.
    pub(crate) fn stop(self) {
        for gate in self.nodes.values().filter_map(|node| node.gate.as_ref()) {
            gate.end("the server stops");
        }
        self.stop.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                warn!("a thread of replication has panicked");
            }
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// What both ends say of this server.
fn software() -> String {
    concat!("zeoxide ", env!("CARGO_PKG_VERSION")).to_owned()
}

/// Names this server and a storage of it among all others.
fn node_name(storage: &str) -> String {
    let host = host_name();
    format!("{host} {storage}")
}

/// This machine's, for people.
fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "localhost".to_owned() } else { host.to_owned() }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        bail!("the system gives no random numbers: {error}");
    }
    Ok(bytes)
}
