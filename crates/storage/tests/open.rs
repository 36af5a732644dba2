//! What a start takes for a storage and what it leaves alone, and what it reads.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/report.rs"]
mod report;
mod support;

use std::io::IoSlice;
use std::path::Path;

use protocol::{Oid, Tid};
use storage::disk::{Disk, Open};
use storage::{OpenError, Options, Prepared};
use testkit::{Call, Clock, Fault, Inbox, SimDisk, compare};

use support::{copy, location, open, remove_indexes, resize, segments, small, written};

fn prepare(disk: &SimDisk) -> Result<Prepared, OpenError> {
    storage::prepare(&location(), small(), &disk.handle())
}

fn remove(disk: &SimDisk, path: impl AsRef<Path>) {
    disk.remove(path.as_ref()).unwrap();
}

fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(Path::new(path), Open::Truncated).unwrap();
    file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
}

/// What `prepare` makes of a good storage.
fn changed(good: &SimDisk, change: impl FnOnce(&SimDisk)) -> SimDisk {
    let disk = copy(good);
    change(&disk);
    disk
}

/// A storage that was closed in order.
fn closed() -> SimDisk {
    let (disk, _) = written();
    open(&disk, small()).unwrap().close();
    copy(&disk)
}

/// The error, which is one line that names a path; nothing is changed, created or locked.
fn refusal(disk: &SimDisk) -> OpenError {
    let before = disk.op_count();
    let error = open(disk, small()).err().expect("it is refused");
    let text = error.to_string();
    assert!(text.contains("/data") && !text.contains('\n'), "{text:?}");
    assert_eq!(disk.op_count(), before, "{text}: {:?}", disk.ops().get(before..));
    error
}

/// That the file is damaged from its end on.
fn refused_at_end(disk: &SimDisk, path: &Path) {
    let len = disk.read(path).unwrap().len() as u64;
    let error = refusal(disk);
    let expected = |error: &OpenError| matches!(error, OpenError::Damaged { path: named, offset, .. } if named == path && *offset == len);
    assert!(expected(&error), "{} of {len} bytes: {error}", path.display());
}

#[test]
fn who_comes_second_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let storage = open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    inbox.commit(&*storage, &[(Oid(1), Tid::ZERO, b"one")]).unwrap();
    assert!(matches!(refusal(&disk), OpenError::Locked(_)));
    inbox.commit(&*storage, &[(Oid(2), Tid::ZERO, b"two")]).unwrap();
    storage.close();
    drop(storage);
    assert_eq!(open(&disk, small()).unwrap().extent().objects, 2);
}

#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    let foreign = |files: &[(&str, &[u8])]| {
        let disk = SimDisk::new();
        for (path, bytes) in files {
            disk.create_dir(Path::new(path).parent().unwrap()).unwrap();
            put(&disk, path, bytes);
        }
        disk
    };
    let cases = [
        foreign(&[("/data/Data.fs", b"FS21")]),
        foreign(&[("/data/tmp/letter", b"dear")]),
        foreign(&[("/data/torn/page", b"")]),
        foreign(&[("/data/segments/orange", b"")]),
        foreign(&[("/data/segments/00000001.idx", b"")]),
        foreign(&[("/data/lock/key", b"")]),
        foreign(&[("/data/lock", b"1234")]),
        foreign(&[("/data/segments", b"")]),
        foreign(&[("/data/next-oid", b"2\n")]),
        foreign(&[("/data/next-oid.new", &[0; 33])]),
        foreign(&[("/data/format.new", &[0; 257])]),
    ];
    for disk in cases {
        let files = disk.contents();
        let error = refusal(&disk);
        assert!(
            matches!(error, OpenError::Foreign(_) | OpenError::Io { .. }),
            "{error}: {:?}",
            files.keys()
        );
    }
}

#[test]
fn a_storage_that_lost_a_file_is_left_alone() {
    let good = written().0;
    let cases = [
        changed(&good, |disk| remove(disk, "/data/segments/00000001.log")),
        changed(&good, |disk| remove(disk, "/data/segments/00000002.log")),
        changed(&good, |disk| remove(disk, "/data/next-oid")),
        changed(&good, |disk| put(disk, "/data/next-oid", b"many")),
        changed(&good, |disk| put(disk, "/data/format", b"zeoxide storage, format 99\n")),
        changed(&good, |disk| put(disk, "/data/format", b"")),
        changed(&good, |disk| disk.corrupt("/data/format", 40)),
        changed(&good, |disk| put(disk, "/data/segments/00000001.log", b"")),
        changed(&good, |disk| {
            // Nor is a torn end cut.
            let last = segments(disk).pop().unwrap();
            resize(disk, &last, disk.read(&last).unwrap().len() - 1);
            put(disk, "/data/next-oid", b"many");
            remove(disk, "/data/lock");
        }),
    ];
    cases.iter().for_each(|disk| drop(refusal(disk)));
}

