//! Blobs: they are there exactly when their records are, whatever happens.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "blobs/crash.rs"]
mod crash;
#[path = "blobs/real.rs"]
mod real;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Failure, Oid, Tid};
use storage::disk::{Disk, Open};
use storage::{Kind, Location, OpenError, Options, Storage, Vote};
use testkit::{Call, Clock, Fault, Inbox, NotCommitted, SimDisk};

use support::{meta, small};

const DATA: &str = "/data";
const BLOBS: &str = "/blobs";

fn location() -> Location {
    Location { kind: Kind::File(DATA.into()), blobs: Some(BLOBS.into()) }
}

fn open(disk: &SimDisk) -> Result<Arc<dyn Storage>, OpenError> {
    storage::open(&location(), small(), &disk.handle(), Clock::new())
}

/// A new storage on a new disk.
fn begun() -> (SimDisk, Arc<dyn Storage>, Inbox) {
    let disk = SimDisk::new();
    let storage = open(&disk).unwrap();
    (disk, storage, Inbox::new())
}

/// Where ZODB has the blob of an object below 256.
fn path(oid: Oid, tid: Tid) -> PathBuf {
    let dirs = "0x00/0x00/0x00/0x00/0x00/0x00/0x00";
    Path::new(BLOBS).join(format!("{dirs}/0x{:02x}/0x{:016x}.blob", oid.0, tid.0))
}

/// All files of the blob directory but those that are always there.
fn files(disk: &SimDisk) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    disk.files(BLOBS, "").into_iter().filter(|path| !hidden(path)).collect()
}

#[test]
fn a_blob_is_where_zodb_looks_for_it_and_belongs_to_its_revision() {
    let (disk, storage, inbox) = begun();
    let oid = Oid(7);
    let upload = inbox.upload(&*storage, &[b"one", b"", b" blob"]).unwrap();
    let mut transaction = storage.begin(meta());
    transaction.store(oid, Tid::ZERO, "data".into()).unwrap();
    transaction.store_blob(oid, Tid::ZERO, "data".into(), upload).unwrap();
    assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
    let first = inbox.finish(&mut *transaction).unwrap();
    let second = inbox.commit_blob(&*storage, oid, first, b"").unwrap();
    let third = inbox.commit(&*storage, &[(oid, second, b"no blob")]).unwrap();
    assert_eq!(inbox.blob(&*storage, oid, first).unwrap(), "one blob");
    assert_eq!(inbox.blob(&*storage, oid, second).unwrap(), "");
    for (oid, serial) in [(oid, third), (oid, Tid(1)), (Oid(8), first)] {
        let unknown = Failure::UnknownBlob { oid, serial };
        assert_eq!(inbox.blob(&*storage, oid, serial), Err(unknown));
    }
    assert_eq!(disk.read(path(oid, first)).unwrap(), b"one blob");
    assert_eq!(disk.read("/blobs/.layout").unwrap(), b"bushy");
    storage.close();
    assert_eq!(files(&disk), [path(oid, first), path(oid, second)]);
}

#[test]
fn a_blob_is_kept_until_a_vote_has_no_conflicts() {
    let (disk, storage, inbox) = begun();
    let (blob, other) = (Oid(1), Oid(2));
    let current = inbox.commit(&*storage, &[(blob, Tid::ZERO, b"x"), (other, Tid::ZERO, b"x")]);
    let current = current.unwrap();
    let upload = inbox.upload(&*storage, &[b"precious"]).unwrap();
    let mut transaction = storage.begin(meta());
    transaction.store_blob(blob, Tid(5), "data".into(), upload).unwrap();
    transaction.store(other, Tid(5), "data".into()).unwrap();
    let Ok(Vote::Conflicts(conflicts)) = inbox.vote(&mut *transaction) else { panic!() };
    assert_eq!(conflicts.len(), 2);
    for oid in [blob, other] {
        transaction.store(oid, current, "resolved".into()).unwrap();
    }
    assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
    let tid = inbox.finish(&mut *transaction).unwrap();
    assert_eq!(inbox.blob(&*storage, blob, tid).unwrap(), "precious");
    storage.close();
    assert_eq!(files(&disk), [path(blob, tid)]);
}

