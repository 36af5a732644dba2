//! Commands that move transactions into storages of ours, between them, and out of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use datafs::{Magic, Record, Status, Transaction, Writer};
use protocol::{Oid, Tid};
use storage::disk::{Disk, RealDisk};
use storage::{Kind, Location, Options, Storage, Sync};
use testkit::{Clock, Inbox};

use crate::{data, run, zeoxide};

/// Runs it and expects that it is done.
fn good<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> String {
    let (status, text, errors) = run(arguments);
    // What takes long tells how far it is.
    let errors: Vec<_> = errors.lines().filter(|line| !line.contains(" % of ")).collect();
    assert_eq!((status, &*errors), (0, &[][..]), "{text}");
    text
}

fn same(one: &Path, other: &Path) -> bool {
    std::fs::read(one).unwrap() == std::fs::read(other).unwrap()
}

fn open(dir: &Path) -> Arc<dyn Storage> {
    let location = Location { kind: Kind::File(dir.to_owned()), blobs: None };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = Options { sync: Sync::None, segment_bytes: 64 << 10, ..Options::default() };
    storage::open(&location, options, &disk, Clock::new()).unwrap()
}

/// The objects that a file has in the end.
fn objects(path: &Path) -> BTreeMap<Oid, Option<Vec<u8>>> {
    let mut reader = datafs::Reader::open(path).unwrap();
    let mut found = BTreeMap::new();
    while reader.next_transaction().unwrap().is_some() {
        while let Some(at) = reader.next_record().unwrap() {
            found.insert(at.record.oid, at.record.data.map(|data| data.to_vec()));
        }
    }
    found
}

#[test]
fn what_is_imported_is_exported_byte_for_byte() {
    for name in ["undos.fs", "random.fs", "packed.fs"] {
        let folder = tempfile::tempdir().unwrap();
        let (from, dir, to) = (data(name), folder.path().join("dir"), folder.path().join("to.fs"));
        let text = good([Path::new("import"), &from, &dir]);
        assert!(text.contains(": all as in "), "{text}");
        good([Path::new("export"), &dir, &to]);
        assert!(same(&from, &to), "{name}");
        let text = good([Path::new("import"), &from, &dir]);
        assert!(text.starts_with("imported 0 transactions"), "{text}");
    }
}

#[test]
fn what_does_not_come_back_as_it_was_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("dir");
    for check in [None, Some("--no-check")] {
        let from = data("python2.fs");
        let arguments = [Path::new("import"), &from, &dir];
        let text = good(arguments.into_iter().chain(check.map(Path::new)));
        // The second time there is nothing left to import.
        assert_eq!(text.contains("the extension of 1 transactions"), check.is_none(), "{text}");
    }
}

/// As ZEO's server writes blobs: twice in their transaction. A storage has what FileStorage shows,
/// and goes on with such a file as with any other.
#[test]
fn what_a_transaction_supersedes_itself_is_left_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let [from, dir, to] = ["from.fs", "dir", "to.fs"].map(|name| folder.path().join(name));
    let commit = |tid, records: &[(u64, &'static str)]| {
        let mut writer = match tid {
            1 => Writer::create(&from, Magic::Python3),
            _ => Writer::append(&from),
        }
        .unwrap();
        let (user, description, extension) = Default::default();
        let (tid, status) = (Tid(tid), Status::Complete);
        writer.begin(&Transaction { tid, status, user, description, extension }).unwrap();
        for (oid, data) in records {
            let data = Some(data.as_bytes().into());
            writer.record(&Record { oid: Oid(*oid), data, origin: None, linked: true }).unwrap();
        }
        writer.finish().unwrap();
        writer.sync().unwrap();
    };
    commit(1, &[(1, "a"), (1, "b"), (2, "c")]);
    commit(2, &[(2, "d"), (1, "e"), (2, "f"), (2, "g")]);
    let text = good([Path::new("import"), &from, &dir]);
    assert!(text.contains("imported 2 transactions, 4 records"), "{text}");
    assert!(text.contains("checked 2 transactions: all as in "), "{text}");
    assert!(text.contains("left out 3 records"), "{text}");
    assert!(text.contains("in transaction 0000000000000001 ("), "{text}");
    good([Path::new("export"), &dir, &to]);
    assert_eq!(objects(&to), objects(&from));
    let text = good([Path::new("export"), &dir, &from]);
    assert!(text.starts_with("exported 0 transactions"), "{text}");
    commit(3, &[(1, "h"), (1, "i")]);
    let text = good(["import".as_ref(), from.as_path(), &dir, "--no-check".as_ref()]);
    assert!(text.starts_with("imported 1 transactions, 1 records"), "{text}");
    assert!(text.contains("left out 1 records"), "{text}");
    // A copy of a file is the same file.
    std::fs::remove_file(&to).unwrap();
    good([Path::new("copy"), &from, &to]);
    assert!(same(&from, &to));
}

