//! How fast the disk says that something is durable.

use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::time::Instant;

use tempfile::tempfile_in;

use crate::histogram::Histogram;

/// So many bytes are written before each sync.
const BYTES: usize = 4096;

/// Latencies of writes of 4 KiB with a sync each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Syncs {
    /// At the end of a file, which grows: the file system has to write that down, too.
    pub appending: Histogram,
    /// Over what is in the file already.
    pub overwriting: Histogram,
}

/// Writes and syncs a file in `folder` that nobody sees, `count` times in each way.
pub fn syncs(folder: &Path, count: u32) -> io::Result<Syncs> {
    let mut file = tempfile_in(folder)?;
    let mut syncs = Syncs::default();
    for latencies in [&mut syncs.appending, &mut syncs.overwriting] {
        file.rewind()?;
        for _ in 0..count {
            let began = Instant::now();
            file.write_all(&[0x5a; BYTES])?;
            file.sync_data()?;
            latencies.record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(syncs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sync_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let Syncs { appending, overwriting } = syncs(folder.path(), 3).unwrap();
        assert_eq!((appending.count(), overwriting.count()), (3, 3));
        assert!(syncs(&folder.path().join("none"), 1).is_err());
    }
}
