//! The operating system's file system.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use protocol::{Failure, Oid, Tid};
use storage::disk::{Disk, RealDisk};
use storage::{Kind, Location, Options, Storage, Vote};
use tempfile::TempDir;
use testkit::{Clock, Inbox};

use crate::support::meta;

const OBJECT: &str = "blobs/0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x2c";

fn open(dir: &Path) -> Result<Arc<dyn Storage>, storage::OpenError> {
    let kind = Kind::File(dir.join("data"));
    let location = Location { kind, blobs: Some(dir.join("blobs")) };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    storage::open(&location, Options::default(), &disk, Clock::new())
}

fn begun() -> (TempDir, Arc<dyn Storage>, Inbox) {
    let dir = tempfile::tempdir().unwrap();
    let storage = open(dir.path()).unwrap();
    (dir, storage, Inbox::new())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn nobody_writes_a_blob_and_those_read_it_who_read_its_directory() {
    let (dir, storage, inbox) = begun();
    let object = dir.path().join(OBJECT);
    let mut serial = Tid::ZERO;
    for (directory_mode, file_mode) in [(0o700, 0o400), (0o750, 0o440), (0o755, 0o444)] {
        fs::create_dir_all(&object).unwrap();
        fs::set_permissions(&object, fs::Permissions::from_mode(directory_mode)).unwrap();
        serial = inbox.commit_blob(&*storage, Oid(0x2c), serial, b"blob").unwrap();
        let file = object.join(format!("0x{:016x}.blob", serial.0));
        assert_eq!(fs::read(&file).unwrap(), b"blob");
        assert_eq!(mode(&file), file_mode, "in a directory of {directory_mode:o}");
        assert_eq!(inbox.blob(&*storage, Oid(0x2c), serial).unwrap(), "blob");
    }
    assert_eq!(fs::read_to_string(dir.path().join("blobs/.layout")).unwrap(), "bushy");
}

#[test]
fn blobs_that_are_there_stay_when_a_storage_starts_in_their_directory() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join(OBJECT).join("0x03d5000000000000.blob");
    fs::create_dir_all(old.parent().unwrap()).unwrap();
    fs::write(&old, "old").unwrap();
    fs::create_dir(dir.path().join("blobs/tmp")).unwrap();
    // A client that shares the directory is about to commit this.
    let client = dir.path().join("blobs/tmp/BUC123.tmp");
    fs::write(&client, "client").unwrap();
    fs::write(dir.path().join("blobs/.layout"), "bushy").unwrap();
    open(dir.path()).unwrap().close();
    assert_eq!(fs::read(&old).unwrap(), b"old");
    assert_eq!(fs::read(&client).unwrap(), b"client");
}

#[test]
fn what_a_crash_left_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap().close();
    let object = dir.path().join(OBJECT);
    fs::create_dir_all(&object).unwrap();
    fs::write(object.join("0x0400000000000000.blob"), "of no record").unwrap();
    fs::write(object.join("other"), "of a client").unwrap();
    let private = dir.path().join("blobs/.zeoxide");
    fs::write(private.join("7.upload"), "half").unwrap();
    fs::write(private.join("000000000000002c-8.intent"), "").unwrap();
    open(dir.path()).unwrap().close();
    assert_eq!(names(&private), [".lock"]);
    assert_eq!(names(&object), ["other"]);
}

#[test]
fn a_shared_file_is_taken_over() {
    let (dir, storage, inbox) = begun();
    let object = dir.path().join(OBJECT);
    fs::create_dir_all(&object).unwrap();
    let shared = object.join("0x03abc.tmp-");
    fs::write(&shared, "shared").unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o400)).unwrap();
    let tid = share(&*storage, &inbox, "0x03abc.tmp-").unwrap();
    assert_eq!(inbox.blob(&*storage, Oid(0x2c), tid).unwrap(), "shared");
    storage.close();
    assert_eq!(names(&object), [format!("0x{:016x}.blob", tid.0)]);
}

#[test]
fn what_is_not_a_shared_file_is_refused() {
    let (dir, storage, inbox) = begun();
    let object = dir.path().join(OBJECT);
    fs::create_dir_all(object.join("dir.tmp")).unwrap();
    let secret = dir.path().join("secret.tmp");
    fs::write(&secret, "secret").unwrap();
    symlink(&secret, object.join("link.tmp")).unwrap();
    for (name, why) in [
        ("missing.tmp", "must have the same directory"),
        ("link.tmp", "is not a file"),
        ("dir.tmp", "is not a file"),
    ] {
        let failure = share(&*storage, &inbox, name).unwrap_err().to_string();
        let path = object.join(name).display().to_string();
        assert!(failure.contains(why) && failure.contains(&path), "{failure}");
    }
    for name in ["../0x2c/x.tmp", "/etc/passwd", "x", "x.blob"] {
        let failure = share(&*storage, &inbox, name).unwrap_err();
        assert!(matches!(failure, Failure::Value(_)), "{failure:?}");
    }
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    storage.close();
    assert_eq!(names(&dir.path().join("blobs/.zeoxide")), [".lock"]);
}

fn share(storage: &dyn Storage, inbox: &Inbox, name: &str) -> Result<Tid, Failure> {
    let upload = storage.take_shared(Oid(0x2c), name)?;
    let mut transaction = storage.begin(meta());
    transaction.store_blob(Oid(0x2c), Tid::ZERO, "data".into(), upload)?;
    assert_eq!(inbox.vote(&mut *transaction)?, Vote::Promised);
    inbox.finish(&mut *transaction)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
