//! What connections do, as scenarios say it.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::sizes::Sizes;

/// A kind of work and its settings; the names are those of `benchmarks/*.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Workload {
    /// Loads of current revisions.
    Read {
        /// How many there are.
        objects: u64,
        record_bytes: Sizes,
        /// Which are asked for.
        #[serde(default)]
        choice: Choice,
        /// Whether they may be in the page cache.
        #[serde(default, skip_serializing_if = "PageCache::is_kept")]
        page_cache: PageCache,
    },
    /// Transactions that write objects.
    Commit {
        /// Objects of one transaction.
        objects: u64,
        record_bytes: Sizes,
        /// So many of them are new in each transaction, and the connection's own.
        #[serde(default, skip_serializing_if = "is_zero")]
        new_objects: u64,
        /// All connections write the same objects, or each its own.
        #[serde(default)]
        hot: bool,
        /// The last connection packs, again and again, in place of writing.
        #[serde(default, skip_serializing_if = "is_false")]
        packs: bool,
    },
    /// Reads, which are measured, beside connections that commit one object each, which are not.
    Mixed {
        /// How many are read.
        objects: u64,
        record_bytes: Sizes,
        /// How many of the connections commit.
        committers: u32,
        /// How long each of these pauses before its next commit, in milliseconds, on average; the
        /// pauses are distributed exponentially.
        #[serde(default, skip_serializing_if = "is_zero")]
        think_ms: u64,
        /// The last connection packs, again and again, in place of reading.
        #[serde(default, skip_serializing_if = "is_false")]
        packs: bool,
    },
    /// Blobs: an operation is a transaction with one blob, or the load of an object and its blob.
    Blobs { blob_bytes: usize, direction: Direction },
    /// [`Self::Commit`] of one own object, beside a connection that has voted and waits.
    StalledVoter { record_bytes: Sizes },
    /// One connection commits, all others wait for invalidations: an operation is one arrival, and
    /// its latency counts from the moment at which the commit was asked.
    Invalidations { record_bytes: Sizes },
    /// Connect, register, disconnect.
    Connect {},
    /// One connection reads, all others are registered and do nothing: what they cost the server in
    /// memory, and whether it still serves the one. The server is started for it.
    Idle {
        /// How many are read.
        objects: u64,
        /// Of each record.
        record_bytes: Sizes,
    },
}

/// Whether what is read may be in the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PageCache {
    /// As the system does it.
    #[default]
    Kept,
    /// Its pages are dropped before and all the while, as if memory were small: see [`crate::cold`].
    Dropped,
}

impl PageCache {
    /// What has been so always is left out of settings.
    fn is_kept(&self) -> bool {
        *self == Self::Kept
    }
}

/// Where blobs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// To the server.
    Upload,
    /// From the server.
    Download,
}

/// Which of many objects are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Choice {
    /// All alike.
    #[default]
    Uniform,
    /// Few often and many rarely, by Zipf's law with this exponent.
    Zipf(f64),
}

/// Likewise.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Likewise.
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Workload {
    /// For the record of a point.
    pub(crate) fn settings(&self) -> anyhow::Result<BTreeMap<String, serde_json::Value>> {
        let value = serde_json::to_value(self).context("settings of a workload")?;
        serde_json::from_value(value).context("settings of a workload")
    }

    /// The objects that must be there beforehand.
    pub(crate) fn fill(&self) -> Option<Fill> {
        let (objects, sizes) = match *self {
            Self::Read { objects, record_bytes, .. }
            | Self::Mixed { objects, record_bytes, .. }
            | Self::Idle { objects, record_bytes } => (objects, record_bytes),
            Self::Blobs { blob_bytes, direction: Direction::Download } => {
                let (objects, sizes) = (BLOBS, BLOB_RECORD);
                return Some(Fill { objects, sizes, blob_bytes: Some(blob_bytes) });
            }
            Self::Blobs { .. }
            | Self::Commit { .. }
            | Self::StalledVoter { .. }
            | Self::Invalidations { .. }
            | Self::Connect {} => return None,
        };
        Some(Fill { objects, sizes, blob_bytes: None })
    }

    /// Refuses what no server could do, or none that speaks `protocol`.
    pub(crate) fn check(&self, protocol: &str) -> anyhow::Result<()> {
        let is_key_value = ["redis", "memcached", "echo"].contains(&protocol);
        if is_key_value && self.needs_transactions() {
            bail!("a server of {protocol} has no transactions");
        }
        let objects = match *self {
            Self::Read { objects, .. }
            | Self::Mixed { objects, .. }
            | Self::Idle { objects, .. }
            | Self::Commit { objects, .. } => objects,
            Self::Blobs { .. }
            | Self::StalledVoter { .. }
            | Self::Invalidations { .. }
            | Self::Connect {} => 1,
        };
        if objects == 0 {
            bail!("a workload of no objects");
        }
        match *self {
            Self::Read { choice: Choice::Zipf(exponent), .. }
                if !(0.0..100.0).contains(&exponent) =>
            {
                bail!("{exponent} is no exponent of Zipf's law")
            }
            Self::Commit { objects, new_objects, .. } if new_objects > objects => {
                bail!("{new_objects} new objects in a transaction of {objects}")
            }
            Self::Blobs { blob_bytes, .. } if !crate::data::is_blob_length(blob_bytes) => {
                bail!("a blob of {blob_bytes} bytes cannot be checked; take 16 more")
            }
            _ => Ok(()),
        }
    }

    /// Whether the last connection packs.
    pub(crate) fn packs(&self) -> bool {
        matches!(self, Self::Commit { packs: true, .. } | Self::Mixed { packs: true, .. })
    }

    /// Whether reads must not find anything in the page cache.
    pub(crate) fn is_cold(&self) -> bool {
        matches!(self, Self::Read { page_cache: PageCache::Dropped, .. })
    }

    /// Whether the server's memory is looked at, for which it must be a new one: what an old one
    /// once needed it may have kept.
    pub(crate) fn looks_at_memory(&self) -> bool {
        matches!(self, Self::Idle { .. })
    }

    /// Whether one worker has all connections: the publisher and who hears of it need one clock.
    pub(crate) fn is_of_one_worker(&self) -> bool {
        matches!(self, Self::Invalidations { .. })
    }

    /// Whether only servers of transactions can do it; plain key-value servers can get and set.
    fn needs_transactions(&self) -> bool {
        !matches!(
            self,
            Self::Read { .. } | Self::Commit { objects: 1, hot: false, packs: false, .. }
        )
    }
}

/// What must be there before a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) objects: u64,
    pub(crate) sizes: Sizes,
    /// Each object has a blob of so many bytes.
    pub(crate) blob_bytes: Option<usize>,
}

/// So many blobs are downloaded in turns.
pub(crate) const BLOBS: u64 = 16;

/// Of the records that blobs belong to: as long as those that ZODB writes.
pub(crate) const BLOB_RECORD: Sizes = Sizes::Fixed(64);
