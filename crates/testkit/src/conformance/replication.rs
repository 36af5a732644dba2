//! Servers that follow one another.

use protocol::{Failure, Oid, Request, Tid};

use super::Setup;
use super::bench::Bench;
use super::peer::Peer;

/// Through a chain of two: blobs of sizes around those of the pieces, an undo, and an object that is
/// deleted, of before the secondaries came and of after that.
pub fn a_secondary_has_what_its_primary_has_and_blobs(setup: &Setup) {
    let primary = Bench::start_primary(setup);
    let mut writer = primary.peer();
    let deleted = writer.commit(&[(Oid(90), Tid::ZERO, b"deleted")]);
    let early = commit_blobs(&mut writer, 10);
    let first = primary.start_secondary(setup);
    let second = first.start_secondary(setup);
    let late = commit_blobs(&mut writer, 20);
    let transaction = writer.begin();
    writer.post(&Request::Delete { transaction, oid: Oid(90), serial: deleted });
    writer.must_vote(transaction);
    let last = writer.finish(transaction);
    for bench in [&first, &second] {
        let mut reader = Peer::registered(bench.endpoint(), true);
        while reader.last < last {
            reader.event();
        }
        for (oid, tid, blob) in early.iter().chain(&late) {
            assert!(reader.blob(*oid, *tid) == Ok(blob.clone()), "another blob of {oid}");
            assert_eq!(reader.load(*oid), writer.load(*oid));
        }
        assert_eq!(reader.load_before(Oid(90), Tid::MAX), Err(Failure::UnknownOid(Oid(90))));
        let old = reader.load_before(Oid(90), last);
        assert_eq!(old, writer.load_before(Oid(90), last));
    }
}

fn commit_blobs(writer: &mut Peer, from: u64) -> Vec<(Oid, Tid, Vec<u8>)> {
    let sizes = [0, 1, 262_143, 262_144, 262_145, 3 << 20];
    let blobs = (from..).map(Oid).zip(sizes).map(|(oid, bytes)| {
        let blob: Vec<u8> = (0..bytes).map(|at: u32| (at % 251) as u8).collect();
        let tid = writer.commit_blob(oid, Tid::ZERO, &blob);
        (oid, tid, blob)
    });
    blobs.collect()
}
