use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

use storage::disk::{Disk, File, Open};

use super::{Call, Fault, SimDisk};

fn create(disk: &SimDisk, path: &str) -> Arc<dyn File> {
    disk.open(Path::new(path), Open::New).unwrap()
}

fn write(file: &dyn File, offset: u64, data: &[u8]) -> std::io::Result<()> {
    // In two parts, as a gathered write.
    let (head, tail) = data.split_at(data.len() / 3);
    file.write_all_at(&[IoSlice::new(head), IoSlice::new(tail)], offset)
}

fn sync_root(disk: &SimDisk) {
    disk.sync_dir(Path::new("/")).unwrap();
}

/// What `path` contains after each of many power cuts.
fn outcomes(disk: &SimDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..500).map(|seed| disk.power_cut(disk.op_count(), seed).read(path)).collect()
}

#[test]
fn a_running_process_sees_what_it_wrote() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/a/b")).unwrap();
    let file = create(&disk, "/a/b/c");
    write(&*file, 2, b"hello").unwrap();
    assert_eq!(file.len().unwrap(), 7);
    let mut buf = [1; 4];
    file.read_exact_at(&mut buf, 1).unwrap();
    assert_eq!(&buf, b"\0hel");
    assert_eq!(file.read_exact_at(&mut buf, 4).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let (mut one, mut two) = ([0; 2], [0; 3]);
    let mut cached = |offset| {
        let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)];
        file.read_cached_at(&mut bufs, offset).unwrap()
    };
    assert!(!cached(3), "the file ends before");
    assert!(cached(2));
    disk.set_cached(false);
    assert!(!cached(2));
    assert_eq!((&one, &two), (b"he", b"llo"));
    disk.rename(Path::new("/a/b/c"), Path::new("/a/d")).unwrap();
    file.set_len(3).unwrap();
    assert_eq!(disk.read("/a/d").unwrap(), b"\0\0h", "a handle follows its file");
    assert_eq!(disk.list(Path::new("/a/b")).unwrap(), [""; 0]);
    assert_eq!(disk.list(Path::new("/a")).unwrap(), ["d", "b"]);
    disk.remove(Path::new("/a/d")).unwrap();
    assert_eq!(disk.list(Path::new("/a")).unwrap(), ["b"]);
}

#[test]
fn paths_are_checked() {
    let disk = SimDisk::new();
    let open = |path, how| disk.open(Path::new(path), how).map(drop).map_err(|e| e.kind());
    assert_eq!(open("/none/f", Open::New), Err(ErrorKind::NotFound));
    assert_eq!(open("/f", Open::Existing), Err(ErrorKind::NotFound));
    assert_eq!(open("/f", Open::New), Ok(()));
    assert_eq!(open("/f", Open::New), Err(ErrorKind::AlreadyExists));
    assert_eq!(open("/f/g", Open::New), Err(ErrorKind::NotADirectory));
    assert_eq!(open("/", Open::Truncated), Err(ErrorKind::IsADirectory));
    assert_eq!(disk.list(Path::new("/x")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_is_synced_survives_and_what_is_not_may_not() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    write(&*file, 0, b"first").unwrap();
    file.sync().unwrap();
    assert!(outcomes(&disk, "/f").contains(&None), "the name is not durable");
    sync_root(&disk);
    assert_eq!(outcomes(&disk, "/f"), [Some(b"first".to_vec())].into());
    write(&*file, 5, b" second").unwrap();
    let seen = outcomes(&disk, "/f");
    assert!(seen.iter().flatten().all(|bytes| bytes.starts_with(b"first")));
    for wanted in [&b"first"[..], b"first sec", b"first second", b"first\0\0\0\0\0\0\0"] {
        assert!(seen.contains(&Some(wanted.to_vec())), "{wanted:?} may be left");
    }
    assert_eq!(disk.killed(disk.op_count()).read("/f").unwrap(), b"first second");
    assert_eq!(disk.killed(disk.op_count() - 1).read("/f").unwrap(), b"first");
}

#[test]
fn sectors_survive_in_any_combination_but_each_in_one_state() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    write(&*file, 0, &[b'a'; 1536]).unwrap();
    file.sync().unwrap();
    sync_root(&disk);
    write(&*file, 100, &[b'b'; 1300]).unwrap();
    write(&*file, 600, &[b'c'; 10]).unwrap();
    let mut patterns = BTreeSet::new();
    for bytes in outcomes(&disk, "/f").into_iter().flatten() {
        assert_eq!(bytes.len(), 1536);
        patterns.insert([bytes[100], bytes[600], bytes[1399]]);
        assert_eq!((bytes[99], bytes[1400]), (b'a', b'a'));
    }
    for pattern in [b"aaa", b"baa", b"aba", b"aab", b"bab", b"aca", b"bcb", b"acb"] {
        assert!(patterns.contains(pattern), "{patterns:?}");
    }
}

#[test]
fn a_cut_that_is_not_synced_may_not_have_happened() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    write(&*file, 0, b"0123456789").unwrap();
    file.sync().unwrap();
    sync_root(&disk);
    file.set_len(4).unwrap();
    let seen = outcomes(&disk, "/f");
    for wanted in [&b"0123456789"[..], b"0123", b"0123\0\0\0\0\0\0"] {
        assert!(seen.contains(&Some(wanted.to_vec())), "{wanted:?} may be left");
    }
    assert!(seen.iter().flatten().all(|bytes| bytes.starts_with(b"0123")));
}

