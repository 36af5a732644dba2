//! Records that their own transaction supersedes.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::Reader;
use crate::error::ReadError;

impl Reader {
    /// Where those records of the transaction begin that another one of the same object follows in
    /// it: FileStorage shows the last one only, and ZEO's server writes that of a blob twice. What
    /// [`Self::next_record`] tells next stays the same; takes memory for each object of the
    /// transaction until it returns.
    ///
    /// # Errors
    ///
    /// As [`Self::next_record`], of all that are left.
    pub fn superseded(&mut self) -> Result<HashSet<u64>, ReadError> {
        let open = self.open;
        let mut last: HashMap<_, _, RandomState> = HashMap::default();
        let mut superseded = HashSet::new();
        while let Some((oid, offset)) = self.next_place()? {
            superseded.extend(last.insert(oid, offset));
        }
        self.open = open;
        Ok(superseded)
    }
}
