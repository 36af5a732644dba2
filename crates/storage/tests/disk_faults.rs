//! Space that ends, and a medium that fails: what is answered stays true, and reads go on.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

#[path = "crash/script.rs"]
mod script;
mod support;
#[path = "crash/verdict.rs"]
mod verdict;

use protocol::{Failure, Oid, Tid};
use storage::disk::Disk;
use storage::{Options, Transaction, Vote, Which};
use testkit::{Call, Change, Fault, Inbox, Op, SimDisk, compare};

use script::Script;
use support::{mapped, small};
use verdict::{Promise, judge};

/// A workload under way.
fn begun(options: Options) -> Script {
    let mut script = Script::new(7, options);
    (0..4).for_each(|_| script.round());
    script
}

fn reads_go_on(script: &Script) {
    compare::same_content(&*script.storage, &script.inbox, &script.model, &[]).unwrap();
}

/// Kills and cuts the power at every moment from `from` on.
fn crash_everywhere(script: &Script, from: usize) {
    let all = script.disk.ops();
    for ops in from..=all.len() {
        // What a failed sync has lost can still be read until the power goes. Until it is cut,
        // one who is killed cannot know that it is not there.
        let of_log = |op: &&Op| op.path.extension().is_some_and(|extension| extension == "log");
        let last = all[..ops].iter().rfind(of_log).map(|op| &op.change);
        let hidden = matches!(last, Some(Change::SyncFailed { .. }));
        let killed = (!hidden).then(|| script.disk.killed(ops));
        for image in killed.into_iter().chain([script.disk.power_cut(ops, ops as u64)]) {
            if let Err(what) = judge(script, &image, ops, Promise::Answered, ops as u64) {
                let last = &all[ops - 1];
                let started = image.op_count() > 0;
                panic!("after {ops} changes ({last:?}), killed: {started}: {what}");
            }
        }
    }
}

fn storage_says(failures: &[Failure], what: &str) {
    assert!(!failures.is_empty());
    for failure in failures {
        let Failure::Storage(text) = failure else { panic!("{failure:?} says nothing") };
        assert!(text.contains(what), "{text:?} should say {what:?}");
    }
}

const NO_SPACE: &str = "No space left on device";
const IO_ERROR: &str = "Input/output error";

#[test]
fn a_disk_that_is_full_at_the_vote_fails_that_transaction_only() {
    let disk = SimDisk::new();
    // Nothing is spilled: that would fail before the vote.
    let options = Options { spill_bytes: 1 << 20, ..small() };
    drop(support::open(&disk, options).unwrap());
    disk.set_capacity_bytes(Some(disk.used_bytes() + 5000));
    let mut script = Script::on(disk, 7, options);
    let mut failures = Vec::new();
    while failures.is_empty() {
        failures = script.rough_round(|_| ());
    }
    storage_says(&failures, NO_SPACE);
    reads_go_on(&script);
    let from = script.disk.op_count();
    script.disk.set_capacity_bytes(None);
    (0..3).for_each(|_| script.round());
    reads_go_on(&script);
    crash_everywhere(&script, from);
}

#[test]
fn a_disk_that_is_full_at_the_finish_fails_what_it_would_have_written() {
    for torn in [false, true] {
        let mut script = begun(small());
        let from = script.disk.op_count();
        for _ in 0..3 {
            let fault = Fault::full(Call::Write).on(".log");
            let fault = if torn { fault.torn() } else { fault };
            let failures = script.rough_round(|disk| disk.inject(fault));
            storage_says(&failures, NO_SPACE);
            reads_go_on(&script);
            // There is space again.
            script.round();
            reads_go_on(&script);
        }
        crash_everywhere(&script, from);
    }
}

