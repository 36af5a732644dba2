//! Blobs: sent, read and shared.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use protocol::{Failure, Oid, Reply, Request, Tid, TransactionId};

use super::bench::Bench;
use super::peer::{Event, Peer};
use super::{Dialect, Setup};
use crate::server::PATIENCE;

/// Also around the size of the pieces.
pub fn a_blob_of_any_size_comes_back(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let (mut writer, mut reader) = bench.peers();
    let mut serial = Tid::ZERO;
    for bytes in [0, 1, 58_999, 59_000, 59_001, 177_000, 64 << 20] {
        let blob = pattern(bytes);
        serial = writer.commit_blob(Oid(1), serial, &blob);
        assert!(reader.blob(Oid(1), serial) == Ok(blob), "other bytes come back of {bytes}");
    }
}

/// Of two connections, and in the same moment; the one that comes late keeps its blob.
pub fn uploads_of_one_object_at_once_do_not_mix(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let (mut first, mut second) = bench.peers();
    let oid = Oid(1);
    let (one, two) = (first.begin(), second.begin());
    first.start_blob(oid);
    second.start_blob(oid);
    for _ in 0..50 {
        first.send_blob(oid, &[1; 1000]);
        second.send_blob(oid, &[2; 2000]);
    }
    first.end_blob(one, oid, Tid::ZERO);
    second.end_blob(two, oid, Tid::ZERO);
    first.must_vote(one);
    let tid = first.finish(one);
    let Reply::Conflicts(conflicts) = second.vote(two) else { panic!("the store was stale") };
    assert_eq!(conflicts.first().map(|conflict| conflict.committed), Some(tid));
    second.store(two, oid, tid, b"resolved");
    second.must_vote(two);
    let last = second.finish(two);
    assert_eq!(first.load(oid), "resolved");
    assert!(first.blob(oid, tid) == Ok(vec![1; 50_000]));
    assert!(first.blob(oid, last) == Ok(vec![2; 100_000]));
}

/// Before the end of the upload, before the vote, and after it.
pub fn nothing_is_left_of_an_aborted_blob(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let mut peer = bench.peer();
    for ends in 0..3 {
        let transaction = peer.begin();
        peer.start_blob(Oid(1));
        peer.send_blob(Oid(1), &[1; 1000]);
        if ends > 0 {
            peer.end_blob(transaction, Oid(1), Tid::ZERO);
        }
        if ends > 1 {
            peer.must_vote(transaction);
        }
        peer.abort(transaction);
        if ends == 0 {
            // It was on its way when the client gave up.
            peer.send_blob(Oid(1), &[1; 1000]);
            peer.end_blob(transaction, Oid(1), Tid::ZERO);
        }
    }
    wait_for_files(&bench, &mut peer, 0);
    let tid = peer.commit_blob(Oid(1), Tid::ZERO, b"blob");
    assert_eq!(peer.blob(Oid(1), tid), Ok(b"blob".to_vec()));
    wait_for_files(&bench, &mut peer, 1);
}

/// In the middle of an upload, and between vote and finish.
pub fn nothing_is_left_of_a_lost_connection(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let (mut uploading, mut voted) = bench.peers();
    uploading.begin();
    uploading.start_blob(Oid(1));
    uploading.send_blob(Oid(1), &[1; 100_000]);
    uploading.flush();
    let transaction = voted.begin();
    voted.start_blob(Oid(2));
    voted.end_blob(transaction, Oid(2), Tid::ZERO);
    voted.must_vote(transaction);
    let mut peer = bench.peer();
    // An upload, another one, and its intent.
    wait_for_files(&bench, &mut peer, 3);
    uploading.hang_up();
    voted.hang_up();
    wait_for_files(&bench, &mut peer, 0);
}

