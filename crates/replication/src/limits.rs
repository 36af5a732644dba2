//! How much is sent at once, how much is accepted, and how long is waited.

use std::time::Duration;

/// A batch is sent when it has so many bytes.
pub const BATCH_BYTES: usize = 1 << 20;

/// Bytes of a frame, but for a batch of one item; those of a blob's part with what is around them included.
pub const SMALL_FRAME_BYTES_MAX: usize = BATCH_BYTES + (BATCH_BYTES >> 4);

/// Bytes of a part of a blob.
pub const BLOB_PART_BYTES: usize = 1 << 18;

/// Fields of a message's body, each item of a batch and each epoch of a history being one.
pub(crate) const FIELDS_MAX: usize = 1 << 16;

/// With so many bytes unsent a primary reads nothing more from its log.
pub const UNSENT_BYTES_MAX: usize = 4 << 20;

/// With so many bytes taken a secondary applies before it takes more.
pub const TAKEN_BYTES_MAX: usize = 8 << 20;

/// After so long without a message of its own an end says that it is there.
pub const ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A link on which nothing came for so many intervals is dead.
pub(crate) const INTERVALS_TO_DEATH: u32 = 4;