#[test]
fn a_vote_that_asks_for_too_much_leaves_the_space_to_others() {
    let script = begun(Options { spill_bytes: 1 << 30, ..small() });
    let mut voted = voted(&script, Oid(1 << 40), 3000);
    script.disk.set_capacity_bytes(Some(script.disk.used_bytes() + 30_000_000));
    let used = script.disk.used_bytes();
    let mut huge = script.storage.begin(support::meta());
    huge.store(Oid(1 << 41), Tid::ZERO, vec![1; 50_000_000].into()).unwrap();
    storage_says(&[script.inbox.vote(&mut *huge).unwrap_err()], NO_SPACE);
    drop(huge);
    assert!(script.disk.used_bytes() <= used, "{} of {used}", script.disk.used_bytes());
    // What others were promised is still theirs, even if somebody else takes the rest.
    script.disk.set_capacity_bytes(Some(script.disk.used_bytes()));
    script.inbox.finish(&mut *voted).unwrap();
    script.disk.set_capacity_bytes(None);
    let reads = script.inbox.load(&*script.storage, Oid(1 << 40), Which::Before(Tid::MAX));
    assert_eq!(reads.unwrap().unwrap().data.len(), 3000);
}

/// A transaction with a promise, that creates an object of so many bytes.
fn voted(script: &Script, oid: Oid, bytes: usize) -> Box<dyn Transaction> {
    let mut transaction = script.storage.begin(support::meta());
    transaction.store(oid, Tid::ZERO, vec![1; bytes].into()).unwrap();
    assert_eq!(script.inbox.vote(&mut *transaction), Ok(Vote::Promised));
    transaction
}

#[test]
fn a_vote_takes_what_it_needs_where_more_is_not_to_be_had() {
    for fault in [Fault::full(Call::Reserve), Fault::quota(Call::Reserve)] {
        let script = begun(small());
        script.disk.inject(fault);
        // More than what is allocated by then.
        script.inbox.finish(&mut *voted(&script, Oid(1 << 40), 20_000_000)).unwrap();
        assert!(script.disk.used_bytes() < 21_000_000, "no more than that");
    }
}

#[test]
fn what_was_promised_fits_even_if_the_disk_fills_up_after_the_vote() {
    let mut script = begun(small());
    for _ in 0..8 {
        let failures = script.rough_round(|disk| {
            // All of it is somebody else's now.
            disk.set_capacity_bytes(Some(disk.used_bytes()));
        });
        script.disk.set_capacity_bytes(None);
        assert_eq!(failures, []);
    }
    reads_go_on(&script);
}

#[test]
fn after_a_failed_sync_writes_are_refused_and_reads_go_on() {
    for forever in [false, true] {
        let mut script = begun(small());
        let from = script.disk.op_count();
        let mut voted = script.storage.begin(support::meta());
        voted.store(Oid(1 << 40), Tid::ZERO, "promised, and never done".into()).unwrap();
        assert_eq!(script.inbox.vote(&mut *voted), Ok(Vote::Promised));

        let fault = Fault::io(Call::Sync).on(".log");
        let fault = if forever { fault.forever() } else { fault };
        let failures = script.rough_round(|disk| disk.inject(fault));
        storage_says(&failures, IO_ERROR);
        storage_says(&[script.inbox.finish(&mut *voted).unwrap_err()], IO_ERROR);
        for _ in 0..2 {
            storage_says(&script.rough_round(|_| ()), IO_ERROR);
            reads_go_on(&script);
        }
        // Nobody can say whether what failed is there.
        for told in script.told.iter_mut().filter(|told| told.asked.is_some()) {
            told.answer.take_if(|(answer, _)| answer.is_err());
        }
        crash_everywhere(&script, from);
        script.disk.clear_faults();
        script.storage.close();
        let end = script.disk.op_count();
        judge(&script, &script.disk.killed(end), end, Promise::Answered, 0).unwrap();
    }
}

#[test]
fn a_sync_that_finds_no_space_fails_what_it_would_have_made_durable() {
    for (fault, says) in [(Fault::full(Call::Sync), NO_SPACE), (Fault::quota(Call::Sync), "uota")] {
        let mut script = begun(small());
        let from = script.disk.op_count();
        for _ in 0..3 {
            let fault = fault.clone().on(".log");
            storage_says(&script.rough_round(|disk| disk.inject(fault)), says);
            reads_go_on(&script);
            // There is space again.
            script.round();
            reads_go_on(&script);
        }
        crash_everywhere(&script, from);
    }
}

