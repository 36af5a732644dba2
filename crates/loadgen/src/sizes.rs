//! How long records are: of one length, or as in databases that people have measured.

use protocol::Oid;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, LogNormal};
use serde::{Deserialize, Serialize};

use crate::data::HEAD_BYTES;

/// The length of each record, a function of oid and revision; at least [`HEAD_BYTES`].
///
/// In scenarios and settings a number of bytes, or the name of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a number of bytes, or one of \"prod1\", \"plone-edit\", \"hot-bucket\""
)]
pub(crate) enum Sizes {
    /// All of so many bytes.
    Fixed(usize),
    /// Of many lengths.
    Profile(Profile),
}

/// Lengths as somebody has found them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// Log-normal, as NEO fits a production database of 43.5 GB in 1.5 million transactions
    /// (`PROD1` in its `neo/tests/stat_zodb.py`): median 421 bytes, mean 1,417, 95 % below 5.5 kB,
    /// 99 % below 15.8 kB. Its transactions write 4.3 objects in the mean, of which 81 % are new.
    Prod1,
    /// What an edit in Plone writes: catalogue and content, 1,159 bytes in the mean, as in 2.3
    /// million records of 10,000 documents (zodb-dev, August 2008, message 12055: 232 objects of a
    /// document). Only the mean is known of these; the spread is that of [`Self::Prod1`], which
    /// makes the median 344 bytes. Plone 6 stores 193 objects for a new document with 30 indexes
    /// (`BENCHMARKS.md` of plone-pgcatalog), so scenarios take 200, four fifths of them rewritten.
    PloneEdit,
    /// A large bucket of a `BTree` that everybody writes: 1.6 to 2.0 MB, as CERN's Indico had them
    /// (zodb-dev, December 2009, message 13006), rewritten 8,683 times in a million transactions.
    HotBucket,
}

/// The tail of a log-normal distribution has no end, a message has.
const LARGEST_BYTES: usize = 4 << 20;

/// Parameters of NEO's fit.
const PROD1_MU: f64 = 6.042;
const PROD1_SIGMA: f64 = 1.558;

const PLONE_MEAN_BYTES: f64 = 1159.0;

impl Default for Sizes {
    /// As short as can be.
    fn default() -> Self {
        Self::Fixed(HEAD_BYTES)
    }
}

impl Sizes {
    /// Of `oid` in its revision number `revision`.
    pub(crate) fn bytes(self, oid: Oid, revision: u64) -> usize {
        let profile = match self {
            Self::Fixed(bytes) => return bytes.max(HEAD_BYTES),
            Self::Profile(profile) => profile,
        };
        let seed = oid.0 ^ revision.rotate_left(32);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let log_normal = |mu: f64, random: &mut Xoshiro256PlusPlus| {
            let distribution = LogNormal::new(mu, PROD1_SIGMA).expect("the spread is positive");
            distribution.sample(random) as usize
        };
        let bytes = match profile {
            Profile::Prod1 => log_normal(PROD1_MU, &mut random),
            Profile::PloneEdit => {
                // The mean of a log-normal distribution is exp(mu + sigma² / 2).
                let mu = PLONE_MEAN_BYTES.ln() - PROD1_SIGMA * PROD1_SIGMA / 2.0;
                log_normal(mu, &mut random)
            }
            Profile::HotBucket => random.random_range(1_600_000..=2_000_000),
        };
        bytes.clamp(HEAD_BYTES, LARGEST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, median, and what 95 % and 99 % are not above, of 200,000 records.
    fn figures(profile: Profile) -> [f64; 4] {
        let sizes = Sizes::Profile(profile);
        let mut all: Vec<usize> = (0..200_000).map(|n| sizes.bytes(Oid(n), 1)).collect();
        all.sort_unstable();
        let mean = all.iter().sum::<usize>() as f64 / all.len() as f64;
        let at = |share: f64| all[(share * all.len() as f64) as usize] as f64;
        [mean, at(0.5), at(0.95), at(0.99)]
    }

    #[test]
    fn profiles_are_as_their_sources_say() {
        for (profile, expected) in [
            (Profile::Prod1, [1417.0, 421.0, 5500.0, 15_800.0]),
            (Profile::PloneEdit, [1159.0, 344.0, 4470.0, 12_900.0]),
            (Profile::HotBucket, [1.8e6, 1.8e6, 1.98e6, 1.996e6]),
        ] {
            let found = figures(profile);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found / expected - 1.0).abs() < 0.05, "{profile:?}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_length_depends_on_oid_and_revision_alone() {
        let sizes = Sizes::Profile(Profile::Prod1);
        assert_eq!(sizes.bytes(Oid(7), 3), sizes.bytes(Oid(7), 3));
        let lengths: std::collections::BTreeSet<_> =
            (0..10).flat_map(|n| [sizes.bytes(Oid(n), 1), sizes.bytes(Oid(n), 2)]).collect();
        assert!(lengths.len() > 15, "{lengths:?}");
        assert_eq!(Sizes::Fixed(3).bytes(Oid(0), 0), HEAD_BYTES);
    }

    #[test]
    fn settings_are_numbers_or_names() {
        for (sizes, text) in [
            (Sizes::Fixed(1024), "1024"),
            (Sizes::Profile(Profile::Prod1), "\"prod1\""),
            (Sizes::Profile(Profile::PloneEdit), "\"plone-edit\""),
            (Sizes::Profile(Profile::HotBucket), "\"hot-bucket\""),
        ] {
            assert_eq!(serde_json::to_string(&sizes).unwrap(), text);
            assert_eq!(serde_json::from_str::<Sizes>(text).unwrap(), sizes);
        }
        let error = serde_json::from_str::<Sizes>("\"prod2\"").unwrap_err().to_string();
        assert!(error.contains("one of \"prod1\""), "{error}");
    }
}
