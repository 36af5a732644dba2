//! Where a writer finds what it has written.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use protocol::{Oid, Tid};

/// Current records by object, and some of the transactions by tid.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    current: HashMap<Oid, u64, RandomState>,
    /// Every [`STRIDE`]th transaction: a few bytes each are enough for any number of them.
    milestones: Vec<(Tid, u64)>,
    transactions: u64,
}

impl Positions {
    /// Where the current record of an object is; 0 for none.
    pub(crate) fn current(&self, oid: Oid) -> u64 {
        self.current.get(&oid).copied().unwrap_or(0)
    }

    pub(crate) fn add_record(&mut self, oid: Oid, offset: u64) {
        self.current.insert(oid, offset);
    }

    pub(crate) fn add_transaction(&mut self, tid: Tid, offset: u64) {
        if self.transactions.is_multiple_of(STRIDE) {
            self.milestones.push((tid, offset));
        }
        self.transactions += 1;
    }

    /// A transaction from which `tid` is found by going forward a little.
    pub(crate) fn milestone(&self, tid: Tid) -> Option<u64> {
        let after = self.milestones.partition_point(|(milestone, _)| *milestone <= tid);
        self.milestones.get(after.checked_sub(1)?).map(|(_, offset)| *offset)
    }
}

const STRIDE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_milestone_is_not_after_what_it_leads_to() {
        let mut positions = Positions::default();
        for number in 1..=3 * STRIDE {
            positions.add_transaction(Tid(10 * number), number);
        }
        assert_eq!(positions.milestone(Tid(9)), None);
        assert_eq!(positions.milestone(Tid(10)), Some(1));
        assert_eq!(positions.milestone(Tid(10 * STRIDE)), Some(1));
        assert_eq!(positions.milestone(Tid(10 * STRIDE + 10)), Some(STRIDE + 1));
        assert_eq!(positions.milestone(Tid::MAX), Some(2 * STRIDE + 1));
    }
}
