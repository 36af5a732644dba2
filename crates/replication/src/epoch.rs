//! Epochs, the history of a storage, and up to where two histories agree.

use std::fmt;
use std::str::FromStr;

use protocol::Tid;

use crate::item::Position;

/// A term of one primary, made by a promotion.
///
/// Ordered by the number and then by the bytes; they are random, so that two promotions at once
/// make different epochs, of which the lower one is fenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Counts promotions, from 1.
    pub number: u64,
    /// Random.
    pub unique: [u8; 16],
}

/// Where an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// Which.
    pub epoch: Epoch,
    /// The last transaction before it.
    pub base: Position,
}

/// The epochs of a storage: their numbers ascend, and their bases never descend. Empty for a storage that
/// was never replicated.
///
/// All transactions above the base of one epoch and up to the base of the next are from the
/// primary of that epoch, in its order. The first epoch of a storage has what was there when replication
/// began, too: its base is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<EpochStart>);

/// Epochs that cannot be the history of one storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {epoch} from {base} on cannot come after epoch {last} from {last_base} on")]
pub struct Unordered {
    epoch: Epoch,
    base: Tid,
    pub(crate) last: Epoch,
    last_base: Tid,
}

/// What one end of a link has.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its epochs.
    pub history: &'a History,
    /// Its last transaction.
    pub position: Position,
}

/// How what the other one has relates to what is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is the beginning of what is here, or all of it.
    Prefix,
    /// What is here is the beginning of it, as far as epochs tell.
    Ahead,
    /// Each has something that the other one lacks, or that cannot be ruled out.
    Diverged {
        /// The last transaction that both have, where epochs tell.
        common: Option<Position>,
    },
}

impl History {
    /// Checks the order.
    pub fn new(starts: Vec<EpochStart>) -> Result<Self, Unordered> {
        let mut history = Self::default();
        for start in starts {
            history.push(start)?;
        }
        Ok(history)
    }

    /// Appends the next epoch; fails, and changes nothing, if it cannot be that.
    pub fn push(&mut self, start: EpochStart) -> Result<(), Unordered> {
        if let Some(last) = self.0.last()
            && (start.epoch.number <= last.epoch.number || start.base.tid < last.base.tid)
        {
            return Err(Unordered {
                epoch: start.epoch,
                base: start.base.tid,
                last: last.epoch,
                last_base: last.base.tid,
            });
        }
        self.0.push(start);
        Ok(())
    }

    /// All of them, in order.
    pub fn starts(&self) -> &[EpochStart] {
        &self.0
    }

    /// The present epoch.
    pub fn last(&self) -> Option<Epoch> {
        self.0.last().map(|start| start.epoch)
    }

    /// How many epochs, from the first one on, are the same in both.
    pub fn shared(&self, other: &Self) -> usize {
        self.0.iter().zip(&other.0).take_while(|(ours, theirs)| ours == theirs).count()
    }

    /// Forgets all epochs but the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.0.truncate(count);
    }

    /// Forgets the epochs that began after `tid`.
    pub fn cut_after(&mut self, tid: Tid) {
        self.0.retain(|start| start.base.tid <= tid);
    }

    /// The last transaction of the epoch that the first `shared` (at least one) end with.
    fn end(&self, shared: usize, position: Position) -> Position {
        self.0.get(shared).map_or(position, |next| next.base)
    }
}

impl From<EpochStart> for History {
    /// One epoch is in order.
    fn from(start: EpochStart) -> Self {
        Self(vec![start])
    }
}

/// Compares; `digest_here` is the digest of the transaction that is here under the last tid of
/// `theirs`, `None` if there is no such transaction.
///
/// Known digests decide. Where one is not known (an old log), epochs do: all that has one epoch in
/// common has one history there.
pub fn relate(ours: Held<'_>, theirs: Held<'_>, digest_here: Option<u64>) -> Relation {
    if theirs.position.tid == Tid::ZERO {
        return Relation::Prefix;
    }
    let shared = ours.history.shared(theirs.history);
    let our_end = ours.history.end(shared, ours.position);
    let their_end = theirs.history.end(shared, theirs.position);
    let common =
        (shared > 0).then(|| if our_end.tid <= their_end.tid { our_end } else { their_end });
    let last = theirs.position;
    if last.tid > ours.position.tid {
        return match common {
            Some(common) if common == ours.position => Relation::Ahead,
            common => Relation::Diverged { common },
        };
    }
    let within = common.filter(|common| last.tid <= common.tid);
    match digest_here {
        Some(digest) if last.agrees(digest) && (last.is_known_as(digest) || within.is_some()) => {
            Relation::Prefix
        }
        // Epochs say that both have it, and digests that they do not: nobody knows since when.
        _ if within.is_some() => Relation::Diverged { common: None },
        _ => Relation::Diverged { common },
    }
}

impl fmt::Display for Epoch {
    /// The number, a dot, and 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:032x}", self.number, u128::from_be_bytes(self.unique))
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

/// A text that is not an epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an epoch: a number, a dot and 32 hexadecimal digits")]
pub struct NotAnEpoch(String);

impl FromStr for Epoch {
    type Err = NotAnEpoch;

