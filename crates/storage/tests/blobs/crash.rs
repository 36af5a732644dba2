//! Every moment at which the power may go or the process be killed.

use std::collections::BTreeSet;

use protocol::{Oid, Tid};
use storage::Vote;
use testkit::{Call, Clock, Fault, Inbox, SimDisk};

use super::{BLOBS, files, location, path};
use crate::support::{meta, number, small};

/// A revision with a blob; `answered`: after how many changes its finish was.
struct Committed {
    oid: Oid,
    tid: Tid,
    blob: &'static [u8],
    answered: usize,
}

/// What happened, with the moments counted in changes of the disk.
struct Story {
    disk: SimDisk,
    committed: Vec<Committed>,
}

#[test]
fn a_record_has_its_file_and_a_file_its_record_after_every_crash() {
    let story = story();
    let images = number("CRASH_IMAGES", 4);
    for ops in 0..=story.disk.op_count() {
        judge(&story, &story.disk.killed(ops), ops, "killed");
        for image in 0..images {
            let seed = ops as u64 * images + image;
            judge(&story, &story.disk.power_cut(ops, seed), ops, &format!("seed {seed}"));
        }
    }
}

/// A crash while a start clears up after the first one.
#[test]
fn a_start_that_is_interrupted_loses_no_blob() {
    let story = story();
    for ops in (0..=story.disk.op_count()).step_by(3) {
        let image = story.disk.power_cut(ops, ops as u64);
        let Ok(storage) = storage::open(&location(), small(), &image.handle(), Clock::new()) else {
            panic!("after {ops} changes it does not open");
        };
        drop(storage);
        for again in 0..=image.op_count() {
            let left = image.power_cut(again, again as u64);
            judge(&story, &left, ops, &format!("and {again} changes of the start"));
        }
    }
}

fn story() -> Story {
    let disk = SimDisk::new();
    let storage = storage::open(&location(), small(), &disk.handle(), Clock::new()).unwrap();
    let stamping = disk.clone();
    let inbox = Inbox::stamped(move || stamping.op_count());
    let mut committed: Vec<Committed> = Vec::new();
    let mut serials = [Tid::ZERO; 3];
    for round in 0..4 {
        // Two blobs, one of them empty, and an object without.
        let mut transaction = storage.begin(meta());
        let blobs: [&[u8]; 2] = [&[b'a' + round; 700], b""];
        for (number, blob) in blobs.into_iter().enumerate() {
            let upload =
                inbox.upload(&*storage, &[&blob[..blob.len() / 2], &blob[blob.len() / 2..]]);
            let oid = Oid(number as u64);
            transaction.store_blob(oid, serials[number], "data".into(), upload.unwrap()).unwrap();
        }
        transaction.store(Oid(2), serials[2], "data".into()).unwrap();
        assert_eq!(inbox.vote(&mut *transaction), Ok(Vote::Promised));
        match round {
            1 => disk.inject(Fault::full(Call::Write).on("segments")),
            2 => continue,
            _ => {}
        }
        let reply = inbox.reply_to();
        let ticket = reply.ticket;
        transaction.finish(reply).unwrap();
        let (answer, answered) = inbox.finished(ticket);
        let Ok(tid) = answer else {
            assert_eq!(round, 1);
            continue;
        };
        serials = [tid; 3];
        let first: &[u8] = if round == 0 { &[b'a'; 700] } else { &[b'd'; 700] };
        for (oid, blob) in [(Oid(0), first), (Oid(1), b"")] {
            committed.push(Committed { oid, tid, blob, answered });
        }
    }
    assert_eq!(committed.len(), 4);
    storage.close();
    Story { disk, committed }
}

/// Opens what a crash has left.
fn judge(story: &Story, image: &SimDisk, ops: usize, how: &str) {
    let after = || {
        let last = story.disk.ops().get(ops.wrapping_sub(1)).cloned();
        format!("after {ops} changes ({last:?}), {how}, {:#?}", image.contents().keys())
    };
    let opened = storage::open(&location(), small(), &image.handle(), Clock::new());
    let storage = opened.unwrap_or_else(|error| panic!("{error} {}", after()));
    let inbox = Inbox::new();
    let mut expected = BTreeSet::new();
    for Committed { oid, tid, blob, answered } in &story.committed {
        // The finish may have been asked and not answered.
        match inbox.load(&*storage, *oid, storage::Which::Serial(*tid)) {
            Ok(_) => {
                let found = inbox.blob(&*storage, *oid, *tid);
                assert_eq!(found.as_deref(), Ok(*blob), "{oid} as of {tid} {}", after());
                expected.insert(path(*oid, *tid));
            }
            Err(failure) => assert!(ops < *answered, "{failure} {}", after()),
        }
    }
    let found: BTreeSet<_> = files(image).into_iter().collect();
    assert_eq!(found, expected, "files in {BLOBS} {}", after());
}