#[test]
fn what_cannot_be_taken_back_stops_writes() {
    let full = |call| Fault::full(call).on(".log");
    let io = |call| Fault::io(call).on(".log");
    for (fault, then) in [
        (full(Call::Write), io(Call::Sync)),
        (full(Call::Write).torn(), io(Call::Sync)),
        (full(Call::Sync), io(Call::Sync)),
        (full(Call::Sync), io(Call::SetLen)),
    ] {
        let mut script = begun(small());
        let from = script.disk.op_count();
        let failures = script.rough_round(|disk| {
            disk.inject(fault);
            disk.inject(then);
        });
        storage_says(&failures, NO_SPACE);
        storage_says(&failures, IO_ERROR);
        storage_says(&script.rough_round(|_| ()), "refuses writes");
        reads_go_on(&script);
        // Nobody can say whether what failed is there.
        for told in script.told.iter_mut().filter(|told| told.asked.is_some()) {
            told.answer.take_if(|(answer, _)| answer.is_err());
        }
        crash_everywhere(&script, from);
    }
}

#[test]
fn a_failed_write_fails_what_it_would_have_written() {
    let faults = [Fault::io(Call::Write), Fault::io(Call::Write).torn()];
    for (fault, options) in faults.into_iter().flat_map(|f| [(f.clone(), small()), (f, mapped())]) {
        let mut script = begun(options);
        let from = script.disk.op_count();
        let failures = script.rough_round(|disk| disk.inject(fault.on(".log")));
        storage_says(&failures, IO_ERROR);
        reads_go_on(&script);
        crash_everywhere(&script, from);
    }
}

#[test]
fn trouble_with_a_new_segment_or_an_index_stops_nobody() {
    all_lived_with([
        Fault::io(Call::Open).on("00000002.log"),
        Fault::full(Call::Open).on("00000002.log"),
        Fault::full(Call::Write).on("00000002.log"),
        Fault::full(Call::Write).on("00000002.log").torn(),
        Fault::full(Call::Reserve).on("00000002.log"),
        Fault::io(Call::SetLen).on(".log"),
        Fault::io(Call::Open).on(".idx"),
        Fault::full(Call::Write).on(".idx").torn(),
        Fault::full(Call::Write).on(".idx").forever(),
    ]);
}

#[test]
fn a_new_segment_that_is_given_up_leaves_no_trace() {
    all_lived_with([
        Fault::io(Call::Sync).on("00000002.log"),
        Fault::io(Call::Reserve).on("00000002.log"),
        Fault::full(Call::Reserve).on("00000002.log").forever(),
        Fault::io(Call::SyncDir).on("segments"),
    ]);
}

fn all_lived_with<const N: usize>(faults: [Fault; N]) {
    let options = Options { segment_bytes: 1000, ..small() };
    let wrong: Vec<_> = faults.into_iter().filter_map(|fault| lives_with(fault, options)).collect();
    assert_eq!(wrong, [""; 0]);
}

/// What goes wrong with this fault, if anything does.
fn lives_with(fault: Fault, options: Options) -> Option<String> {
    let mut script = Script::new(7, options);
    let from = script.disk.op_count();
    script.disk.inject(fault.clone());
    for _ in 0..6 {
        let failures = script.rough_round(|_| ());
        assert_eq!(failures, [], "{fault:?}");
    }
    reads_go_on(&script);
    for ops in from..=script.disk.op_count() {
        let killed = (ops % 3 == 0).then(|| script.disk.killed(ops));
        for image in killed.into_iter().chain([script.disk.power_cut(ops, ops as u64)]) {
            if let Err(what) = judge(&script, &image, ops, Promise::Answered, ops as u64) {
                return Some(format!("{fault:?}: after {ops} changes: {what}"));
            }
        }
    }
    None
}

