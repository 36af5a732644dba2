//! Transactions that count pairs up, and meet others that do.

use std::time::Instant;

use bytes::Bytes;
use client::{Metadata, Transaction, Vote, VoteError};
use protocol::{Conflict, Oid, Tid};
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::participant::Participant;
use super::{Committed, PAIRS, count, oids};

/// Writes until a time. Gives what was committed.
pub(super) fn run(participant: &Participant, mut random: StdRng, until: Instant) -> Vec<Committed> {
    let mut committed = vec![];
    while Instant::now() < until {
        committed.extend(transaction(participant, &mut random));
    }
    committed
}

/// `None`: it was given up.
fn transaction(participant: &Participant, random: &mut StdRng) -> Option<Committed> {
    let mut pairs: Vec<u64> = (0..PAIRS).collect();
    let first = random.random_range(0..pairs.len());
    pairs.rotate_left(first);
    let read = pairs.pop().expect("there are several");
    pairs.truncate(random.random_range(1..=2));

    let before = participant.client.last_tid().next();
    let mut transaction =
        participant.client.begin(Metadata::default()).expect("it has no other transaction");
    for pair in &pairs {
        let (serial, count) = participant.snapshot(*pair, before);
        for oid in oids(*pair) {
            store(&mut transaction, oid, serial, count + 1);
        }
    }
    if random.random_ratio(1, 4) {
        let (serial, _) = participant.snapshot(read, before);
        for oid in oids(read) {
            transaction.check_current_serial(oid, serial).expect("connected");
        }
    }
    if !vote(participant, &mut transaction, random) || random.random_ratio(1, 10) {
        // As some clients do, without waiting for the answer.
        drop(transaction);
        return None;
    }
    let tid = transaction.finish().expect("a vote is a promise");
    for pair in &pairs {
        participant.check_current(*pair, tid);
    }
    Some(Committed { tid, pairs })
}

/// Votes until there is no conflict; `false`: it is given up.
fn vote(participant: &Participant, transaction: &mut Transaction<'_>, random: &mut StdRng) -> bool {
    for _ in 0..8 {
        match transaction.vote() {
            Ok(Vote::Voted) => return true,
            Ok(Vote::Conflicts(_)) if random.random_ratio(1, 10) => return false,
            Ok(Vote::Conflicts(conflicts)) => resolve(participant, transaction, &conflicts),
            Err(VoteError::ReadConflict { .. }) => return false,
            Err(error) => panic!("the vote failed: {error}"),
        }
    }
    false
}

/// Counts on from what was committed meanwhile.
fn resolve(participant: &Participant, transaction: &mut Transaction<'_>, conflicts: &[Conflict]) {
    assert!(conflicts.len().is_multiple_of(2), "pairs are in conflict as a whole: {conflicts:?}");
    for Conflict { oid, committed, given, .. } in conflicts {
        assert!(given < committed);
        let data = participant.client.load_serial(*oid, *committed).expect("it was committed");
        store(transaction, *oid, *committed, count(&data) + 1);
    }
}

fn store(transaction: &mut Transaction<'_>, oid: Oid, serial: Tid, count: u64) {
    let data = Bytes::copy_from_slice(&count.to_be_bytes());
    transaction.store(oid, serial, data).expect("connected");
}