/// A call that comes after them is answered before.
pub fn downloads_come_one_after_the_other_and_hold_up_nobody(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let (mut writer, mut reader) = bench.peers();
    let blob = pattern(16 << 20);
    let tids = [1, 2, 3].map(|oid| writer.commit_blob(Oid(oid), Tid::ZERO, &blob));
    let load = |(oid, serial)| Request::LoadBlob { oid: Oid(oid), serial };
    let asked: Vec<u64> = (1..).zip(tids).map(|wanted| reader.send(&load(wanted))).collect();
    reader.ping();
    assert!(!reader.blobs.has_whole(), "it waited for a blob");
    for (number, wanted) in asked.into_iter().zip((1..).zip(tids)) {
        assert_eq!(reader.answer(number), Reply::Done);
        let download = reader.blobs.take();
        assert_eq!((download.oid.0, download.serial), wanted);
        assert!(download.data == blob, "other bytes come back");
    }
}

/// Or it would look whole.
pub fn a_blob_that_gets_shorter_closes_the_connection(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let mut peer = bench.peer();
    let tid = peer.commit_blob(Oid(1), Tid::ZERO, &pattern(64 << 20));
    peer.send(&Request::LoadBlob { oid: Oid(1), serial: tid });
    peer.wait_for_blob();
    let path = path(&bench, Oid(1), tid);
    // More than sockets hold is still to come.
    make_writable(&path);
    fs::OpenOptions::new().write(true).truncate(true).open(&path).expect("it is the test's");
    assert_eq!(peer.event(), Event::Closed);
    let line = bench.server().wait_for_log("cannot read the blob");
    assert!(line.contains(".blob") && line.contains("closed"), "{line}");
}

/// What the client has put into the directory; other names are refused, and the connection lives.
pub fn a_shared_file_is_taken(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let mut peer = bench.peer();
    let object = path(&bench, Oid(1), Tid(1)).parent().expect("it has one").to_owned();
    fs::create_dir_all(&object).expect("the directory is the test's");
    fs::write(object.join("0x03.tmp-"), b"shared").expect("it is new");
    let transaction = peer.share(Oid(1), "0x03.tmp-");
    peer.must_vote(transaction);
    let tid = peer.finish(transaction);
    assert_eq!(peer.blob(Oid(1), tid), Ok(b"shared".to_vec()));
    for (name, why) in [("gone.tmp", "must have the same directory"), ("../x.tmp", "'/'")] {
        let transaction = peer.share(Oid(2), name);
        let reply = peer.vote(transaction);
        let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
        assert!(failure.to_string().contains(why), "{failure}");
        peer.abort(transaction);
    }
    wait_for_files(&bench, &mut peer, 1);
}

/// An object without a blob, a revision that there is not, and no object.
pub fn a_missing_blob_is_a_key_error(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let mut peer = bench.peer();
    let serial = peer.commit(&[(Oid(1), Tid::ZERO, b"data")]);
    for (oid, serial) in [(Oid(1), serial), (Oid(1), Tid(7)), (Oid(2), serial)] {
        assert_eq!(peer.blob(oid, serial), Err(Failure::UnknownBlob { oid, serial }));
    }
    assert!(peer.blobs.is_empty());
}

/// And what to do; the connection lives.
pub fn without_a_directory_the_vote_says_so(setup: &Setup) {
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let transaction = peer.begin();
    peer.start_blob(Oid(1));
    peer.send_blob(Oid(1), b"blob");
    peer.end_blob(transaction, Oid(1), Tid::ZERO);
    let reply = peer.vote(transaction);
    let Reply::Failed(failure) = reply else { panic!("{reply:?}") };
    assert!(failure.to_string().contains("?blobs=DIR"), "{failure}");
    peer.abort(transaction);
    let failure = peer.blob(Oid(1), Tid(1)).expect_err("there is none").to_string();
    assert!(failure.contains("?blobs=DIR"), "{failure}");
    peer.commit(&[(Oid(1), Tid::ZERO, b"data")]);
}

