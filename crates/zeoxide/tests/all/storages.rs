//! Commands on storages' own directories, beside the process that has them open.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use protocol::{Oid, Tid};
use serde_json::Value;
use storage::disk::{Disk, RealDisk};
use storage::{Kind, Location, Options, Storage, SystemClock};
use testkit::Inbox;

use crate::{run, zeoxide};

/// A storage with three transactions of one object, which has a blob in the last.
pub(crate) struct Made {
    folder: tempfile::TempDir,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) tids: Vec<Tid>,
}

impl Made {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location {
            kind: Kind::File(folder.path().join("data")),
            blobs: Some(folder.path().join("blobs")),
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let clock = Arc::new(SystemClock);
        let storage = storage::open(&location, Options::default(), &disk, clock).unwrap();
        let inbox = Inbox::new();
        let mut tids = vec![Tid::ZERO];
        for data in [&b"one"[..], b"three"] {
            tids.push(inbox.commit(&*storage, &[(Oid(1), tids[tids.len() - 1], data)]).unwrap());
        }
        tids.push(inbox.commit_blob(&*storage, Oid(1), tids[2], b"a blob").unwrap());
        tids.remove(0);
        Self { folder, storage, tids }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn blobs(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }

    fn verify(&self) -> (i32, Value) {
        let (data, blobs) = (self.data(), self.blobs());
        let arguments =
            [Path::new("verify"), Path::new("--json"), &data, "--blobs".as_ref(), &blobs];
        let (status, text, errors) = run(arguments);
        assert_eq!(errors, "");
        (status, serde_json::from_str(&text).unwrap())
    }
}

#[test]
fn verify_reads_a_storage_that_is_open() {
    let made = Made::new();
    let (status, found) = made.verify();
    assert_eq!((status, &found["problem_count"]), (0, &0.into()), "{found}");
    for (what, count) in [("transactions", 3), ("records", 3), ("objects", 1), ("blobs", 1)] {
        assert_eq!(found[what], count, "{what}");
    }
    assert_eq!(found["first_transaction"], made.tids[0].to_string());
    assert_eq!(found["last_transaction"], made.tids[2].to_string());
    assert_eq!(found["checked_bytes"], found["bytes"]);
    let (status, text, errors) = run([Path::new("verify"), &made.data()]);
    assert_eq!((status, errors.as_str()), (0, ""));
    assert!(text.contains("blobs         1, not checked: --blobs DIR"), "{text}");
    assert!(text.ends_with("nothing is wrong\n"), "{text}");
}

#[test]
fn verify_tells_what_is_wrong_with_a_storage_and_what_to_do() {
    let made = Made::new();
    made.storage.close();
    let blob = made.blobs().join("0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x01");
    std::fs::remove_dir_all(blob).unwrap();
    let (status, found) = made.verify();
    assert_eq!((status, &found["problem_count"]), (1, &1.into()));
    let segment = made.data().join("segments/00000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    // The first record's data, which the index file covers.
    let data = bytes.windows(3).position(|window| window == b"one").unwrap();
    let whole = bytes.clone();
    bytes[data] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let (status, text, _) = run([Path::new("verify"), &made.data()]);
    assert_eq!(status, 1);
    assert!(text.contains("checksum is wrong; a server starts with it"), "{text}");
    // As a start finds it.
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    assert!(storage::Snapshot::open(&disk, &made.data(), None).is_ok());
    // Without that, it is read by the start.
    std::fs::remove_file(segment.with_extension("idx")).unwrap();
    let (status, text, _) = run([Path::new("verify"), &made.data()]);
    assert_eq!(status, 1);
    assert!(text.contains("a server refuses to start with it"), "{text}");
    assert!(storage::Snapshot::open(&disk, &made.data(), None).is_err());
    bytes = whole;
    bytes[70] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (status, text, _) = run([Path::new("verify"), &made.data()]);
    assert_eq!(status, 1);
    let wanted = format!("WRONG: {} at offset 64: no transaction header; ", segment.display());
    assert!(text.contains(&wanted), "{text}");
}

#[test]
fn dump_prints_a_storage_that_is_open() {
    let made = Made::new();
    let data = made.data();
    let (status, text, errors) = run([Path::new("dump"), &data]);
    assert_eq!((status, errors.as_str()), (0, ""));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(&format!("transaction {} ", made.tids[0])), "{text}");
    assert!(lines[0].contains(" at 64 of 00000001.log, "), "{text}");
    assert_eq!(lines[1], "  record 0000000000000001: 3 bytes");
    assert_eq!(lines[5], "  record 0000000000000001: 10 bytes, and a blob");
    let after = made.tids[1].to_string();
    let (_, text, _) = run(["dump", "--json", "--after", &after, data.to_str().unwrap()]);
    let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (all.len(), &all[0]["kind"], &all[1]["kind"]),
        (2, &"transaction".into(), &"record".into())
    );
    assert_eq!((&all[1]["tid"], &all[1]["bytes"]), (&made.tids[2].to_string().into(), &10.into()));
    assert_eq!(all[1]["blob"], true);
}

#[test]
fn tail_prints_the_newest_transactions_and_those_that_come() {
    let mut made = Made::new();
    let data = made.data();
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    let tail = |count: &str| run(["tail", "--no-records", "-n", count, data.to_str().unwrap()]).1;
    let tids: Vec<String> = made.tids.iter().map(ToString::to_string).collect();
    assert_eq!(lines(&tail("2")), tids[1..]);
    assert_eq!(lines(&tail("9")), tids);
    assert_eq!(tail("0"), "");
    let mut child = zeoxide()
        .args(["tail", "--follow", "--no-records", "-n", "1"])
        .arg(&data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines(&out.next().unwrap().unwrap());
    assert_eq!(next(), tids[2..]);
    for _ in 0..2 {
        let serial = made.tids[made.tids.len() - 1];
        let tid = Inbox::new().commit(&*made.storage, &[(Oid(1), serial, b"new")]).unwrap();
        made.tids.push(tid);
        assert_eq!(next(), [tid.to_string()]);
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_directory_without_a_storage_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (status, text, errors) = run([Path::new("verify"), folder.path()]);
    assert_eq!((status, text.as_str()), (1, ""));
    assert!(errors.contains("format: missing"), "{errors}");
    assert!(errors.contains("in the directory of every storage"), "{errors}");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (status, _, errors) = run([Path::new("tail"), &file]);
    assert_eq!((status, errors.matches("Not a directory").count()), (1, 1), "{errors}");
}
