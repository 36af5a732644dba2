//! Files that are not as they were written.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "support/report.rs"]
mod report;
mod support;

use std::io::IoSlice;
use std::path::Path;

use protocol::{Failure, Oid, Tid};
use storage::disk::{Disk, Open};
use storage::{OpenError, Options, Storage, Sync, Which};
use testkit::{Change, Draft, Inbox, Model, SimDisk, Write, compare};

use support::{copy, mapped, open, remove_indexes, resize, segments, small, written};

fn holds_read_so(disk: &SimDisk, options: Options, model: &Model) -> Result<(), String> {
    let storage = open(disk, options).map_err(|error| error.to_string())?;
    compare::same_content(&*storage, &Inbox::new(), model, &[])
}

/// However it is read.
fn holds(disk: &SimDisk, model: &Model) -> Result<(), String> {
    let through_mappings = holds_read_so(&copy(disk), mapped(), model);
    let found = holds_read_so(disk, small(), model);
    assert_eq!(through_mappings, found);
    found
}

/// Where the last batch starts.
fn last_write(disk: &SimDisk, path: &Path) -> usize {
    let ops = disk.ops();
    let mut writes = ops.iter().rev().filter(|op| op.path == path);
    writes
        .find_map(|op| match op.change {
            Change::Write { offset, .. } => Some(offset),
            _ => None,
        })
        .unwrap()
}

/// The error names the file, and an offset not behind `offset`; and nothing was changed.
fn refused(disk: &SimDisk, path: &Path, offset: usize) {
    let before = disk.contents();
    let error = open(disk, small()).err().expect("damage is refused");
    assert_eq!(disk.contents(), before, "nothing is changed");
    let text = error.to_string();
    let OpenError::Damaged { path: named, offset: from, .. } = error else {
        panic!("byte {offset} of {}: {text}", path.display())
    };
    assert!(named == path && from <= offset as u64, "byte {offset} of {}: {text}", path.display());
    assert!(text.contains(path.to_str().unwrap()) && text.contains(&from.to_string()), "{text}");
}

#[test]
fn damage_before_the_last_batch_is_refused() {
    let (disk, model) = written();
    remove_indexes(&disk);
    let (mut flips, mut harmless) = (0, 0);
    for path in segments(&disk) {
        let last = segments(&disk).last() == Some(&path);
        let end = if last { last_write(&disk, &path) } else { disk.read(&path).unwrap().len() };
        for offset in (0..end).step_by(13) {
            let damaged = copy(&disk);
            damaged.corrupt(&path, offset);
            flips += 1;
            // Between records there are bytes that mean nothing.
            if holds(&copy(&damaged), &model).is_ok() {
                harmless += 1;
            } else {
                refused(&damaged, &path, offset);
            }
        }
    }
    assert!(harmless * 50 < flips, "{harmless} of {flips} are not noticed");
}

#[test]
fn damage_below_an_index_is_noticed_at_the_latest_when_it_is_read() {
    let (disk, model) = written();
    open(&disk, small()).unwrap().close();
    for path in segments(&disk) {
        for offset in (0..disk.read(&path).unwrap().len()).step_by(19) {
            for options in [small(), mapped()] {
                let damaged = copy(&disk);
                damaged.corrupt(&path, offset);
                let before = damaged.contents();
                match open(&damaged, options) {
                    Ok(storage) => right_or_told(&*storage, &model, &path),
                    Err(_) => assert_eq!(damaged.contents(), before),
                }
            }
        }
    }
}

/// Every revision is what the model has, or an error that names the file.
fn right_or_told(storage: &dyn Storage, model: &Model, path: &Path) {
    let inbox = Inbox::new();
    for oid in model.oids() {
        for tid in model.revisions(oid) {
            let which = Which::Serial(tid);
            match inbox.load(storage, oid, which) {
                Err(Failure::Storage(text)) => {
                    assert!(text.contains(path.to_str().unwrap()), "{text}");
                }
                found => assert_eq!(found, model.load(oid, which)),
            }
        }
    }
}

