//! The command line, the same for every server binary. Its contract is part 7 of the design.
//!
//! `gather` joins it with a configuration file and the environment.

mod address;
pub(crate) mod gather;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, ValueEnum, value_parser};
use codecs::Endpoint;
use storage::{CommitLocks, Reads, Sync};
use tracing::level_filters::LevelFilter;

use crate::replication::{Peer, Upstream};
use crate::storages::Named;
use address::ZeoAddress;
use values::{bytes, cache_bytes, level, message_bytes, mode, seconds, switch};

/// What a user asked for. Parsing checks every value, and touches nothing.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    about = "Stores and serves ZODB databases: a server that replaces ZEO",
    after_help = EXAMPLES,
    max_term_width = 100,
    arg_required_else_help = false
)]
pub struct Options {
    /// Take options from this file: ZEO's zeo.conf, or TOML with a key for each option. Options of
    /// the command line come before those of the file
    #[arg(
        long,
        short = 'C',
        visible_alias = "configure",
        value_name = "FILE",
        help_heading = "What is served"
    )]
    pub config: Option<PathBuf>,

    /// Accept clients here (repeatable). zeo://HOST:PORT speaks ZEO's pickle encoding,
    /// zeo+msgpack://HOST:PORT its MessagePack encoding, proto://HOST:PORT the protobuf protocol.
    /// zeo+unix:///PATH, zeo+msgpack+unix:///PATH and proto+unix:///PATH are unix sockets. Port 0
    /// picks a free port
    #[arg(
        long,
        value_name = "URL",
        default_values = ["zeo://127.0.0.1:8100", "proto://127.0.0.1:8101"],
        help_heading = "What is served"
    )]
    pub listen: Vec<Endpoint>,

    /// Accept ZEO's clients here, as runzeo does: HOST:PORT, PORT (on all interfaces, of IPv4), or
    /// the path of a unix socket, which has a '/' in it
    #[arg(long, short, value_name = "ADDRESS", help_heading = "What is served")]
    pub(crate) address: Option<ZeoAddress>,

    /// At --address, speak ZEO's MessagePack encoding in place of pickle [env: ZEO_MSGPACK]
    #[arg(
        long,
        value_name = "BOOL",
        value_parser = switch,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        action = ArgAction::Set,
        help_heading = "What is served"
    )]
    pub msgpack: bool,

    /// Serve this storage under this name (repeatable). file:DIR keeps the data in a directory,
    /// which is created; memory: forgets them at exit. Either may be followed by ?blobs=DIR, a
    /// directory for blobs in the layout that ZODB calls bushy, which clients may share; it is
    /// created, too. Without it, blobs are refused
    #[arg(
        long,
        value_name = "NAME=URL",
        default_value = "1=file:zeoxide-data",
        help_heading = "What is served"
    )]
    pub storage: Vec<Named>,

    /// Serve a storage under the name 1 (repeatable; the next one is 2), as runzeo does. The data
    /// are kept beside FILE, in the directory FILE.zeoxide: FILE itself is not opened
    #[arg(long, short, value_name = "FILE", help_heading = "What is served")]
    pub filename: Vec<PathBuf>,

    /// Permission bits of unix sockets, in octal; the process's umask decides unless given
    #[arg(
        long,
        value_name = "MODE",
        value_parser = mode,
        help_heading = "What is served"
    )]
    pub unix_mode: Option<u32>,

    /// Encryption.
    #[command(flatten)]
    pub tls: Tls,

    /// Let secondaries follow the storages here: servers that were given --replicate-from with this
    /// address. Port 0 picks a free port
    #[arg(long, value_name = "repl://HOST:PORT", help_heading = "Replication")]
    pub(crate) replicate_to: Option<Peer>,

    /// Be a secondary: follow the storages of the same names there, and serve them read-only.
    /// zrs://HOST:PORT follows a primary of zc.zrs (zrs2.0://HOST:PORT an old one, without blobs),
    /// which has one storage
    #[arg(long, value_name = "repl://HOST:PORT", help_heading = "Replication")]
    pub(crate) replicate_from: Option<Upstream>,

    /// Answer a commit when so many secondaries have synced it, too. Nobody sees it before
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "replicate_to",
        value_parser = value_parser!(u8),
        help_heading = "Replication"
    )]
    pub sync_replicas: u8,

    /// When a commit has waited for --sync-replicas for so long, answer commits without them until
    /// they have caught up; commits wait for ever unless given
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "sync_replicas",
        value_parser = seconds,
        help_heading = "Replication"
    )]
    pub sync_replicas_timeout: Option<u32>,

    /// Follow over TLS: the certificate of who is followed must be for the host of --replicate-from
    /// and signed by an authority in this PEM file. This server shows the one of --tls-cert
    #[arg(long, value_name = "FILE", requires = "replicate_from", help_heading = "Replication")]
    pub replicate_ca: Option<PathBuf>,

    /// As a secondary, take blobs, too; otherwise records that have some come without them
    #[arg(
        long,
        value_name = "BOOL",
        value_parser = switch,
        default_value = "true",
        action = ArgAction::Set,
        help_heading = "Replication"
    )]
    pub replicate_blobs: bool,

    /// Let no client write [env: ZEO_READ_ONLY]
    #[arg(
        long,
        value_name = "BOOL",
        value_parser = switch,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        action = ArgAction::Set,
        help_heading = "What is served"
    )]
    pub read_only: bool,

    /// How many of the last transactions a returning client can catch up with
    /// [env: ZEO_INVALIDATION_QUEUE_SIZE]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = value_parser!(u32).range(0..=1_000_000),
        help_heading = "Commits"
    )]
    pub invalidation_queue_size: u32,

    /// Let a returning client that was away for less than this catch up, too, by looking through
    /// the storage
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Commits")]
    pub invalidation_age: Option<u32>,

    /// Close a connection whose transaction holds its locks for longer than this, which aborts it;
    /// no limit unless given
    #[arg(
        long,
        short = 't',
        visible_alias = "timeout",
        value_name = "SECONDS",
        value_parser = seconds,
        help_heading = "Commits"
    )]
    pub transaction_timeout: Option<u32>,

    /// What a vote locks: the objects it names, or everything as ZEO does
    #[arg(long, value_name = "WHAT", default_value = "oid", help_heading = "Commits")]
    pub commit_locks: Locks,

    /// What a commit waits for: stable storage, with one sync for all commits that wait at the
    /// same time (commit) or one for each (each), or nothing (none: a power cut can then lose it)
    #[arg(long, value_name = "WHEN", default_value = "commit", help_heading = "Commits")]
    pub sync: When,

    /// How segment files are read: by pread, which never makes other clients wait for a device, or
    /// through mappings (mapped), which need no system call. With mappings, a record that is not in
    /// the page cache stops all clients of its thread until the device answers, and the server ends
    /// (SIGBUS) if somebody cuts a segment file under it or the device cannot read
    #[arg(long, value_name = "HOW", default_value = "pread", help_heading = "Limits")]
    pub reads: How,

    /// Worker threads; as many as there are CPUs unless given. Without effect on a server that
    /// has its own threads for each connection
    #[arg(
        long,
        value_name = "N",
        value_parser = value_parser!(u16).range(1..=1024),
        help_heading = "Limits"
    )]
    pub threads: Option<u16>,

    /// Keep records that were read lately in so much memory, per storage, so that reading them
    /// again needs no system call. 0 leaves all to the operating system's page cache
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "64M",
        value_parser = cache_bytes,
        help_heading = "Limits"
    )]
    pub cache: usize,

    /// Close a connection that announces a longer message. BYTES may end in K, M or G
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "256M",
        value_parser = message_bytes,
        help_heading = "Limits"
    )]
    pub max_message: usize,

    /// Close a connection whose client reads so slowly that more than this waits for it, besides
    /// the answers that it asked for
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "64M",
        value_parser = bytes,
        help_heading = "Limits"
    )]
    pub max_outgoing: usize,

    /// Serve at most this many connections at a time, and close others at once; no limit but the
    /// system's unless given
    #[arg(
        long,
        value_name = "N",
        value_parser = value_parser!(u32).range(1..),
        help_heading = "Limits"
    )]
    pub max_connections: Option<u32>,

    /// For tests of clients: answer every load so much later than it was read
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, hide = true)]
    pub load_delay: u32,

    /// Tell counters and latencies at http://HOST:PORT/metrics, in the format of Prometheus, and at
    /// /healthz whether the server serves
    #[arg(long, value_name = "HOST:PORT", help_heading = "Log and metrics")]
    pub metrics: Option<String>,

    /// Log to this file, which is opened again on SIGUSR2; STDOUT is standard output, and STDERR
    /// standard error, which gets the log unless this is given
    #[arg(long, value_name = "FILE", help_heading = "Log and metrics")]
    pub log_file: Option<PathBuf>,

    /// Write the process's number to this file when all is ready, and remove it at the end
    #[arg(long, value_name = "FILE", help_heading = "Log and metrics")]
    pub pid_file: Option<PathBuf>,

    /// What is logged: off, error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        value_parser = level,
        help_heading = "Log and metrics"
    )]
    pub log: LevelFilter,
}