#[test]
fn a_storage_without_its_format_is_not_made_anew() {
    let (written, model) = written();
    let one_segment = SimDisk::new();
    let storage = open(&one_segment, small()).unwrap();
    Inbox::new().commit(&*storage, &[(Oid(1), Tid::ZERO, b"data")]).unwrap();
    let unused = SimDisk::new();
    let storage = open(&unused, small()).unwrap();
    Inbox::new().new_oids(&*storage, 1).unwrap();
    for good in [&written, &one_segment, &unused] {
        for with_lock in [true, false] {
            let disk = changed(good, |disk| remove(disk, "/data/format"));
            if !with_lock {
                remove(&disk, "/data/lock");
            }
            let error = refusal(&disk);
            let missing = Path::new("/data/format");
            assert!(matches!(&error, OpenError::Missing(path) if path == missing), "{error}");
        }
    }
    // All but the lock is there: it is made again.
    let disk = changed(&written, |disk| remove(disk, "/data/lock"));
    compare::same_content(&*open(&disk, small()).unwrap(), &Inbox::new(), &model, &[]).unwrap();
}

#[test]
fn who_comes_late_to_a_new_directory_gets_what_another_one_made_there() {
    let disk = SimDisk::new();
    let late = prepare(&disk).unwrap();
    let later = prepare(&disk).unwrap();
    let first = open(&disk, small()).unwrap();
    assert!(matches!(late.start(Clock::new()).err(), Some(OpenError::Locked(_))));
    let tid = Inbox::new().commit(&*first, &[(Oid(1), Tid::ZERO, b"data")]).unwrap();
    first.close();
    drop(first);
    assert_eq!(later.start(Clock::new()).unwrap().current_tid(Oid(1)), Ok(tid));
}

#[test]
fn preparing_changes_nothing_and_keeps_others_out() {
    // A torn end, a segment that was not used, and temporary files: all that a start tidies up.
    let (disk, _) = written();
    let last = segments(&disk).pop().unwrap();
    resize(&disk, &last, disk.read(&last).unwrap().len() - 1);
    let next = last.with_file_name(format!("{:08}.log", segments(&disk).len() + 1));
    put(&disk, next.to_str().unwrap(), b"");
    put(&disk, "/data/tmp/left", b"data");
    let disk = copy(&disk);
    let before = disk.op_count();
    let prepared = prepare(&disk).unwrap();
    assert!(matches!(prepare(&disk).err(), Some(OpenError::Locked(_))));
    drop(prepared);
    let prepared = prepare(&disk).unwrap();
    assert_eq!(disk.op_count(), before);
    drop(prepared.start(Clock::new()).unwrap());
    assert_eq!(disk.files("/data/torn", "").len(), 1);
    assert!(disk.read(&next).is_none() && disk.read("/data/tmp/left").is_none());

    let fresh = SimDisk::new();
    drop(prepare(&fresh).unwrap());
    assert_eq!(fresh.op_count(), 0);
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    for disk in [SimDisk::new(), copy(&written().0)] {
        disk.inject(Fault::io(Call::CheckWritable));
        assert!(prepare(&disk).err().unwrap().to_string().contains("Input/output error"));
        assert!(prepare(&disk).is_ok());
    }
}

#[test]
fn what_an_index_says_was_durable_must_be_there() {
    let good = closed();
    for path in segments(&good) {
        let len = good.read(&path).unwrap().len();
        for cut in (0..len).step_by(7) {
            let disk = changed(&good, |disk| resize(disk, &path, cut));
            let last = segments(&good).last() == Some(&path);
            // Where there is no header, that is said.
            if last || cut >= 64 { refused_at_end(&disk, &path) } else { drop(refusal(&disk)) }
        }
        let disk = changed(&good, |disk| remove(disk, &path));
        let error = refusal(&disk);
        assert!(matches!(&error, OpenError::Missing(missing) if *missing == path), "{error}");
    }
}

#[test]
fn what_the_next_segment_follows_must_be_there() {
    let (disk, _) = written();
    remove_indexes(&disk);
    let all = segments(&disk);
    let [.., before, last] = &all[..] else { panic!("{all:?}") };
    // A crash came just after the last one was made.
    resize(&disk, last, 64);
    drop(open(&copy(&disk), small()).unwrap());
    let len = disk.read(before).unwrap().len();
    let torn = changed(&disk, |disk| resize(disk, before, len - 1));
    let error = refusal(&torn);
    let expected =
        |error: &OpenError| matches!(error, OpenError::Damaged { path, .. } if path == before);
    assert!(expected(&error), "{error}");
    // Without its header nothing can be said.
    let torn = changed(&torn, |disk| resize(disk, last, 63));
    drop(open(&torn, small()).unwrap());
}