#[test]
fn what_is_of_another_source_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [dir, repository, to] = ["dir", "repository", "to.fs"].map(|name| folder.path().join(name));
    good([Path::new("import"), &data("undos.fs"), &dir]);
    good([Path::new("backup"), &dir, &repository]);
    good([Path::new("export"), &dir, &to]);
    let other = folder.path().join("other.fs");
    write_with_other_end(&other);
    let foreign = folder.path().join("foreign");
    good([Path::new("import"), &data("packed.fs"), &foreign]);
    for arguments in [
        [Path::new("import"), &other, &dir],
        [Path::new("import"), &data("packed.fs"), &dir],
        [Path::new("backup"), &foreign, &repository],
        [Path::new("export"), &foreign, &to],
    ] {
        let (status, text, errors) = run(arguments);
        assert_eq!((status, text.as_str()), (1, ""), "{errors}");
        assert!(errors.contains("is no copy of it"), "{errors}");
    }
    let (status, _, errors) = run([Path::new("restore"), &repository, &dir]);
    assert_eq!(status, 1);
    assert!(errors.contains("nothing is restored over it"), "{errors}");
    assert!(same(&data("undos.fs"), &to));
}

/// The same tids, but the last transaction has other data.
fn write_with_other_end(path: &Path) {
    let mut reader = datafs::Reader::open(&data("undos.fs")).unwrap();
    let mut writer = Writer::create(path, reader.magic()).unwrap();
    while let Some(at) = reader.next_transaction().unwrap() {
        writer.begin(&at.transaction).unwrap();
        while let Some(at) = reader.next_record().unwrap() {
            let is_last = reader.position() + 8 >= reader.bytes();
            let data = if is_last { Some(b"other"[..].into()) } else { at.record.data.clone() };
            writer.record(&Record { data, ..at.record }).unwrap();
        }
        writer.finish().unwrap();
    }
    assert!(!same(path, &data("undos.fs")));
}

/// It would say that all is backed up.
#[test]
fn a_storage_is_not_its_own_repository() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("dir");
    good([Path::new("import"), &data("undos.fs"), &dir]);
    let again = folder.path().join("../").join(folder.path().file_name().unwrap()).join("dir");
    for repository in [&dir, &again] {
        let (status, text, errors) = run([Path::new("backup"), &dir, repository]);
        assert_eq!((status, text.as_str()), (1, ""));
        assert!(errors.contains("are the same directory"), "{errors}");
    }
}