#[test]
fn nothing_is_left_of_what_is_not_finished() {
    let (disk, storage, inbox) = begun();
    let tid = inbox.commit_blob(&*storage, Oid(1), Tid::ZERO, b"stays").unwrap();
    // While it is sent, before the vote, after it, and deleted in the transaction that stores it.
    drop(inbox.upload(&*storage, &[b"sent"]).unwrap());
    for votes in [false, true] {
        let upload = inbox.upload(&*storage, &[b"aborted"]).unwrap();
        let mut transaction = storage.begin(meta());
        transaction.store_blob(Oid(1), tid, "data".into(), upload).unwrap();
        if votes {
            assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
        }
    }
    let upload = inbox.upload(&*storage, &[b"replaced"]).unwrap();
    let again = inbox.upload(&*storage, &[b"deleted"]).unwrap();
    let mut transaction = storage.begin(meta());
    transaction.store_blob(Oid(1), tid, "data".into(), upload).unwrap();
    transaction.store_blob(Oid(1), tid, "data".into(), again).unwrap();
    transaction.delete(Oid(1), tid).unwrap();
    assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
    inbox.finish(&mut *transaction).unwrap();
    storage.close();
    assert_eq!(files(&disk), [path(Oid(1), tid)]);
}

#[test]
fn of_two_uploads_of_an_object_each_has_its_own_bytes() {
    let (_disk, storage, inbox) = begun();
    let [one, two] = [0, 1].map(|_| storage.begin_upload().unwrap());
    let mut tickets = Vec::new();
    for _ in 0..100 {
        for (upload, data) in [(&one, "1"), (&two, "22")] {
            let reply = inbox.reply_to();
            tickets.push(reply.ticket);
            upload.write(Bytes::from(data), reply);
        }
    }
    let mut serial = Tid::ZERO;
    for (upload, bytes) in [(one, "1".repeat(100)), (two, "2".repeat(200))] {
        let mut transaction = storage.begin(meta());
        transaction.store_blob(Oid(1), serial, "data".into(), upload).unwrap();
        assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
        serial = inbox.finish(&mut *transaction).unwrap();
        assert_eq!(inbox.blob(&*storage, Oid(1), serial).unwrap(), bytes);
    }
    tickets.into_iter().for_each(|ticket| drop(inbox.answer(ticket)));
}

#[test]
fn a_disk_that_is_full_or_fails_is_told_by_the_vote_and_harms_nobody_else() {
    let (disk, storage, inbox) = begun();
    let tid = inbox.commit_blob(&*storage, Oid(1), Tid::ZERO, b"stays").unwrap();
    for fault in [
        Fault::full(Call::Write).on("upload"),
        Fault::full(Call::Open).on("upload"),
        Fault::io(Call::Sync).on("upload"),
        Fault::full(Call::CreateDir).on("blobs"),
        Fault::full(Call::Open).on("intent"),
        Fault::io(Call::SyncDir).on("blobs/.zeoxide"),
    ] {
        let said = format!("{fault:?}");
        disk.inject(fault);
        let failure = inbox.commit_blob(&*storage, Oid(1), tid, b"fails").unwrap_err();
        let NotCommitted::Failed(Failure::Storage(text)) = &failure else { panic!("{failure:?}") };
        assert!(text.contains("blob") && text.contains("error"), "{said}: {text}");
    }
    // After the vote: the name, or the log, of which the second one is a batch's.
    for (call, part) in
        [(Call::Rename, "upload"), (Call::SyncDir, "0x01"), (Call::Write, "segments")]
    {
        let upload = inbox.upload(&*storage, &[b"fails"]).unwrap();
        let mut transaction = storage.begin(meta());
        transaction.store_blob(Oid(1), tid, "data".into(), upload).unwrap();
        assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
        disk.inject(Fault::full(call).on(part));
        let failure = inbox.finish(&mut *transaction).unwrap_err();
        assert!(matches!(failure, Failure::Storage(_)), "{failure:?}");
        // The next transaction gets the same tid, and so the same name.
        let next = inbox.commit_blob(&*storage, Oid(2), Tid::ZERO, b"next");
        assert!(matches!(next, Ok(_) | Err(NotCommitted::Conflicts(_))), "{next:?}");
    }
    let last = inbox.commit_blob(&*storage, Oid(1), tid, b"last").unwrap();
    assert_eq!(inbox.blob(&*storage, Oid(1), last).unwrap(), "last");
    storage.close();
    let of_first: Vec<_> =
        files(&disk).into_iter().filter(|path| path.parent().unwrap().ends_with("0x01")).collect();
    assert_eq!(of_first, [path(Oid(1), tid), path(Oid(1), last)]);
    assert!(!files(&disk).iter().any(|path| path.starts_with("/blobs/.zeoxide")));
}

