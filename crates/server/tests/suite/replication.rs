//! Servers that follow one another.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use protocol::{Failure, Loaded, Oid, Reply, Request, Tid};
use tempfile::TempDir;
use testkit::server::ServerProcess;
use testkit::tls::{self, Certificates};

use super::metrics::Metrics;
use super::start::refusal;
use super::zeo::{Client, TRANSACTION};
use super::{ANYWHERE, IN_MEMORY, serve_in};

const FILE: &str = "--storage=1=file:data";
const METRICS: &str = "--metrics=127.0.0.1:0";

/// A server with its directory, which others can follow at any port.
struct Node {
    server: ServerProcess,
    directory: TempDir,
}

impl Node {
    /// Of a new directory.
    fn new(from: Option<&Self>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = start(directory.path(), from);
        Self { server, directory }
    }

    /// Again, after its end.
    fn restarted(self, from: Option<&Self>) -> Self {
        self.server.stop();
        Self { server: start(self.directory.path(), from), ..self }
    }

    /// Where it is followed.
    fn url(&self) -> &str {
        self.server.urls().iter().find(|url| url.starts_with("repl://")).unwrap()
    }

    /// A reader that knows all up to `tid`, and is told of the rest.
    fn reader(&self, tid: Tid) -> Client {
        let connect = || Client::try_register(self.server.connect(0), "1", true);
        let (mut client, mut last) = connect().unwrap();
        while last < tid {
            last = client.invalidation().0;
        }
        client
    }
}

fn start(directory: &Path, from: Option<&Node>) -> ServerProcess {
    let from = from.map(|node| format!("--replicate-from={}", node.url()));
    let mut arguments = vec![ANYWHERE, FILE, "--replicate-to=repl://127.0.0.1:0", METRICS];
    arguments.extend(from.as_deref());
    serve_in(directory, &arguments)
}

