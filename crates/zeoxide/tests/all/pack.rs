//! Packs: of real servers, of a server that never ends one, and of a directory.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use client::{Client, Metadata, Options, Tls, Vote};
use codecs::Endpoint;
use protocol::{Oid, Tid};
use testkit::tls::Certificates;

use crate::fake::{Fake, Packs};
use crate::{run, start_server, zeoxide};

const OID: Oid = Oid(1);

fn connect(url: &str, storage: &str, tls: Option<Tls>) -> Client {
    let url: Endpoint = url.parse().unwrap();
    Client::connect(&url, storage, false, Options { tls, ..Options::default() }).unwrap()
}

/// A revision of 100 kB.
fn commit(client: &Client) -> Tid {
    let serial = client.current_tid(OID).unwrap_or(Tid::ZERO);
    let mut transaction = client.begin(Metadata::default()).unwrap();
    transaction.store(OID, serial, Bytes::from(vec![b'x'; 100_000])).unwrap();
    assert!(matches!(transaction.vote().unwrap(), Vote::Voted));
    transaction.finish().unwrap()
}

fn revisions(client: &Client) -> Vec<Tid> {
    client.history(OID, 100).unwrap().iter().map(|revision| revision.tid).collect()
}

/// The sizes that are told.
fn sizes(line: &str) -> [f64; 2] {
    let mut words = line.split_whitespace().rev();
    let mut number = |unit: &str| {
        while words.next().unwrap() != unit {}
        words.next().unwrap().parse().unwrap()
    };
    let now = number("KiB");
    [number("KiB"), now]
}

const STORAGES: [&str; 2] = ["--storage=1=file:data", "--storage=b=file:b"];

#[test]
fn a_server_packs_whatever_it_is_asked_in() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--listen=zeo://127.0.0.1:0",
        "--listen=zeo+msgpack://127.0.0.1:0",
        "--listen=proto://127.0.0.1:0",
        "--listen=zeo+unix://socket",
        STORAGES[0],
        STORAGES[1],
    ];
    let Some(server) = start_server(&arguments, folder.path()) else { return };
    let clients = ["1", "b"].map(|name| connect(&server.urls()[2], name, None));
    for url in server.urls() {
        let url = url.replace("socket", folder.path().join("socket").to_str().unwrap());
        clients.iter().for_each(|client| _ = [commit(client), commit(client), commit(client)]);
        let (status, text, errors) = run(["pack", &url, "-S", "1", "-S", "b"]);
        assert_eq!((status, errors.as_str()), (0, ""), "{url}");
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("storage '1': packed to 20"), "{text}");
        assert!(lines[1].starts_with("storage 'b': packed to 20"), "{text}");
        for (client, line) in clients.iter().zip(lines) {
            let [before, now] = sizes(line);
            assert!(before - now > 150.0, "{line}");
            // The last transaction of a segment stays, with what is current.
            assert_eq!(revisions(client).len(), 1, "{url}");
        }
    }
    let (_, text, _) = run(["status", &server.urls()[0]]);
    let pack = text.lines().find(|line| line.starts_with("pack ")).unwrap();
    assert!(pack.contains("done") && pack.contains("KiB freed"), "{text}");
    server.kill();
}

#[test]
fn what_is_younger_than_the_time_stays() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--listen=proto://127.0.0.1:0", STORAGES[0]];
    let Some(server) = start_server(&arguments, folder.path()) else { return };
    let url = &server.urls()[0];
    let client = connect(url, "1", None);
    let tids: Vec<Tid> = (0..4).map(|_| commit(&client)).collect();
    for (option, first) in [("--days=1".to_owned(), 0), (format!("--before={}", tids[2]), 2)] {
        let (status, _, errors) = run(["pack", url, &option]);
        assert_eq!((status, errors.as_str()), (0, ""), "{option}");
        let left: Vec<Tid> = revisions(&client).into_iter().rev().collect();
        assert_eq!(left, tids[first..], "{option}");
    }
    server.kill();
}

#[test]
fn without_waiting_the_status_tells() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--listen=zeo://127.0.0.1:0", STORAGES[0], "--log=info"];
    let Some(server) = start_server(&arguments, folder.path()) else { return };
    let url = &server.urls()[0];
    let client = connect(url, "1", None);
    _ = [commit(&client), commit(&client)];
    let (status, text, errors) = run(["pack", "--no-wait", url]);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(text.contains(&format!("`zeoxide status {url}`")), "{text}");
    server.wait_for_log("packed: 1 records dropped");
    assert_eq!(revisions(&client).len(), 1);
    server.kill();
}