#[test]
fn an_index_that_cannot_be_read_is_not_needed() {
    let (disk, model) = written();
    open(&disk, small()).unwrap().close();
    for call in [Call::Open, Call::Read] {
        let disk = copy(&disk);
        disk.inject(Fault::io(call).on("00000002.idx"));
        let lines = report::reports(|| {
            let storage = open(&disk, small()).unwrap();
            compare::same_content(&*storage, &Inbox::new(), &model, &[]).unwrap();
            storage.close();
        });
        let told = |line: &&String| line.starts_with("WARN") && line.contains("00000002.idx");
        assert_eq!(lines.iter().filter(told).count(), 1, "{lines:?}");
        // It was made again.
        assert_eq!(report::reports(|| drop(open(&copy(&disk), small()).unwrap())), [""; 0]);
    }
}

#[test]
fn a_segment_that_cannot_be_read_is_named_with_the_place() {
    let (disk, _) = written();
    remove_indexes(&disk);
    // The header is read by itself.
    for (skip, place) in [(0, 0), (1, 64)] {
        let disk = copy(&disk);
        disk.inject(Fault::io(Call::Read).on("00000002.log").after(skip));
        let error = refusal(&disk);
        let text = error.to_string();
        let expected = matches!(&error, OpenError::Read { offset, .. } if *offset == place);
        assert!(expected && text.contains("00000002.log"), "{text}");
    }
}

#[test]
fn a_torn_end_that_cannot_be_set_aside_stays_where_it_is() {
    let (disk, _) = written();
    let last = segments(&disk).pop().unwrap();
    let len = disk.read(&last).unwrap().len();
    resize(&disk, &last, len - 1);
    for fault in [Fault::full(Call::Open), Fault::full(Call::Write).torn(), Fault::io(Call::Sync)] {
        let disk = copy(&disk);
        let before = disk.contents();
        disk.inject(fault.clone().on("/data/torn/"));
        let error = open(&disk, small()).err().unwrap().to_string();
        assert!(error.contains("/data/torn/0000"), "{fault:?}: {error}");
        assert_eq!(disk.contents(), before, "{fault:?}");
        drop(open(&disk, small()).unwrap());
        let [aside] = &disk.files("/data/torn", "")[..] else { panic!("one file is kept") };
        assert!(before[&last].ends_with(&disk.read(aside).unwrap()), "{fault:?}");
    }
}

#[test]
fn a_start_reads_what_no_index_describes() {
    for clean in [true, false] {
        let (disk, _) = written();
        let storage = open(&disk, small()).unwrap();
        if clean {
            storage.close();
        } else {
            let inbox = Inbox::new();
            // The second one starts a segment; when the third one is answered, the one thread
            // that writes indexes has been asked to.
            for (oid, len) in [(1 << 20, 4096), (1 << 21, 0), (1 << 22, 4096)] {
                let data = vec![0; len];
                inbox.commit(&*storage, &[(Oid(oid), Tid::ZERO, &data)]).unwrap();
            }
            // It waits for that thread.
            disk.set_cached(false);
            let which = storage::Which::Before(Tid::MAX);
            inbox.load(&*storage, Oid(1 << 20), which).unwrap();
        }
        let disk = copy(&disk);
        drop(open(&disk, small()).unwrap());
        let all = segments(&disk);
        let last = all.last().unwrap();
        for path in &all {
            let (read, len) = (disk.read_bytes(path), disk.read(path).unwrap().len() as u64);
            if clean || path != last {
                // Twice the header at most.
                assert!(read <= 128, "{read} of {len} bytes of {} are read", path.display());
            } else {
                assert!(len > 4096 && (len..len + 128).contains(&read), "{read} of {len} bytes");
            }
        }
    }
}

#[test]
fn a_storage_tells_its_size() {
    let disk = SimDisk::new();
    let mut storage = open(&disk, small()).unwrap();
    let inbox = Inbox::new();
    for number in 1..=20 {
        inbox.commit(&*storage, &[(Oid(number), Tid::ZERO, &[1; 500])]).unwrap();
        let extent = storage.extent();
        assert_eq!(extent.objects, number);
        let length = |path| disk.read(path).unwrap().len() as u64;
        let logs = disk.files("/data/segments", ".log");
        assert_eq!(extent.bytes, logs.into_iter().map(length).sum::<u64>());
        assert!(extent.bytes > 500 * number);
        if number % 5 == 0 {
            storage.close();
            drop(storage);
            storage = open(&disk, small()).unwrap();
            assert_eq!(storage.extent(), extent);
        }
    }
}

#[test]
fn any_number_of_transactions_may_be_remembered() {
    let (disk, model) = written();
    let all = model.tids().count();
    // With all indexes, and without.
    for clean in [true, false] {
        for count in [0, 1, all - 1, all, usize::MAX] {
            let options = Options { invalidation_queue_size: count, ..small() };
            let disk = copy(&disk);
            if clean {
                open(&disk, small()).unwrap().close();
            }
            let storage = open(&copy(&disk), options).unwrap();
            compare::same_invalidations(&*storage, &model, count).unwrap();
        }
    }
}
