//! A history of many clients' transactions, and whether it can be explained.
//!
//! Objects come in pairs that are always written together, and count how often they were. So a
//! snapshot that sees half a transaction shows two different counts, a lost or doubled change shows
//! in the sum, and a cache that has rotted shows an old count as the current one.

mod participant;
mod reader;
mod writer;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use protocol::{Oid, Tid};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::participant::Participant;
use super::Setup;
use super::bench::Bench;
use super::peer::Peer;

/// Few, so that transactions meet.
const PAIRS: u64 = 5;
const WRITERS: u64 = 6;
const READERS: u64 = 3;

/// How long they go on.
const DURATION: Duration = Duration::from_millis(2500);

/// Repeats a run, as far as threads can be repeated.
const SEED: &str = "ZEOXIDE_HAMMER_SEED";

/// A transaction that was answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Committed {
    tid: Tid,
    /// The pairs that it has counted on.
    pairs: Vec<u64>,
}

/// Writers with conflicts, and readers, each with a cache, for a few seconds.
pub fn a_history_of_concurrent_transactions_is_consistent(setup: &Setup) {
    let seed = seed();
    println!("to repeat it: {SEED}={seed}");
    let bench = Bench::start(setup);
    let mut peer = bench.peer();
    let zeros: Vec<_> =
        (0..PAIRS).flat_map(oids).map(|oid| (oid, Tid::ZERO, &[0; size_of::<u64>()][..])).collect();
    let base = peer.commit(&zeros);
    let generator = |number: u64| StdRng::seed_from_u64(seed.wrapping_add(number));
    let everybody: Vec<Participant> =
        (0..WRITERS + READERS).map(|at| Participant::connect(&bench, cache_bytes(at))).collect();
    let until = Instant::now() + DURATION;
    let own: Vec<Vec<Committed>> = thread::scope(|scope| {
        let running: Vec<_> = (0..)
            .zip(&everybody)
            .map(|(number, participant)| {
                scope.spawn(move || {
                    if number < WRITERS {
                        writer::run(participant, generator(number), until)
                    } else {
                        reader::run(participant, generator(number), until);
                        vec![]
                    }
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("its history is right")).collect()
    });
    let mut history: Vec<&Committed> = own.iter().flatten().collect();
    history.sort();
    println!("{} transactions", history.len());
    for (participant, own) in everybody.iter().zip(&own) {
        check_told(participant, &history, own);
    }
    check_counts(&mut peer, base, &history);
}

/// Every participant was told of every transaction but its own, once, in tid order.
fn check_told(participant: &Participant, history: &[&Committed], own: &[Committed]) {
    participant.client.ping().expect("the order was right, or it would have disconnected");
    let told = participant.told();
    let others: Vec<(Tid, Vec<Oid>)> = history
        .iter()
        .filter(|committed| !own.contains(committed))
        .map(|committed| {
            let mut written: Vec<Oid> = committed.pairs.iter().copied().flat_map(oids).collect();
            written.sort();
            (committed.tid, written)
        })
        .collect();
    assert!(told == others, "{} transactions were told, not {}", told.len(), others.len());
}

/// The revisions that the server has are those that the history explains, at every tid.
fn check_counts(peer: &mut Peer, base: Tid, history: &[&Committed]) {
    peer.ping();
    assert_eq!(peer.heard.len(), history.len());
    let mut current: BTreeMap<u64, (Tid, u64)> = (0..PAIRS).map(|pair| (pair, (base, 0))).collect();
    for committed in history {
        for pair in &committed.pairs {
            let (tid, count) = current.get_mut(pair).expect("a pair");
            check_pair(peer, *pair, committed.tid, (*tid, *count), Some(committed.tid));
            (*tid, *count) = (committed.tid, *count + 1);
        }
    }
    for (pair, revision) in current {
        check_pair(peer, pair, Tid::MAX, revision, None);
    }
}

fn check_pair(peer: &mut Peer, pair: u64, before: Tid, revision: (Tid, u64), end: Option<Tid>) {
    for oid in oids(pair) {
        let loaded = peer.load_before(oid, before).expect("known").expect("not younger");
        assert_eq!(((loaded.tid, count(&loaded.data)), loaded.end), (revision, end), "{oid}");
    }
}

/// The two objects of a pair.
fn oids(pair: u64) -> [Oid; 2] {
    [Oid(2 * pair + 1), Oid(2 * pair + 2)]
}

/// What an object counts.
fn count(data: &[u8]) -> u64 {
    u64::from_be_bytes(data.try_into().expect("eight bytes, as they were stored"))
}

/// Large, of a few revisions, and none.
fn cache_bytes(number: u64) -> usize {
    match number % 3 {
        0 => 1 << 20,
        1 => 700,
        _ => 0,
    }
}

fn seed() -> u64 {
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => rand::random(),
    }
}
