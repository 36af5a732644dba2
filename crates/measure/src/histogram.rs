//! Latencies, all of them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize, de, ser};

/// Counts of latencies in nanoseconds, from 1 to 10 minutes, each to three significant digits.
///
/// As text it is HDR's V2 format, deflated, in base64: some kilobytes. Histograms of several
/// workers are added; percentiles never are.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram(Hdr<u64>);

const LARGEST_NS: u64 = 600_000_000_000;
const DIGITS: u8 = 3;

impl Histogram {
    /// Counts a latency; one beyond the range counts as the nearest within.
    pub fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns.max(1));
    }

    /// Adds the counts of another one.
    pub fn add(&mut self, other: &Self) {
        // Both have the same range, so nothing can be out of it.
        _ = self.0.add(&other.0);
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency in nanoseconds that a share (0 to 1) of all is not above; 0 if there is none.
    pub fn quantile_ns(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// The largest latency in nanoseconds; 0 if there is none.
    pub fn max_ns(&self) -> u64 {
        self.0.max()
    }

    /// The mean in nanoseconds; 0 if there is none.
    pub fn mean_ns(&self) -> f64 {
        self.0.mean()
    }

    /// Forgets all counts, and keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// The histogram as text.
    pub fn encode(&self) -> String {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("a Vec takes all that is written to it");
        BASE64_STANDARD.encode(bytes)
    }

    /// The inverse of [`Self::encode`].
    pub fn decode(text: &str) -> Result<Self, String> {
        let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
        let read = Deserializer::new().deserialize(&mut &bytes[..]);
        let read: Hdr<u64> = read.map_err(|error| format!("{error:?}"))?;
        let mut own = Self::default();
        own.0.add(read).map_err(|error| format!("{error:?}"))?;
        Ok(own)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let hdr = Hdr::new_with_bounds(1, LARGEST_NS, DIGITS).expect("the bounds are in order");
        Self(hdr)
    }
}

impl Serialize for Histogram {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.encode())
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::decode(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(latencies: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        latencies.into_iter().for_each(|latency| histogram.record(latency));
        histogram
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let histogram = of((1..=1000).map(|n| n * 1000));
        for (share, expected) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
            let found = histogram.quantile_ns(share);
            assert!(found.abs_diff(expected) <= expected / 500, "{share}: {found}");
        }
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn text_keeps_everything() {
        let histogram = of([1, 70, 1234, 5_000_000, LARGEST_NS]);
        assert_eq!(Histogram::decode(&histogram.encode()), Ok(histogram));
        assert!(Histogram::decode("no histogram").is_err());
        assert!(Histogram::decode("AAAA").is_err());
    }

    #[test]
    fn sums_count_both_and_the_range_has_ends() {
        let mut sum = of([5, 6]);
        sum.add(&of([7, 0, u64::MAX]));
        assert_eq!(sum.count(), 5);
        assert!(sum.max_ns() >= LARGEST_NS);
        sum.clear();
        assert_eq!(sum, Histogram::default());
    }
}