/// 256 MiB up and down, in a fraction of that.
pub fn memory_does_not_depend_on_how_large_a_blob_is(setup: &Setup) {
    let bench = Bench::start_with_blobs(setup);
    let (mut writer, mut reader) = bench.peers();
    let transaction = writer.begin();
    writer.start_blob(Oid(1));
    let piece = pattern(59_000);
    let pieces = (256 << 20) / piece.len();
    for _ in 0..pieces {
        writer.send_blob(Oid(1), &piece);
        writer.flush();
    }
    writer.end_blob(transaction, Oid(1), Tid::ZERO);
    writer.must_vote(transaction);
    let tid = writer.finish(transaction);
    let found = reader.blob(Oid(1), tid).expect("it is there");
    assert_eq!(found.len(), pieces * piece.len());
    assert!(found.chunks(piece.len()).all(|found| found == piece), "other bytes come back");
    let peak = bench.server().peak_bytes();
    assert!(peak < 64 << 20, "the server took {} MiB", peak >> 20);
}

impl Peer {
    pub(crate) fn start_blob(&mut self, oid: Oid) {
        let oid = self.named(oid);
        self.post(&Request::BlobStart { oid });
    }

    pub(crate) fn send_blob(&mut self, oid: Oid, data: &[u8]) {
        let (oid, data) = (self.named(oid), Bytes::copy_from_slice(data));
        self.post(&Request::BlobChunk { oid, data });
    }

    fn end_blob(&mut self, transaction: TransactionId, oid: Oid, serial: Tid) {
        let data = Bytes::from("has a blob");
        self.post(&Request::BlobEnd { transaction, oid, serial, data });
    }

    /// A transaction with a file that is in the shared directory.
    fn share(&mut self, oid: Oid, file: &str) -> TransactionId {
        let transaction = self.begin();
        let (data, file) = (Bytes::from("has a blob"), file.to_owned());
        self.post(&Request::BlobShared { transaction, oid, serial: Tid::ZERO, data, file });
        transaction
    }

    /// ZEO's clients do not say whose blob they send.
    fn named(&self, oid: Oid) -> Option<Oid> {
        (self.dialect == Dialect::Proto).then_some(oid)
    }

    pub(crate) fn commit_blob(&mut self, oid: Oid, serial: Tid, blob: &[u8]) -> Tid {
        let transaction = self.begin();
        self.start_blob(oid);
        for piece in blob.chunks(1 << 20) {
            self.send_blob(oid, piece);
        }
        self.end_blob(transaction, oid, serial);
        self.must_vote(transaction);
        self.finish(transaction)
    }

    pub(crate) fn blob(&mut self, oid: Oid, serial: Tid) -> Result<Vec<u8>, Failure> {
        match self.call(&Request::LoadBlob { oid, serial }) {
            Reply::Done => Ok(self.blobs.take().data),
            Reply::Failed(failure) => Err(failure),
            reply => panic!("a blob is answered {reply:?}"),
        }
    }
}

/// Waits until the blob directory has so many files of blobs, uploads and intents.
pub(crate) fn wait_for_files(bench: &Bench, peer: &mut Peer, count: usize) {
    let start = Instant::now();
    loop {
        let found = files(&bench.blobs());
        if found.len() == count {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{found:?} in place of {count} files");
        // The server has done something meanwhile.
        peer.ping();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("it is there").flatten();
    let files = entries.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() { files(&path) } else { vec![path] }
    });
    let is_hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
    };
    files.filter(|path| !is_hidden(path)).collect()
}

/// Where ZODB has a blob.
fn path(bench: &Bench, oid: Oid, tid: Tid) -> PathBuf {
    let mut path = bench.blobs();
    path.extend(oid.to_bytes().map(|byte| format!("0x{byte:02x}")));
    path.join(format!("0x{:016x}.blob", tid.0))
}

fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is the test's");
}

fn pattern(bytes: usize) -> Vec<u8> {
    let mut data = b"0123456789abcdef".repeat(bytes / 16 + 1);
    data.truncate(bytes);
    data
}
