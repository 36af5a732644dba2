//! Snapshots of all ages, and current revisions.

use std::collections::BTreeMap;
use std::time::Instant;

use protocol::Tid;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::PAIRS;
use super::participant::Participant;

/// Reads until a time.
pub(super) fn run(participant: &Participant, mut random: StdRng, until: Instant) {
    // What was seen stays true for ever.
    let mut seen: BTreeMap<(Tid, u64), (Tid, u64)> = BTreeMap::new();
    while Instant::now() < until {
        let pair = random.random_range(0..PAIRS);
        participant.check_current(pair, Tid::ZERO);
        let before = participant.client.last_tid().next();
        seen.insert((before, pair), participant.snapshot(pair, before));
        let at = random.random_range(0..seen.len());
        let ((before, pair), was) = seen.iter().nth(at).expect("there are more");
        assert_eq!(participant.snapshot(*pair, *before), *was, "a snapshot has changed");
        if random.random_ratio(1, 20) {
            participant.client.ping().expect("the server answers");
        }
        if seen.len() > 500 {
            seen.pop_first();
        }
    }
}
