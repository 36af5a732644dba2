//! Finding and reading revisions, which a pack may move or drop meanwhile.

use protocol::{Failure, Loaded, Oid, Tid};

use crate::api::Which;
use crate::core::Core;
use crate::index::{Lookup, Place, Revision};
use crate::log::At;
use crate::sync::thread;

impl Core {
    /// A revision with data, and its end; `Ok(None)`: the object is younger.
    pub(crate) fn find(
        &self,
        oid: Oid,
        which: Which,
    ) -> Result<Option<(Revision, Option<Tid>)>, Failure> {
        match self.index.find(oid, which) {
            Lookup::Revision { revision, end } if revision.place.has_data() => {
                Ok(Some((revision, end)))
            }
            // What was there may have been dropped.
            Lookup::Younger if !self.is_packed(which) => Ok(None),
            Lookup::Revision { .. } | Lookup::Unknown | Lookup::Younger => {
                Err(Failure::UnknownOid(oid))
            }
        }
    }

    /// Whether what is asked for may have been dropped by a pack.
    fn is_packed(&self, which: Which) -> bool {
        let packed_to = self.packed_to();
        packed_to > Tid::ZERO && matches!(which, Which::Before(tid) if tid <= packed_to)
    }

    /// Looks at a known revision where it is: a pack may just have moved it.
    pub(crate) fn located<T>(
        &self,
        oid: Oid,
        mut revision: Revision,
        mut look: impl FnMut(Place) -> Result<At<T>, Failure>,
    ) -> Result<T, Failure> {
        for _ in 0..MOVES_MAX {
            if let At::Here(found) = look(revision.place)? {
                return Ok(found);
            }
            let Lookup::Revision { revision: moved, .. } =
                self.index.find(oid, Which::Serial(revision.tid))
            else {
                return Err(Failure::UnknownOid(oid));
            };
            revision = moved;
        }
        Err(misplaced(oid))
    }

    /// Appends the data of a revision; may block.
    pub(crate) fn read(
        &self,
        oid: Oid,
        revision: Revision,
        data: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.located(oid, revision, |place| self.log.read(oid, place, data))
    }

    pub(crate) fn load_blocking(
        &self,
        oid: Oid,
        which: Which,
    ) -> Result<Option<Loaded<Vec<u8>>>, Failure> {
        let mut data = Vec::new();
        let read = |place| self.log.read(oid, place, &mut data);
        let Some((tid, end, ())) = self.look_up(oid, which, read)? else {
            return Ok(None);
        };
        if !self.options.load_delay.is_zero() {
            thread::sleep(self.options.load_delay);
        }
        Ok(Some(Loaded { data, tid, end }))
    }

    /// Finds a revision and looks at it. When it has moved it is found anew: a commit may have
    /// superseded it before the pack that moved it, or dropped it.
    pub(crate) fn look_up<T>(
        &self,
        oid: Oid,
        which: Which,
        mut look: impl FnMut(Place) -> Result<At<T>, Failure>,
    ) -> Result<Option<(Tid, Option<Tid>, T)>, Failure> {
        for _ in 0..MOVES_MAX {
            let Some((revision, end)) = self.find(oid, which)? else {
                return Ok(None);
            };
            if let At::Here(found) = look(revision.place)? {
                return Ok(Some((revision.tid, end, found)));
            }
        }
        Err(misplaced(oid))
    }
}

fn misplaced(oid: Oid) -> Failure {
    let what = "the index names a place that the log does not have";
    Failure::Storage(format!("object {oid}: {what}"))
}

/// A revision moves once in a pack: nothing is looked for so often.
const MOVES_MAX: u32 = 100;