#[test]
fn the_name_that_a_failed_finish_gives_back_can_be_the_next_ones() {
    let (disk, storage, inbox) = begun();
    for _ in 0..3 {
        let upload = inbox.upload(&*storage, &[b"fails"]).unwrap();
        let mut transaction = storage.begin(meta());
        transaction.store_blob(Oid(1), Tid::ZERO, "data".into(), upload).unwrap();
        assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
        disk.inject(Fault::full(Call::Write).on("segments"));
        inbox.finish(&mut *transaction).unwrap_err();
    }
    // The clock stands still, so this one has the tid of those.
    let tid = inbox.commit_blob(&*storage, Oid(1), Tid::ZERO, b"kept").unwrap();
    storage.close();
    assert_eq!(files(&disk), [path(Oid(1), tid)]);
    assert_eq!(disk.read(path(Oid(1), tid)).unwrap(), b"kept");
}

#[test]
fn a_blob_that_gets_shorter_is_not_taken_for_whole() {
    let (disk, storage, inbox) = begun();
    let tid = inbox.commit_blob(&*storage, Oid(1), Tid::ZERO, b"0123456789").unwrap();
    let file = inbox.open_blob(&*storage, Oid(1), tid).unwrap();
    disk.open(&path(Oid(1), tid), Open::Existing).unwrap().set_len(9).unwrap();
    let reply = inbox.reply_to();
    let ticket = reply.ticket;
    storage.read_blob(&file, 0, 10, reply);
    let answer = format!("{:?}", inbox.answer(ticket));
    assert!(answer.contains("Err") && answer.contains(".blob"), "{answer}");
}

#[test]
fn a_directory_that_is_no_blob_directory_is_refused_and_left_alone() {
    for (name, bytes, what) in [
        ("/blobs/.layout", "lawn\n", "lawn"),
        ("/blobs/.layout", "other", "other"),
        ("/blobs/0x01", "", ".layout"),
        ("/blobs/tmp/file", "", ".layout"),
    ] {
        let disk = SimDisk::new();
        let path = Path::new(name);
        disk.create_dir(path.parent().unwrap()).unwrap();
        let file = disk.open(path, Open::New).unwrap();
        file.write_all_at(&[std::io::IoSlice::new(bytes.as_bytes())], 0).unwrap();
        let before = disk.contents();
        let refused = open(&disk).map(drop).unwrap_err().to_string();
        assert!(refused.contains(what) && refused.contains("nothing was changed"), "{refused}");
        assert_eq!(disk.contents(), before);
    }
}

#[test]
fn a_blob_directory_has_one_user() {
    let (disk, _storage, _) = begun();
    let location = Location { kind: Kind::Memory, blobs: Some(BLOBS.into()) };
    let other = storage::open(&location, Options::default(), &disk.handle(), Clock::new());
    let refused = other.map(drop).unwrap_err().to_string();
    assert!(refused.contains(BLOBS) && refused.contains("in use"), "{refused}");
}

#[test]
fn without_a_directory_the_failure_says_how_to_get_one() {
    let disk = SimDisk::new();
    let location = Location { kind: Kind::Memory, blobs: None };
    let storage =
        storage::open(&location, Options::default(), &disk.handle(), Clock::new()).unwrap();
    assert!(!storage.abilities().blobs);
    let said = storage.begin_upload().map(drop).unwrap_err().to_string();
    assert!(said.contains("?blobs=DIR"), "{said}");
}