    fn from_str(text: &str) -> Result<Self, NotAnEpoch> {
        let parse = || {
            let (number, unique) = text.split_once('.')?;
            let is_hex = unique.len() == 32 && unique.bytes().all(|b| b.is_ascii_hexdigit());
            let unique = u128::from_str_radix(unique, 16).ok().filter(|_| is_hex)?;
            Some(Self { number: number.parse().ok()?, unique: unique.to_be_bytes() })
        };
        parse().ok_or_else(|| NotAnEpoch(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tid: u64) -> Position {
        Position { tid: Tid(tid), digest: tid * 7 }
    }

    fn start(number: u64, unique: u8, base: u64) -> EpochStart {
        EpochStart { epoch: Epoch { number, unique: [unique; 16] }, base: at(base) }
    }

    fn history(starts: &[(u64, u8, u64)]) -> History {
        History::new(starts.iter().map(|&(n, u, base)| start(n, u, base)).collect()).unwrap()
    }

    /// What 100 transactions of ours, with the second epoch after 50, say of theirs.
    fn relation(theirs: &[(u64, u8, u64)], position: Position, here: Option<u64>) -> Relation {
        let ours = history(&[(1, 1, 0), (2, 2, 50)]);
        let theirs = history(theirs);
        relate(
            Held { history: &ours, position: at(100) },
            Held { history: &theirs, position },
            here,
        )
    }

    #[test]
    fn epochs_have_a_text_form() {
        let epoch = Epoch { number: 7, unique: *b"\x00\x01\x02\x03456789abcdef" };
        let text = epoch.to_string();
        assert_eq!(text, "7.00010203343536373839616263646566");
        assert_eq!(text.parse(), Ok(epoch));
        for wrong in
            ["7", "7.", "x.00010203343536373839616263646566", "7.+0010203343536373839616263646566"]
        {
            assert!(wrong.parse::<Epoch>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_two_epochs_with_one_number_the_bytes_decide() {
        assert!(start(2, 1, 0).epoch < start(2, 2, 0).epoch);
        assert!(start(2, 9, 0).epoch < start(3, 0, 0).epoch);
    }

    #[test]
    fn epochs_ascend_and_bases_do_not_descend() {
        let mut ascending = history(&[(1, 1, 0), (2, 0, 50), (4, 0, 50)]);
        for wrong in [start(4, 9, 60), start(3, 0, 60), start(5, 0, 49)] {
            assert!(ascending.push(wrong).is_err(), "{wrong:?}");
        }
        ascending.cut_after(Tid(49));
        assert_eq!(ascending, history(&[(1, 1, 0)]));
    }

    #[test]
    fn whoever_has_the_beginning_is_a_prefix() {
        let both = [(1, 1, 0), (2, 2, 50)];
        assert_eq!(relation(&[], Position::default(), None), Relation::Prefix);
        assert_eq!(relation(&[(9, 9, 0)], Position::default(), None), Relation::Prefix);
        assert_eq!(relation(&both[..1], at(30), Some(at(30).digest)), Relation::Prefix);
        assert_eq!(relation(&both[..1], at(50), Some(at(50).digest)), Relation::Prefix);
        assert_eq!(relation(&both, at(100), Some(at(100).digest)), Relation::Prefix);
        // A promotion after which nothing was committed leaves no trace.
        assert_eq!(
            relation(&[(1, 1, 0), (2, 1, 40)], at(40), Some(at(40).digest)),
            Relation::Prefix
        );
        // A restored copy has no history, but its digest tells.
        assert_eq!(relation(&[], at(80), Some(at(80).digest)), Relation::Prefix);
    }

    #[test]
    fn epochs_decide_where_digests_are_not_known() {
        let unknown = |tid| Position { digest: 0, ..at(tid) };
        let first = [(1, 1, 0)];
        assert_eq!(relation(&first, unknown(50), Some(at(50).digest)), Relation::Prefix);
        assert_eq!(relation(&first, at(50), Some(0)), Relation::Prefix);
        let diverged = Relation::Diverged { common: Some(at(50)) };
        assert_eq!(relation(&first, unknown(60), Some(at(60).digest)), diverged);
        let nothing = Relation::Diverged { common: None };
        assert_eq!(relation(&[], unknown(50), Some(at(50).digest)), nothing);
    }

    #[test]
    fn another_history_is_found_with_its_last_common_transaction() {
        let common = |tid| Relation::Diverged { common: Some(at(tid)) };
        assert_eq!(relation(&[(1, 1, 0)], at(70), None), common(50));
        assert_eq!(relation(&[(1, 1, 0)], at(70), Some(1)), common(50));
        assert_eq!(relation(&[(1, 1, 0), (2, 1, 40)], at(70), None), common(40));
        assert_eq!(relation(&[(1, 1, 0), (3, 1, 60)], at(170), None), common(50));
        assert_eq!(relation(&[(1, 9, 0)], at(70), None), Relation::Diverged { common: None });
        // The epochs are the same, the transactions are not: that must not happen.
        let both = [(1, 1, 0), (2, 2, 50)];
        assert_eq!(relation(&both, at(70), Some(1)), Relation::Diverged { common: None });
        assert_eq!(relation(&both, at(70), None), Relation::Diverged { common: None });
    }

    #[test]
    fn who_has_more_of_the_same_is_ahead() {
        let both = [(1, 1, 0), (2, 2, 50)];
        assert_eq!(relation(&both, at(101), None), Relation::Ahead);
        assert_eq!(relation(&[both[0], both[1], (3, 3, 100)], at(101), None), Relation::Ahead);
        let early = Relation::Diverged { common: Some(at(90)) };
        assert_eq!(relation(&[both[0], both[1], (3, 3, 90)], at(101), None), early);
    }
}