/// How connections are encrypted, and who may connect.
#[derive(Clone, Debug, Default, Args)]
pub struct Tls {
    /// Speak TLS on all listeners but unix sockets, with the certificate chain of this PEM file
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM; it is looked for in the certificate's file unless
    /// given
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    pub tls_key: Option<PathBuf>,

    /// The first line of this file is the private key's password
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    pub tls_key_password_file: Option<PathBuf>,

    /// Accept only clients with a certificate that one of these authorities signed, or that is
    /// here itself: a PEM file, or a directory of them
    #[arg(long, value_name = "PATH", requires = "tls_cert", help_heading = "TLS")]
    pub tls_client_ca: Option<PathBuf>,
}

/// Values of `--commit-locks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Locks {
    /// The objects that a transaction names.
    Oid,
    /// Everything.
    Global,
}

/// Values of `--sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// A commit is on stable storage before it is answered.
    Commit,
    /// Likewise, and shares its sync with no other.
    Each,
    /// The operating system writes when it likes.
    None,
}

/// Values of `--reads`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// By a system call.
    Pread,
    /// Through mappings.
    Mapped,
}

impl Options {
    /// The part that storages need.
    pub(crate) fn storage_options(&self) -> storage::Options {
        storage::Options {
            sync: match self.sync {
                When::Commit => Sync::Commit,
                When::Each => Sync::Each,
                When::None => Sync::None,
            },
            commit_locks: match self.commit_locks {
                Locks::Oid => CommitLocks::Oid,
                Locks::Global => CommitLocks::Global,
            },
            invalidation_queue_size: self.invalidation_queue_size as usize,
            invalidation_age: self.invalidation_age,
            reads: match self.reads {
                How::Pread => Reads::Pread,
                How::Mapped => Reads::Mapped,
            },
            cache_bytes: self.cache,
            transaction_timeout: self
                .transaction_timeout
                .map(|seconds| Duration::from_secs(seconds.into())),
            load_delay: Duration::from_millis(self.load_delay.into()),
            ..storage::Options::default()
        }
    }

    /// The part that codecs need.
    pub(crate) fn limits(&self) -> protocol::Limits {
        protocol::Limits { message_bytes: self.max_message, ..protocol::Limits::default() }
    }

    /// The directories that storages will use, to find two names for one.
    pub(crate) fn directories(&self) -> impl Iterator<Item = (&Named, PathBuf)> {
        self.storage.iter().flat_map(|named| named.directories().map(move |path| (named, path)))
    }
}

const EXAMPLES: &str = "\
Each listener that is open is told on standard output as `listening URL`, then `ready`. SIGTERM
and SIGINT stop the server in order; a second one stops it at once. SIGHUP does the same with
exit status 1, and SIGUSR2 opens the log file again.

Examples:
  Everything by default: the data in ./zeoxide-data, ZEO clients at port 8100
      --listen zeo://127.0.0.1:8100 --storage 1=file:zeoxide-data
  With blobs, in a directory that ZODB or clients on this machine may use as well
      --storage '1=file:data?blobs=blobs'
  A second storage, for clients on this machine only
      --listen zeo+unix:///run/zeoxide.sock --storage 1=file:/srv/main --storage log=file:/srv/log
  What runzeo served
      -C zeo.conf";

#[cfg(test)]
mod tests;