#[test]
fn a_damaged_index_is_noticed_and_made_again() {
    let (disk, model) = written();
    open(&disk, small()).unwrap().close();
    let indexes = disk.files("/data/segments", ".idx");
    assert_eq!(indexes.len(), segments(&disk).len());
    for path in &indexes {
        let len = disk.read(path).unwrap().len();
        let flips = (0..len).step_by(9).map(|offset| (offset, true));
        let cuts = (0..len).step_by(17).map(|offset| (offset, false));
        for (offset, flip) in flips.chain(cuts) {
            let damaged = copy(&disk);
            if flip {
                damaged.corrupt(path, offset);
            } else {
                resize(&damaged, path, offset);
            }
            holds(&damaged, &model).unwrap();
            open(&damaged, small()).unwrap().close();
            holds(&copy(&damaged), &model).unwrap();
            // Now it covers the segment again, which a start need not read.
            let segment = path.with_extension("log");
            damaged.corrupt(&segment, damaged.read(&segment).unwrap().len() / 2);
            open(&damaged, small()).unwrap();
        }
    }
}

#[test]
fn an_index_of_another_segment_is_not_believed() {
    let (disk, model) = written();
    open(&disk, small()).unwrap().close();
    let indexes = disk.files("/data/segments", ".idx");
    let bytes = disk.read(&indexes[0]).unwrap();
    let file = disk.open(&indexes[1], Open::Truncated).unwrap();
    file.write_all_at(&[IoSlice::new(&bytes)], 0).unwrap();
    holds(&disk, &model).unwrap();
}

#[test]
fn a_torn_end_is_cut_kept_and_reported() {
    let (disk, model) = written();
    let path = segments(&disk).pop().unwrap();
    let (whole, start) = (disk.read(&path).unwrap(), last_write(&disk, &path));
    let mut shorter = Model::new();
    let last = model.last_tid();
    let mut earlier: Vec<_> = model.tids().filter(|tid| *tid < last).collect();
    for tid in earlier.drain(..) {
        let mut draft = Draft::default();
        for oid in model.changed(Tid(tid.0 - 1), tid) {
            let data = model.load(oid, Which::Serial(tid)).unwrap().unwrap().data;
            draft.write(oid, Write::Restore(Some(data)));
        }
        shorter.apply(tid, &draft);
    }
    for len in (start + 1..whole.len()).step_by(3) {
        let torn = copy(&disk);
        resize(&torn, &path, len);
        let lines = report::reports(|| holds_read_so(&torn, mapped(), &shorter).unwrap());
        assert_eq!(torn.read(&path).unwrap(), whole[..start]);
        let [kept] = &torn.files("/data/torn", "")[..] else { panic!("one file is kept") };
        assert_eq!(torn.read(kept).unwrap(), whole[start..len]);
        let told = |line: &&String| {
            let name = |path: &Path| path.to_str().unwrap().to_owned();
            line.starts_with("WARN")
                && [name(&path), name(kept), start.to_string()]
                    .iter()
                    .all(|part| line.contains(part))
        };
        assert_eq!(lines.iter().filter(told).count(), 1, "{lines:?}");
    }
}

#[test]
fn without_syncs_damage_before_a_checkpoint_is_refused() {
    let disk = SimDisk::new();
    let options = Options { sync: Sync::None, reader_threads: 1, ..Options::default() };
    let storage = open(&disk, options).unwrap();
    let inbox = Inbox::new();
    let commit = |oid, data: &[u8]| inbox.commit(&*storage, &[(Oid(oid), Tid::ZERO, data)]);
    for number in 1..=8 {
        commit(number, &vec![1; 4 << 20]).unwrap();
    }
    // When this is answered, the one thread that makes checkpoints has been asked to, and a load
    // waits for it.
    commit(9, b"after 32 MiB").unwrap();
    disk.set_cached(false);
    inbox.load(&*storage, Oid(9), Which::Before(Tid::MAX)).unwrap();
    assert_eq!(disk.files("/data", ".idx").len(), 1);
    commit(10, b"after the checkpoint").unwrap();
    let killed = copy(&disk);
    remove_indexes(&killed);
    let path = killed.files("/data/segments", ".log").remove(0);
    killed.corrupt(&path, 1 << 20);
    refused(&killed, &path, 1 << 20);
}