#[test]
fn a_rename_is_atomic_and_durable_after_its_directory() {
    let disk = SimDisk::new();
    for (path, data) in [("/old", b"old"), ("/new", b"new")] {
        let file = create(&disk, path);
        write(&*file, 0, data).unwrap();
        file.sync().unwrap();
    }
    sync_root(&disk);
    disk.rename(Path::new("/new"), Path::new("/old")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let left = disk.power_cut(disk.op_count(), seed);
        seen.insert((left.read("/old").unwrap(), left.read("/new").is_some()));
    }
    assert_eq!(seen, [(b"old".to_vec(), true), (b"new".to_vec(), false)].into());
    sync_root(&disk);
    assert_eq!(outcomes(&disk, "/old"), [Some(b"new".to_vec())].into());
}

#[test]
fn a_lost_directory_takes_its_files_with_it() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    create(&disk, "/d/f").sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(outcomes(&disk, "/d/f"), [None, Some(Vec::new())].into());
    sync_root(&disk);
    assert_eq!(outcomes(&disk, "/d/f"), [Some(Vec::new())].into());
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    (0..20).for_each(|i| write(&*file, i * 700, &[7; 1000]).unwrap());
    for seed in 0..20 {
        let [one, two] = [0; 2].map(|_| disk.power_cut(15, seed).contents());
        assert_eq!(one, two);
    }
}

#[test]
fn after_a_failed_sync_a_later_one_does_not_help() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    sync_root(&disk);
    write(&*file, 0, b"data").unwrap();
    disk.inject(Fault::io(Call::Sync).on("/f"));
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    file.sync().unwrap();
    let seen = outcomes(&disk, "/f");
    assert!(seen.contains(&Some(Vec::new())) && seen.contains(&Some(b"data".to_vec())));
}

#[test]
fn faults_hit_the_chosen_call() {
    let disk = SimDisk::new();
    let (one, two) = (create(&disk, "/one"), create(&disk, "/two"));
    disk.inject(Fault::io(Call::Write).on("two").after(1).torn());
    write(&*one, 0, b"1234").unwrap();
    write(&*two, 0, b"1234").unwrap();
    assert!(write(&*two, 4, b"5678").is_err());
    assert_eq!(disk.read("/two").unwrap(), b"123456");
    write(&*two, 4, b"5678").unwrap();
    disk.inject(Fault::full(Call::Reserve).forever());
    for _ in 0..2 {
        assert_eq!(one.reserve(9).unwrap_err().kind(), ErrorKind::StorageFull);
    }
    disk.clear_faults();
    one.reserve(9).unwrap();
}

#[test]
fn space_ends_and_comes_back() {
    let disk = SimDisk::new();
    let (one, two) = (create(&disk, "/one"), create(&disk, "/two"));
    disk.set_capacity_bytes(Some(10));
    write(&*one, 0, b"1234").unwrap();
    two.reserve(6).unwrap();
    assert_eq!(one.reserve(5).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(write(&*two, 0, b"12345678").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.read("/two").unwrap(), b"123456", "what fits");
    assert_eq!(one.set_len(5).unwrap_err().kind(), ErrorKind::StorageFull);
    write(&*one, 1, b"abc").unwrap();
    two.set_len(0).unwrap();
    write(&*one, 4, b"567890").unwrap();
    assert_eq!(disk.used_bytes(), 10);
    disk.set_capacity_bytes(None);
    write(&*one, 10, b"more").unwrap();
}

#[test]
fn locks_exclude_until_dropped_or_killed() {
    let disk = SimDisk::new();
    let lock = disk.lock(Path::new("/lock")).unwrap();
    let again = || disk.lock(Path::new("/lock")).map(drop).map_err(|error| error.kind());
    assert_eq!(again(), Err(ErrorKind::WouldBlock));
    disk.killed(disk.op_count()).lock(Path::new("/lock")).unwrap();
    drop(lock);
    assert_eq!(again(), Ok(()));
}

#[test]
fn held_calls_wait() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    let held = disk.hold(Call::Sync);
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| file.sync().unwrap());
        held.wait_for(1);
        let before = disk.op_count();
        write(&*file, 0, b"others go on").unwrap();
        assert_eq!(disk.op_count(), before + 1, "the sync is not done");
        drop(held);
        syncing.join().unwrap();
    });
    assert!(format!("{:?}", disk.ops().last().unwrap()).contains("sync"));
}

#[test]
fn corruption_is_durable() {
    let disk = SimDisk::new();
    let file = create(&disk, "/f");
    write(&*file, 0, b"aaaa").unwrap();
    file.sync().unwrap();
    sync_root(&disk);
    disk.corrupt("/f", 2);
    assert_eq!(outcomes(&disk, "/f"), [Some(b"aaea".to_vec())].into());
}
