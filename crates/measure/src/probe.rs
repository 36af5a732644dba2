//! How fast the disk says that something is durable.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

use tempfile::tempfile_in;

use crate::histogram::Histogram;

/// So many bytes are appended before each sync.
const BYTES: usize = 4096;

/// Appends 4 KiB and syncs, `count` times, in a file in `folder` that nobody sees; the latencies of
/// the syncs with their writes. A server cannot commit faster without sharing syncs.
pub fn sync_latencies(folder: &Path, count: u32) -> io::Result<Histogram> {
    let mut file = tempfile_in(folder)?;
    let mut latencies = Histogram::default();
    for _ in 0..count {
        let began = Instant::now();
        file.write_all(&[0x5a; BYTES])?;
        file.sync_data()?;
        latencies.record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let latencies = sync_latencies(folder.path(), 3).unwrap();
        assert_eq!(latencies.count(), 3);
        assert!(sync_latencies(&folder.path().join("none"), 1).is_err());
    }
}