#[test]
fn a_failed_read_fails_that_load_only() {
    for cached in [true, false] {
        let script = begun(small());
        script.disk.set_cached(cached);
        let oid = script.told[0].marker;
        let load = || script.inbox.load(&*script.storage, oid, Which::Before(Tid::MAX));
        script.disk.inject(Fault::io(Call::Read).on("00000001.log"));
        storage_says(&[load().unwrap_err()], "00000001.log");
        assert!(load().unwrap().is_some());
    }
}

#[test]
fn oids_that_cannot_be_reserved_are_not_handed_out() {
    for call in [Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
        let disk = SimDisk::new();
        let storage = support::open(&disk, small()).unwrap();
        let inbox = Inbox::new();
        disk.inject(Fault::io(call));
        storage_says(&[inbox.new_oids(&*storage, 10).unwrap_err()], IO_ERROR);
        let oids = inbox.new_oids(&*storage, 10).unwrap();
        for seed in 0..20 {
            let left = disk.power_cut(disk.op_count(), seed);
            let storage = support::open(&left, small()).unwrap();
            let more = inbox.new_oids(&*storage, 10).unwrap();
            assert!(more.iter().all(|oid| !oids.contains(oid)), "{call:?}: {oids:?}, {more:?}");
        }
    }
}

#[test]
fn a_transaction_that_cannot_be_spilled_fails() {
    let script = begun(small());
    let full = Fault::full(Call::Write).on("/data/tmp");
    script.disk.inject(full);
    let mut transaction = script.storage.begin(support::meta());
    let stored = transaction.store(Oid(1 << 40), Tid::ZERO, vec![1; 5000].into());
    storage_says(&[stored.unwrap_err()], NO_SPACE);
    drop(transaction);
    reads_go_on(&script);
    let tid = script.inbox.commit(&*script.storage, &[(Oid(1 << 40), Tid::ZERO, &[1; 5000])]);
    assert!(tid.unwrap() > script.model.last_tid());
}

#[test]
fn a_temporary_file_that_cannot_be_read_fails_its_transaction_only() {
    let script = begun(small());
    let mut voted =
        [10, 20, 5000, 30].map(|bytes| voted(&script, Oid(bytes << 40), bytes as usize));
    script.disk.inject(Fault::io(Call::Read).on("/data/tmp"));
    let held = script.disk.hold(Call::Sync);
    let tickets = [0, 1, 2, 3].map(|number| {
        let reply = script.inbox.reply_to();
        let ticket = reply.ticket;
        voted[number].finish(reply).unwrap();
        if number == 0 {
            // The others are one batch.
            held.wait_for(1);
        }
        ticket
    });
    drop(held);
    let finished = tickets.map(|ticket| script.inbox.finished(ticket).0);
    let [Ok(first), Ok(second), Err(failure), Ok(last)] = finished else { panic!("{finished:?}") };
    assert!(first < second && second < last);
    let failures = [failure];
    storage_says(&failures, "/data/tmp/spill-");
    storage_says(&failures, IO_ERROR);
    for (oid, tid) in [(10, first), (20, second), (30, last)] {
        let which = Which::Before(Tid::MAX);
        let loaded = script.inbox.load(&*script.storage, Oid(oid << 40), which).unwrap().unwrap();
        assert_eq!((loaded.tid, loaded.data.len()), (tid, oid as usize));
    }
    assert_eq!(
        script.storage.current_tid(Oid(5000 << 40)),
        Err(Failure::UnknownOid(Oid(5000 << 40)))
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error() {
    for call in [Call::CreateDir, Call::Open, Call::Write, Call::Sync, Call::SyncDir, Call::Rename]
    {
        let disk = SimDisk::new();
        disk.inject(Fault::full(call).forever());
        let error = support::open(&disk, small()).err().unwrap().to_string();
        assert!(error.contains("/data") && error.contains(NO_SPACE), "{call:?}: {error}");
        disk.clear_faults();
        drop(support::open(&disk, small()).unwrap());
        assert_eq!(disk.list("/".as_ref()).unwrap(), ["data"]);
    }
}
