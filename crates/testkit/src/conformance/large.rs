//! Sizes that do not fit a buffer.

use protocol::{Oid, Reply, Request, Tid};

use super::Setup;
use super::bench::Bench;
use super::peer::Peer;

/// 20 MiB, more than fits into sockets, a spill limit or the buffers that are kept.
pub fn a_large_record_comes_back(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut writer, mut reader) = bench.peers();
    let data = pattern(1, 20 << 20);
    let tid = writer.commit(&[(Oid(1), Tid::ZERO, &data), (Oid(2), Tid::ZERO, b"small")]);
    assert!(reader.load(Oid(1)) == data, "other bytes come back");
    assert_eq!(reader.load(Oid(2)), "small");
    // A conflict brings the client's own bytes back.
    let transaction = reader.begin();
    reader.store(transaction, Oid(1), Tid::ZERO, &data);
    match reader.vote(transaction) {
        Reply::Conflicts(conflicts) => {
            let conflict = conflicts.first().expect("never empty");
            assert_eq!(conflict.committed, tid);
            assert!(conflict.data == data, "other bytes come back");
        }
        _ => panic!("the store was stale"),
    }
}

/// 10,000 objects become visible at once.
pub fn a_transaction_of_many_objects_is_one(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut writer, mut reader) = bench.peers();
    let records: Vec<(Oid, Vec<u8>)> =
        (1..=10_000_u64).map(|number| (Oid(number), number.to_be_bytes().repeat(10))).collect();
    let changes: Vec<_> = records.iter().map(|(oid, data)| (*oid, Tid::ZERO, &data[..])).collect();
    let tid = writer.commit(&changes);
    reader.ping();
    let (told, mut oids) = reader.heard.pop().expect("one invalidation");
    oids.sort();
    assert_eq!((told, oids.len()), (tid, records.len()));
    assert!(oids.iter().eq(records.iter().map(|(oid, _)| oid)));
    check_records(&mut reader, &records, tid);
}

/// More than a transaction may take in memory, in records that each would fit.
pub fn a_transaction_beyond_the_memory_limit_comes_back(setup: &Setup) {
    let bench = Bench::start(setup);
    let (mut writer, mut reader) = bench.peers();
    let records: Vec<(Oid, Vec<u8>)> =
        (1..=300_u64).map(|number| (Oid(number), pattern(number, 64 << 10))).collect();
    let changes: Vec<_> = records.iter().map(|(oid, data)| (*oid, Tid::ZERO, &data[..])).collect();
    let tid = writer.commit(&changes);
    check_records(&mut reader, &records, tid);
}

/// Loads all records, some at a time: who never reads must not be written to without end.
fn check_records(peer: &mut Peer, records: &[(Oid, Vec<u8>)], tid: Tid) {
    for some in records.chunks(10) {
        let numbers: Vec<u64> = some
            .iter()
            .filter_map(|(oid, _)| peer.post(&Request::LoadBefore { oid: *oid, before: Tid::MAX }))
            .collect();
        peer.flush();
        for ((oid, data), number) in some.iter().zip(numbers) {
            let Reply::Loaded(Some(loaded)) = peer.answer(number) else {
                panic!("{oid} is not there");
            };
            assert!(loaded.data == data && loaded.tid == tid, "{oid} is not what was stored");
        }
    }
}

/// Bytes that are different everywhere, cheap in a debug build.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut block: Vec<u8> = (0..251).collect();
    block.extend_from_slice(&seed.to_be_bytes());
    let mut bytes = block.repeat(length / block.len() + 1);
    bytes.truncate(length);
    bytes
}