#[test]
fn a_server_with_tls_packs() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = vec!["--listen=zeo://127.0.0.1:0".to_owned(), STORAGES[0].to_owned()];
    arguments.extend(Certificates::shared().write(folder.path()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(server) = start_server(&arguments, folder.path()) else { return };
    let url = &server.urls()[0];
    let client = connect(url, "1", Some(Certificates::tls(folder.path())));
    _ = [commit(&client), commit(&client)];
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [ca, certificate, key] = ["authority.pem", "client.pem", "client.key"].map(file);
    let options = ["--tls-ca", &ca, "--tls-cert", &certificate, "--tls-key", &key];
    let (status, text, errors) = run(["pack", url].into_iter().chain(options));
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(text.contains("packed to"), "{text}");
    assert_eq!(revisions(&client).len(), 1);
    server.kill();
}

#[test]
fn what_cannot_be_packed_is_told() {
    for (packs, wanted) in [
        (Packs::Already, "a pack is under way already; `zeoxide status "),
        (Packs::Crashing, "the connection is lost: the server goes on with the pack"),
    ] {
        let fake = Fake::start(packs);
        let (status, _, errors) = run(["pack", &fake.url]);
        assert_eq!(status, 1);
        assert!(errors.contains(wanted) && errors.lines().count() == 1, "{errors}");
    }
    let fake = Fake::start(Packs::Already);
    let (status, _, errors) = run(["pack", "--no-wait", &fake.url]);
    assert_eq!(status, 1);
    assert!(errors.contains("a pack is under way already"), "{errors}");
    assert!(fake.asked.lock().unwrap().is_empty(), "it can be seen without asking");
    for wrong in [
        &["http://localhost"][..],
        &["file:data?blobs=b"],
        &["data", "--no-wait"],
        &["data", "--storage=1"],
        &["zeo://h:1", "--blobs=b"],
        &["zeo://h:1", "--days=-1"],
        &["zeo://h:1", "--time=25"],
        &["zeo://h:1", "--before=2026-11-25", "--days=1"],
    ] {
        assert_eq!(run(["pack"].iter().chain(wrong)).0, 2, "{wrong:?}");
    }
}

#[test]
fn an_interruption_leaves_the_server_packing() {
    let fake = Fake::start(Packs::Never);
    let mut command = zeoxide();
    command.args(["pack", &fake.url]).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // As told by the server.
    assert_eq!(lines.next().unwrap(), "packing: 1 of 3 parts, 2.0 KiB freed");
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(rest.iter().any(|line| line.contains("the server goes on with the pack")), "{rest:?}");
    let asked = fake.asked.lock().unwrap();
    assert!(matches!(asked[..], [(_, true)]), "{asked:?}");
}

/// A storage with this many revisions, made by the storage itself.
fn directory(at: &Path, revisions: usize) {
    use storage::disk::{Disk, RealDisk};
    use storage::{Kind, Location, SystemClock};
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let location = Location { kind: Kind::File(at.to_owned()), blobs: None };
    let storage =
        storage::open(&location, storage::Options::default(), &disk, Arc::new(SystemClock))
            .unwrap();
    let inbox = testkit::inbox::Inbox::new();
    for _ in 0..revisions {
        let serial = storage.current_tid(OID).unwrap_or(Tid::ZERO);
        inbox.commit(&*storage, &[(OID, serial, &[b'x'; 100_000])]).unwrap();
    }
    storage.close();
}

#[test]
fn a_directory_is_packed_where_no_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    directory(&data, 4);
    let data = data.to_str().unwrap();
    let (status, text, errors) = run(["pack", data]);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(text.starts_with(&format!("{data}: packed to 20")), "{text}");
    let [before, now] = sizes(&text);
    assert!(before - now > 250.0 && now > 90.0, "{text}");
    let again = run(["pack", &format!("file:{data}")]).1;
    let [before, still] = sizes(&again);
    assert!((before - now).abs() < 1.0 && (still - now).abs() < 1.0, "{text}{again}");
    for wrong in ["absent", "."] {
        let place = folder.path().join(wrong);
        let (status, _, errors) = run(["pack", place.to_str().unwrap()]);
        assert_eq!(status, 1, "{errors}");
        assert!(!folder.path().join("absent").exists(), "it was created");
    }
}

#[test]
fn a_directory_that_a_server_has_open_is_the_servers() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--listen=zeo://127.0.0.1:0", STORAGES[0]];
    let Some(server) = start_server(&arguments, folder.path()) else { return };
    let data = folder.path().join("data");
    let (status, _, errors) = run(["pack", data.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(errors.contains("in use") && errors.contains("`zeoxide pack URL`"), "{errors}");
    server.kill();
}
