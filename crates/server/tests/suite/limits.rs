//! Clients that take more than they may.

use std::sync::Arc;

use protocol::{Oid, Reply, Request, Tid};
use storage::SystemClock;
use storage::disk::{Disk, RealDisk};
use testkit::Inbox;
use testkit::server::{ServerProcess, read_frame};

use super::zeo::Client;
use super::{ANYWHERE, IN_MEMORY, PROGRAM, owned, serve};

#[test]
fn a_client_that_does_not_read_is_disconnected_and_nobody_waits_for_it() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--max-outgoing=16K"]);
    let mut writer = Client::register(server.connect(0), "1");
    writer.commit(1, Tid::ZERO, &vec![7; 32 << 20]);
    let mut silent = Client::register(server.connect(0), "1");
    silent.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    // Its invalidations pile up behind the answer that it does not take.
    let mut serial = writer.commit(2, Tid::ZERO, b"first");
    for _ in 0..1000 {
        serial = writer.commit(2, serial, b"next");
    }
    let line = server.wait_for_log("reads too slowly");
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(writer.ask(&Request::Ping), Reply::Done);
    server.stop();
}

#[test]
fn a_client_that_reads_late_gets_all() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY]);
    let mut writer = Client::register(server.connect(0), "1");
    writer.commit(1, Tid::ZERO, &vec![7; 1 << 20]);
    let mut late = Client::register(server.connect(0), "1");
    for _ in 0..32 {
        late.send(&Request::LoadBefore { oid: Oid(1), before: Tid::MAX });
    }
    assert_eq!(writer.ask(&Request::Ping), Reply::Done);
    for _ in 0..32 {
        assert!(matches!(late.answer(), Reply::Loaded(Some(_))));
    }
    server.stop();
}

#[test]
fn too_many_connections_are_closed_at_once() {
    let (server, _directory) = serve(&[ANYWHERE, IN_MEMORY, "--max-connections=2"]);
    let mut first = Client::register(server.connect(0), "1");
    let second = Client::register(server.connect(0), "1");
    assert_eq!(read_frame(&mut *server.connect(0)), None);
    assert_eq!(read_frame(&mut *server.connect(0)), None);
    assert_eq!(first.ask(&Request::Ping), Reply::Done);
    drop(second);
    server.wait_for_log("disconnected");
    // The line comes just before the place is free.
    while read_frame(&mut *server.connect(0)).is_none() {}
    let log = server.stop();
    let refused = log.iter().filter(|line| line.contains("too many connections"));
    assert_eq!(refused.count(), 1, "{log:?}");
}

#[test]
fn a_storage_may_have_more_segments_than_the_usual_number_of_open_files() {
    let directory = tempfile::tempdir().unwrap();
    let location = format!("file:{}", directory.path().join("data").display()).parse().unwrap();
    // Each transaction starts a segment.
    let options = storage::Options { segment_bytes: 1, ..storage::Options::default() };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let storage = storage::open(&location, options, &disk, Arc::new(SystemClock)).unwrap();
    let inbox = Inbox::new();
    for oid in 0..FILES {
        inbox.commit(&*storage, &[(Oid(oid), Tid::ZERO, b"data")]).unwrap();
    }
    storage.close();
    drop(storage);
    let limited = format!("ulimit -S -n {FILES}; exec \"$0\" \"$@\"");
    let arguments = ["-c", &limited, PROGRAM, ANYWHERE, "--storage=1=file:data"];
    let server = ServerProcess::start("sh", &owned(&arguments), directory.path());
    let mut client = Client::register(server.connect(0), "1");
    let load = Request::LoadBefore { oid: Oid(FILES - 1), before: Tid::MAX };
    assert!(matches!(client.ask(&load), Reply::Loaded(Some(_))));
    server.stop();
}

/// Enough for all other files of a server.
const FILES: u64 = 48;