/// As a server has it.
#[test]
fn a_storage_in_use_is_read_and_not_written() {
    const BACKUPS: u64 = 4;
    let folder = tempfile::tempdir().unwrap();
    let [dir, repository, to, back] =
        ["dir", "repository", "to.fs", "back.fs"].map(|name| folder.path().join(name));
    let storage = open(&dir);
    let (status, _, errors) = run([Path::new("import"), &data("undos.fs"), &dir]);
    assert_eq!(status, 1);
    assert!(errors.contains("must be stopped first"), "{errors}");
    let (stop, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let inbox = Inbox::new();
            while !stop.load(Ordering::Relaxed) {
                let count = commits.load(Ordering::Relaxed);
                let oid = Oid(count % 7);
                let serial = storage.current_tid(oid).unwrap_or(Tid::ZERO);
                let data = count.to_string().repeat(100);
                let tid = inbox.commit(&*storage, &[(oid, serial, data.as_bytes())]).unwrap();
                if count % 100 == 99 {
                    inbox.ask(|reply| storage.pack(tid, reply));
                }
                commits.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..BACKUPS {
            let before = commits.load(Ordering::Relaxed);
            while commits.load(Ordering::Relaxed) < before + 150 {
                std::thread::yield_now();
            }
            let text = good([Path::new("backup"), &dir, &repository]);
            assert!(!text.starts_with("backed up 0 "), "{text}");
            good([Path::new("export"), &dir, &to]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let text = good([Path::new("backup"), &dir, &repository]);
    assert!(text.contains("the repository has all up to "), "{text}");
    storage.close();
    drop(storage);
    good([Path::new("export"), &dir, &to]);
    good([Path::new("export"), &repository, &back]);
    let last = folder.path().join("last.fs");
    good([Path::new("export"), &dir, &last]);
    // They have older revisions, too, that were packed away since.
    assert_eq!(objects(&last).len(), 7);
    assert_eq!(objects(&last), objects(&back));
    assert_eq!(objects(&last), objects(&to));
    assert!(std::fs::metadata(&back).unwrap().len() > std::fs::metadata(&last).unwrap().len());
}

#[test]
fn a_restore_is_of_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let [dir, repository, back, to] =
        ["dir", "repository", "back", "to.fs"].map(|name| folder.path().join(name));
    good([Path::new("import"), &data("undos.fs"), &dir]);
    good([Path::new("backup"), &dir, &repository]);
    let whole = std::fs::read(data("undos.fs")).unwrap();
    for until in ["040cb6c104444444", "2026-11-01T00:05:00Z"] {
        let text = good([
            Path::new("restore"),
            &repository,
            &back,
            Path::new("--until"),
            Path::new(until),
        ]);
        assert!(text.contains("all as in"), "{text}");
        assert!(!folder.path().join("back.restoring").exists());
        good([Path::new("export"), &back, &to]);
        let part = std::fs::read(&to).unwrap();
        assert!(part.len() < whole.len() && whole.starts_with(&part), "{until}: {text}");
        std::fs::remove_file(&to).unwrap();
        // As if it had been stopped there.
        std::fs::rename(&back, folder.path().join("back.restoring")).unwrap();
        let text = good([Path::new("restore"), &repository, &back]);
        assert!(!text.starts_with("restored 0 ") && !text.starts_with("restored 11 "), "{text}");
        good([Path::new("export"), &back, &to]);
        assert!(same(&to, &data("undos.fs")));
        std::fs::remove_dir_all(&back).unwrap();
        std::fs::remove_file(&to).unwrap();
    }
    assert_eq!(run(["restore", "a", "b", "--until", "yesterday"]).0, 2);
}

/// A file with so many transactions that an import takes its time.
fn large(folder: &Path, transactions: u64) -> PathBuf {
    let path = folder.join("large.fs");
    let mut writer = Writer::create(&path, Magic::Python3).unwrap();
    for tid in 1..=transactions {
        let (user, description, extension) = Default::default();
        let tid = Tid(tid);
        writer
            .begin(&Transaction { tid, status: Status::Complete, user, description, extension })
            .unwrap();
        let data = Some(tid.0.to_string().repeat(10).into());
        let record = Record { oid: Oid(tid.0 % 100), data, origin: None, linked: true };
        writer.record(&record).unwrap();
        writer.finish().unwrap();
    }
    writer.sync().unwrap();
    path
}

#[test]
fn an_import_that_was_killed_goes_on() {
    for signal in ["-KILL", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let from = large(folder.path(), 30_000);
        let (dir, to) = (folder.path().join("dir"), folder.path().join("to.fs"));
        let mut child = zeoxide()
            .arg("import")
            .args([&from, &dir])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It has begun to write.
        let segment = dir.join("segments/00000001.log");
        let begun = |bytes: &[u8]| bytes.windows(8).any(|found| found == b"50505050");
        while !std::fs::read(&segment).is_ok_and(|bytes| begun(&bytes)) {
            assert_eq!(child.try_wait().unwrap(), None, "it is done too early");
            std::thread::yield_now();
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), (signal == "-INT").then_some(130));
        let text = good([Path::new("import"), &from, &dir]);
        assert!(!text.starts_with("imported 0 ") && !text.starts_with("imported 30000 "), "{text}");
        good([Path::new("export"), &dir, &to]);
        assert!(same(&from, &to));
    }
}

/// Blobs of each revision, one of which an undo brought back, and one empty.
#[test]
fn blobs_go_where_their_records_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let from = path("from.fs");
    let mut writer = Writer::create(&from, Magic::Python3).unwrap();
    let contents = [(1, "first"), (2, ""), (3, "first")];
    for (tid, content) in contents {
        let (user, description, extension) = Default::default();
        let status = Status::Complete;
        let transaction = Transaction { tid: Tid(tid), status, user, description, extension };
        writer.begin(&transaction).unwrap();
        let (data, origin) = match tid {
            3 => (b"1", Some(Tid(1))),
            2 => (b"2", None),
            _ => (b"1", None),
        };
        let data = Some(data[..].into());
        writer.record(&Record { oid: Oid(300), data, origin, linked: true }).unwrap();
        let data = Some(b"no blob"[..].into());
        writer.record(&Record { oid: Oid(tid), data, origin: None, linked: true }).unwrap();
        writer.finish().unwrap();
        // The layout 'lawn'.
        let object = path("lawn").join("0x012c");
        std::fs::create_dir_all(&object).unwrap();
        std::fs::write(object.join(format!("0x{tid:02x}.blob")), content).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    std::fs::write(path("lawn/.layout"), "lawn").unwrap();
    let at = |command: &str, names: &[&str]| {
        let places = names.iter().map(|name| match name.strip_prefix("--") {
            Some(_) => PathBuf::from(name),
            None => path(name),
        });
        run([PathBuf::from(command)].into_iter().chain(places))
    };
    let done = |(status, text, errors): (i32, String, String)| {
        assert_eq!(status, 0, "{text}{errors}");
        text
    };
    // Who forgets them is told, also when it is too late for them.
    let text = done(at("import", &["from.fs", "without"]));
    assert!(text.contains("no blobs were looked for"), "{text}");
    let blobs = ["from.fs", "without", "--blobs-from", "lawn", "--blobs", "late"];
    let (status, text, _) = at("import", &blobs);
    assert_eq!(status, 1);
    assert!(text.contains("0000012c has no blob"), "{text}");
    let blobs = ["from.fs", "dir", "--blobs-from", "lawn", "--blobs", "blobs"];
    let text = done(at("import", &blobs));
    assert!(text.contains(", 3 blobs"), "{text}");
    assert!(!text.contains("no blobs were looked for"), "{text}");
    let (status, _, errors) = at("backup", &["dir", "other"]);
    assert_eq!(status, 1);
    assert!(errors.contains("--blobs must say where blobs are"), "{errors}");
    done(at("backup", &["dir", "repository", "--blobs", "blobs", "--link"]));
    done(at("restore", &["repository", "back"]));
    done(at("export", &["back", "to.fs", "--blobs", "back/blobs", "--blobs-to", "bushy"]));
    assert!(same(&from, &path("to.fs")));
    for folder in ["blobs", "repository/blobs", "back/blobs", "bushy"] {
        assert_eq!(std::fs::read_to_string(path(folder).join(".layout")).unwrap().trim(), "bushy");
        for (tid, content) in contents {
            let blob = storage::blob_path(&path(folder), Oid(300), Tid(tid));
            assert_eq!(std::fs::read_to_string(blob).unwrap(), content, "{folder} {tid}");
        }
    }
    let (status, _, errors) =
        at("import", &["from.fs", "dir2", "--blobs-from", "bushy", "--blobs", "bushy"]);
    assert_eq!(status, 1);
    assert!(errors.contains("are the same directory"), "{errors}");
}