fn load(client: &mut Client, oid: u64) -> (Tid, Vec<u8>) {
    match client.ask(&Request::LoadBefore { oid: Oid(oid), before: Tid::MAX }) {
        Reply::Loaded(Some(Loaded { data, tid, end: None })) => (tid, data.to_vec()),
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn a_chain_of_secondaries_has_what_was_committed_and_tells_its_readers() {
    let primary = Node::new(None);
    let mut writer = Client::register(primary.server.connect(0), "1");
    let mut tid = writer.commit(1, Tid::ZERO, b"before");
    let first = Node::new(Some(&primary));
    let second = Node::new(Some(&first));
    let mut readers = [first.reader(tid), second.reader(tid)];
    for number in 0..20_u64 {
        tid = writer.commit(1, tid, &number.to_be_bytes());
        let created = writer.commit(2 + number, Tid::ZERO, &vec![7; 3000]);
        for reader in &mut readers {
            assert_eq!(reader.invalidation(), (tid, vec![Oid(1)]));
            assert_eq!(reader.invalidation(), (created, vec![Oid(2 + number)]));
            assert_eq!(load(reader, 1), (tid, number.to_be_bytes().to_vec()));
            assert_eq!(load(reader, 2 + number), (created, vec![7; 3000]));
        }
    }
    for node in [&first, &second] {
        let refused = Client::try_register(node.server.connect(0), "1", false);
        assert_eq!(refused.err(), Some(Failure::ReadOnly));
    }
    for node in [second, first, primary] {
        node.server.stop();
    }
}

#[test]
fn a_secondary_that_was_away_goes_on_where_it_was_and_one_whose_primary_was_waits_for_it() {
    let primary = Node::new(None);
    let mut writer = Client::register(primary.server.connect(0), "1");
    let first = writer.commit(1, Tid::ZERO, b"first");
    let secondary = Node::new(Some(&primary));
    drop(secondary.reader(first));
    let directory = secondary.directory;
    secondary.server.kill();
    let second = writer.commit(1, first, b"second");
    let server = start(directory.path(), Some(&primary));
    server.wait_for_log(&format!("after {first}"));
    let secondary = Node { server, directory };
    drop(secondary.reader(second));

    let (url, place) = (primary.url().to_owned(), primary.directory);
    primary.server.kill();
    secondary.server.wait_for_log("is lost");
    let again = format!("--replicate-to={url}");
    let server = serve_in(place.path(), &[ANYWHERE, FILE, &again]);
    let mut writer = Client::register(server.connect(0), "1");
    let third = writer.commit(1, second, b"third");
    assert_eq!(load(&mut secondary.reader(third), 1), (third, b"third".to_vec()));
    server.stop();
    secondary.server.stop();
}

/// A copy of a primary's directory is that primary, until somebody says otherwise.
#[test]
fn a_primary_follows_nobody() {
    let primary = Node::new(None);
    let other = Node::new(None);
    let (from, directory) = (format!("--replicate-from={}", primary.url()), other.directory);
    other.server.stop();
    let line = refusal(directory.path(), &[FILE, &from]);
    assert!(line.contains("cannot replicate storage '1': it is the primary of epoch 1."), "{line}");
    primary.server.stop();
}

/// What was committed without replication is no beginning of another history.
#[test]
fn a_storage_with_a_history_of_its_own_is_not_overwritten() {
    let primary = Node::new(None);
    Client::register(primary.server.connect(0), "1").commit(1, Tid::ZERO, b"theirs");
    let directory = tempfile::tempdir().unwrap();
    let alone = serve_in(directory.path(), &[ANYWHERE, FILE]);
    let own = Client::register(alone.connect(0), "1").commit(1, Tid::ZERO, b"ours");
    alone.stop();
    let from = format!("--replicate-from={}", primary.url());
    let server = serve_in(directory.path(), &[ANYWHERE, FILE, &from]);
    server.wait_for_log("does not follow");
    let node = Node { server, directory };
    assert_eq!(load(&mut node.reader(own), 1), (own, b"ours".to_vec()));
    node.server.stop();
    primary.server.stop();
}

/// It stays what it was when it is started without its primary, and goes on with it later.
#[test]
fn a_secondary_alone_takes_no_writes() {
    let primary = Node::new(None);
    let tid = Client::register(primary.server.connect(0), "1").commit(1, Tid::ZERO, b"data");
    let secondary = Node::new(Some(&primary));
    drop(secondary.reader(tid));
    let secondary = secondary.restarted(None);
    let refused = Client::try_register(secondary.server.connect(0), "1", false);
    assert_eq!(refused.err(), Some(Failure::ReadOnly));
    let next = Client::register(primary.server.connect(0), "1").commit(2, Tid::ZERO, b"more");
    let secondary = secondary.restarted(Some(&primary));
    drop(secondary.reader(next));
}

/// Links are encrypted as clients' connections are, and wait for nobody's certificate in vain.
#[test]
fn secondaries_show_certificates_where_clients_must() {
    let certificates = Certificates::shared();
    let directory = tempfile::tempdir().unwrap();
    let files = certificates.write(directory.path());
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.extend([ANYWHERE, IN_MEMORY]);
    let door = "--replicate-to=repl://127.0.0.1:0";
    let primary = serve_in(directory.path(), &[&arguments[..], &[door]].concat());
    let writer = tls::connect(&primary.urls()[0], &certificates.client);
    let mut writer = Client::register(writer, "1");
    // More than a socket takes at once.
    let tid = writer.commit(1, Tid::ZERO, &vec![7; 9 << 20]);
    let from = primary.urls().iter().find(|url| url.starts_with("repl://")).unwrap();
    let from = format!("--replicate-from={from}");

    let trusting = [from.as_str(), "--replicate-ca=authority.pem"];
    let secondary = serve_in(directory.path(), &[&arguments[..], &trusting].concat());
    let connect = || tls::connect(&secondary.urls()[0], &certificates.client);
    let (mut reader, mut last) = Client::try_register(connect(), "1", true).unwrap();
    while last < tid {
        last = reader.invalidation().0;
    }
    assert_eq!(load(&mut reader, 1), (tid, vec![7; 9 << 20]));

    let stranger = serve_in(directory.path(), &[&[ANYWHERE, IN_MEMORY], &trusting[..]].concat());
    stranger.wait_for_log("CertificateRequired");
    let unencrypted = serve_in(directory.path(), &[ANYWHERE, IN_MEMORY, &from]);
    unencrypted.wait_for_log("is lost");
    for server in [&stranger, &unencrypted] {
        let (_, last) = Client::try_register(server.connect(0), "1", true).unwrap();
        assert_eq!(last, Tid::ZERO);
    }
    let next = writer.commit(2, Tid::ZERO, b"more");
    assert_eq!(reader.invalidation().0, next);
    for server in [stranger, unencrypted, secondary, primary] {
        server.stop();
    }
}

#[test]
fn who_follows_whom_is_told_to_monitoring() {
    let wait_for = |node: &Node, name: &str, value: f64| {
        while Metrics::told_by(&node.server).of(name) != value {
            thread::yield_now();
        }
    };
    let primary = Node::new(None);
    wait_for(&primary, "zeoxide_secondaries", 0.0);
    wait_for(&primary, "zeoxide_primary", 1.0);
    let secondary = Node::new(Some(&primary));
    wait_for(&primary, "zeoxide_secondaries", 1.0);
    wait_for(&secondary, "zeoxide_following", 1.0);
    wait_for(&secondary, "zeoxide_primary", 0.0);
    let tid = Client::register(primary.server.connect(0), "1").commit(1, Tid::ZERO, b"data");
    drop(secondary.reader(tid));
    wait_for(&secondary, "zeoxide_replication_lag_seconds", 0.0);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let labels = format!("storage=\"1\",secondary=\"{} file:data\"", host.trim());
    let lag = format!("zeoxide_secondary_lag_seconds{{{labels}}}");
    wait_for(&primary, &lag, 0.0);
    let again = secondary.restarted(None);
    wait_for(&primary, "zeoxide_secondaries", 0.0);
    let secondary = again.restarted(Some(&primary));
    wait_for(&primary, "zeoxide_secondaries", 1.0);
    primary.server.kill();
    wait_for(&secondary, "zeoxide_following", 0.0);
}

/// With a time limit commits go on without secondaries, and wait for them again when they are there.
#[test]
fn commits_wait_for_secondaries_and_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let sync = ["--sync-replicas=1", "--sync-replicas-timeout=4"];
    let door = "--replicate-to=repl://127.0.0.1:0";
    let server = serve_in(directory.path(), &[&[ANYWHERE, FILE, door], &sync[..]].concat());
    let primary = Node { server, directory };
    let mut writer = Client::register(primary.server.connect(0), "1");
    let (mut tid, mut again) = (Tid::ZERO, 0);
    for _ in 0..2 {
        let began = Instant::now();
        tid = writer.commit(1, tid, b"alone");
        assert!(began.elapsed() >= Duration::from_secs(4), "nobody was there");
        primary.server.wait_for_log("are answered without them");
        // It does not wait again before somebody is there.
        tid = writer.commit(1, tid, b"alone again");
        let secondary = Node::new(Some(&primary));
        drop(secondary.reader(tid));
        while again == times(&primary.server, "wait for them again") {
            tid = writer.commit(1, tid, b"together");
        }
        again += 1;
        for _ in 0..50 {
            tid = writer.commit(1, tid, b"together");
            let reader = Client::try_register(secondary.server.connect(0), "1", true);
            assert_eq!(reader.unwrap().1, tid, "it was answered before the secondary had it");
        }
        secondary.server.kill();
        while again != times(&primary.server, "the link to a secondary has ended") {
            thread::yield_now();
        }
    }
    primary.server.stop();
}

/// How many lines of the log have that.
fn times(server: &ServerProcess, text: &str) -> usize {
    server.log().iter().filter(|line| line.contains(text)).count()
}

/// A commit that waits for ever is in doubt when the server stops, and is there after that.
#[test]
fn a_commit_that_no_secondary_has_is_not_seen() {
    let directory = tempfile::tempdir().unwrap();
    let door = "--replicate-to=repl://127.0.0.1:0";
    let start = |more| serve_in(directory.path(), &[ANYWHERE, FILE, door, more]);
    let server = start("--sync-replicas=1");
    let mut writer = Client::register(server.connect(0), "1");
    assert_eq!(writer.vote(1, Tid::ZERO, b"data"), Reply::Voted);
    writer.send(&Request::Finish { transaction: TRANSACTION });
    let mut reader = Client::register(server.connect(0), "1");
    let load = Request::LoadBefore { oid: Oid(1), before: Tid::MAX };
    assert_eq!(reader.ask(&load), Reply::Failed(Failure::UnknownOid(Oid(1))));
    let log = server.stop();
    assert!(log.iter().any(|line| line.contains("the server stops")), "{log:?}");
    let server = start("--sync-replicas=0");
    let mut reader = Client::register(server.connect(0), "1");
    assert_eq!(self::load(&mut reader, 1).1, b"data");
    server.stop();
}
