//! What packs leave.

use std::path::Path;
use std::sync::Arc;

use protocol::{Oid, Tid};

use super::read;
use crate::api::Which;
use crate::directory::Content;
use crate::disk::{Disk, FrozenDisk};
use crate::index::{Index, Lookup};
use crate::open::OpenError;

/// Which revisions a storage has, for who has seen one in a [`super::Snapshot`] and does not find its
/// blob: a pack removes blobs before it drops their records.
#[derive(Debug)]
pub struct Kept {
    index: Index,
    packed_to: Tid,
}

impl Kept {
    /// Reads what is in `dir`; takes the time of a start of that storage, and keeps as much memory.
    ///
    /// # Errors
    ///
    /// As [`super::Snapshot::open`].
    pub fn read(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(FrozenDisk(Arc::clone(disk)));
        let Content { index, packed, .. } = read(&disk, dir)?;
        Ok(Self { index, packed_to: packed.to })
    }

    /// See [`super::Snapshot::packed_to`].
    pub fn packed_to(&self) -> Tid {
        self.packed_to
    }

    /// Whether a pack has dropped a revision that was there, or is about to.
    pub fn has_dropped(&self, oid: Oid, tid: Tid) -> bool {
        let is = |which| {
            let found = self.index.find(oid, which);
            matches!(found, Lookup::Revision { revision, .. } if revision.tid == tid)
        };
        !is(Which::Serial(tid))
            || tid <= self.packed_to && !is(Which::Before(self.packed_to.next()))
    }
}
