//! `zeoxide verify --against`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use protocol::{Oid, Tid};
use serde_json::Value;
use storage::disk::{Disk, RealDisk};
use storage::replica::{Role, Step};
use storage::{Kind, Location, Meta, Options, Storage, SystemClock, Vote};
use testkit::Inbox;

use crate::run;

struct Written {
    meta: Meta,
    records: Vec<(Oid, Option<&'static str>, Option<Tid>)>,
    /// That the first record has.
    blob: Option<Vec<u8>>,
}

impl Written {
    fn tid(&self) -> Tid {
        self.meta.tid.unwrap()
    }
}

/// Seven transactions: object 1 is often superseded, 2 never, 4 has a blob, and 5 goes.
fn history() -> Vec<Written> {
    let records: [&[(u64, Option<&'static str>)]; 7] = [
        &[(2, Some("b")), (1, Some("a")), (5, Some("e"))],
        &[(1, Some("c"))],
        &[(3, Some("d")), (1, Some("e"))],
        &[(5, None)],
        &[(4, Some("has a blob"))],
        &[(1, Some("f"))],
        &[(3, Some("g"))],
    ];
    let written = |(records, tid): (&&[(u64, Option<&'static str>)], u64)| Written {
        meta: Meta {
            tid: Some(Tid(tid)),
            status: b' ',
            user: "user".into(),
            description: "description".into(),
            extension: Bytes::from_static(b"\x81\xa1a\x01"),
        },
        records: records.iter().map(|&(oid, data)| (Oid(oid), data, None)).collect(),
        blob: (tid == 5).then(|| vec![7; 200_000]),
    };
    records.iter().zip(1..).map(written).collect()
}

struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new(one: &[Written], other: &[Written]) -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        for (name, history) in [("one", one), ("other", other)] {
            let storage = pair.open(name);
            write(&*storage, history);
            storage.close();
        }
        pair
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn blobs(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}-blobs"))
    }

    fn open(&self, name: &str) -> Arc<dyn Storage> {
        let location = Location { kind: Kind::File(self.dir(name)), blobs: Some(self.blobs(name)) };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        storage::open(&location, Options::default(), &disk, Arc::new(SystemClock)).unwrap()
    }

    fn pack(&self, name: &str, to: u64) {
        let storage = self.open(name);
        Inbox::new().ask(|reply| storage.pack(Tid(to), reply));
        storage.close();
    }

    /// Its exit status and what it printed.
    fn verify(&self, more: &[&str]) -> (i32, String) {
        let [one, other] = ["one", "other"].map(|name| self.dir(name));
        let first = [Path::new("verify"), &one, Path::new("--against"), &other];
        let (status, text, errors) = run(first.into_iter().chain(more.iter().map(Path::new)));
        assert_eq!(errors, "");
        (status, text)
    }

    fn verify_blobs(&self) -> (i32, String) {
        let [one, other] = ["one", "other"].map(|name| self.blobs(name));
        let [one, other] = [one, other].map(|blobs| blobs.to_str().unwrap().to_owned());
        self.verify(&["--blobs", &one, "--against-blobs", &other])
    }

    /// They differ, whatever is allowed, and the difference is this one.
    fn assert_different(&self, wanted: &str) {
        let (status, text) = self.verify(&["--allow-behind"]);
        let last = text.lines().last().unwrap();
        assert_eq!(status, 1, "{text}");
        assert!(last.starts_with("DIFFERENT: ") && last.contains(wanted), "{wanted}: {text}");
    }

    fn assert_same(&self) {
        let (status, text) = self.verify(&[]);
        assert!(text.ends_with("\nthe histories are the same\n"), "{text}");
        assert_eq!(status, 0);
    }
}

fn write(storage: &dyn Storage, history: &[Written]) {
    let inbox = Inbox::new();
    for Written { meta, records, blob } in history {
        let upload = blob.as_ref().map(|blob| inbox.upload(storage, &[blob]).unwrap());
        let mut transaction = storage.begin(meta.clone());
        let mut rest = records.as_slice();
        if let Some(upload) = upload {
            let (oid, data, _) = rest[0];
            transaction.store_blob(oid, Tid::ZERO, data.unwrap().into(), upload).unwrap();
            rest = &rest[1..];
        }
        for &(oid, data, origin) in rest {
            transaction.restore(oid, data.map(Bytes::from), origin).unwrap();
        }
        let vote = inbox.vote(&mut *transaction).unwrap();
        assert!(matches!(vote, Vote::Promised), "{vote:?}");
        inbox.finish(&mut *transaction).unwrap();
    }
}

#[test]
fn the_same_history_is_the_same() {
    let pair = Pair::new(&history(), &history());
    pair.assert_same();
    let (status, text) = pair.verify(&["--json"]);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &found["difference"]), (0, &Value::Null));
    for (what, count) in [("transactions", 7), ("records", 10), ("blobs", 1)] {
        assert_eq!(found[what], count, "{what}");
    }
    assert_eq!(found["last_common_transaction"], Tid(7).to_string());
    Pair::new(&[], &[]).assert_same();
}

#[test]
fn one_that_ends_earlier_is_behind() {
    for (one, other, name) in [(7, 4, "one"), (4, 7, "other"), (0, 3, "other")] {
        let pair = Pair::new(&history()[..one], &history()[..other]);
        let (status, text) = pair.verify(&[]);
        let count = one.abs_diff(other);
        let wanted = format!("BEHIND: {} has {count} transactions more", pair.dir(name).display());
        assert!(text.contains(&wanted) && text.ends_with("has all before them\n"), "{text}");
        assert_eq!((status, pair.verify(&["--allow-behind"]).0), (1, 0));
    }
}

#[test]
fn each_difference_is_named() {
    let change = |change: &dyn Fn(&mut Vec<Written>)| {
        let mut changed = history();
        change(&mut changed);
        Pair::new(&history(), &changed)
    };
    change(&|it| it[1].meta.user = "x".into()).assert_different("its user differs");
    change(&|it| it[1].meta.description = "x".into()).assert_different("its description differs");
    change(&|it| it[1].meta.extension = Bytes::new()).assert_different("its extension differs");
    change(&|it| it[1].meta.status = b'p').assert_different("its status differs");
    let object = |oid| format!("object {}: ", Oid(oid));
    change(&|it| it[2].records[1].1 = Some("x")).assert_different(&(object(1) + "its data differ"));
    change(&|it| it[1].records[0].2 = Some(Tid(1)))
        .assert_different(&(object(1) + "where an undo"));
    change(&|it| it[2].records.swap(0, 1)).assert_different(&(object(3) + "in its place"));
    change(&|it| it[2].records.truncate(1)).assert_different("other has no record of it");
    let added = (Oid(9), Some("x"), None);
    change(&|it| it[2].records.push(added)).assert_different("one has no record of it");
    change(&|it| it[4].blob = None).assert_different(&(object(4) + "it has a blob in one of them"));
    let pair = change(&|it| drop(it.remove(2)));
    pair.assert_different(&format!("transaction {} ", Tid(3)));
    let (_, text) = pair.verify(&[]);
    assert!(text.contains(&format!("last of them  {}", Tid(2))), "{text}");
    let parted = change(&|it| it[6].meta.tid = Some(Tid(8)));
    parted.assert_different("one has it, and ");
}

#[test]
fn what_one_has_packed_away_is_no_difference() {
    for (one, other) in [(0, 3), (3, 0), (7, 0), (2, 6), (6, 3), (7, 7)] {
        let pair = Pair::new(&history(), &history());
        for (name, to) in [("one", one), ("other", other)] {
            if to > 0 {
                pair.pack(name, to);
            }
        }
        pair.assert_same();
        let (_, text) = pair.verify(&["--json"]);
        let found: Value = serde_json::from_str(&text).unwrap();
        let lacks = |number: usize| found["storages"][number]["packed_in_other"].as_u64().unwrap();
        assert_eq!(lacks(0) + lacks(1) > 0, one != other, "{text}");
    }
}

/// Only the digests of what is left tell it.
#[test]
fn a_difference_that_was_packed_away_is_found() {
    let mut changed = history();
    changed[1].records[0].1 = Some("x");
    let pair = Pair::new(&history(), &changed);
    pair.assert_different("its data differ");
    pair.pack("other", 3);
    pair.assert_different("its digest differs");
    let mut changed = history();
    changed[2].records[0].1 = Some("x");
    let pair = Pair::new(&history(), &changed);
    pair.pack("one", 3);
    pair.assert_different("its data differ");
}

/// The pack of one does not explain what the other lacks.
#[test]
fn what_was_not_packed_there_must_be_there() {
    let mut changed = history();
    changed[2].records.pop();
    let pair = Pair::new(&history(), &changed);
    pair.pack("one", 3);
    pair.assert_different("other has no record of it");
    let mut changed = history();
    changed.remove(5);
    let pair = Pair::new(&history(), &changed);
    pair.pack("one", 5);
    pair.assert_different("one has it, and ");
}

/// As if its pack had dropped what is current, and had left all digests as they were.
#[test]
fn a_pack_that_dropped_too_much_is_found() {
    let mut whole = history();
    whole[4].blob = None;
    let pair = Pair::new(&whole, &[]);
    let (from, to) = (pair.open("one"), pair.open("other"));
    let (from, to) = (from.replica().unwrap(), to.replica().unwrap());
    to.set_role(Role::Secondary).unwrap();
    to.begin_copy(Tid(7)).unwrap();
    let (mut feed, mut incoming) = (from.feed(Tid::ZERO).unwrap().unwrap(), to.incoming());
    loop {
        match feed.next().unwrap() {
            Step::Begin(head) => incoming.begin(head).unwrap(),
            Step::Record(record) if record.oid == Oid(2) => {}
            Step::Record(record) => incoming.record(record).unwrap(),
            Step::End(digest) => assert!(incoming.end(digest).unwrap()),
            Step::AtEnd => break,
            Step::Packed => panic!("packed"),
        }
    }
    incoming.apply().unwrap();
    pair.assert_different(&format!("object {}: ", Oid(2)));
}

/// A primary is packed beyond the end of its secondary.
#[test]
fn what_is_not_known_is_said() {
    let pair = Pair::new(&history(), &history()[..2]);
    pair.pack("one", 7);
    let (status, text) = pair.verify(&["--allow-behind"]);
    assert!(text.contains("is known up to 0000000000000001 only"), "{text}");
    assert_eq!(status, 0);
}

#[test]
fn blobs_are_compared_byte_for_byte() {
    let pair = Pair::new(&history(), &history());
    let (status, text) = pair.verify_blobs();
    assert!(status == 0 && text.contains("blobs         1\n"), "{text}");
    let blob = storage::blob_path(&pair.blobs("other"), Oid(4), history()[4].tid());
    let mut bytes = std::fs::read(&blob).unwrap();
    let mut with = |change: &dyn Fn(&mut Vec<u8>)| {
        change(&mut bytes);
        std::fs::remove_file(&blob).unwrap();
        std::fs::write(&blob, &bytes).unwrap();
        let (status, text) = pair.verify_blobs();
        assert!(status == 1 && text.contains("its blobs differ"), "{text}");
    };
    with(&|bytes| bytes[199_999] ^= 1);
    with(&|bytes| {
        bytes[199_999] ^= 1;
        bytes.push(0);
    });
    pair.assert_same();
    std::fs::remove_file(&blob).unwrap();
    let (status, text) = pair.verify_blobs();
    assert!(status == 1 && text.contains("is missing"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let pair = Pair::new(&[], &[]);
    let [one, other] = ["one", "other"].map(|name| pair.dir(name).to_str().unwrap().to_owned());
    let (status, _, errors) = run(["verify", &one, "--against", &other, "--blobs", &one]);
    assert!(status == 1 && errors.contains("must both say"), "{errors}");
    let (status, _, errors) = run(["verify", &one, "--against", "/dev/null"]);
    assert!(status == 1 && errors.contains("/dev/null is none"), "{errors}");
    assert_eq!(run(["verify", &one, "--allow-behind"]).0, 2);
}
