//! What the commit path does with blobs: before the locks, and before the log.

use std::sync::Arc;

use protocol::{Failure, Oid, Tid};

use crate::blobs::Upload;
use crate::commit::committer::{Committing, Finish};
use crate::commit::transaction::{Pending, Stage, State};
use crate::core::Core;
use crate::log::Payload;
use crate::sync::MutexGuard;

impl Core {
    /// Goes on with a vote when its blobs are durable: at once if they are or if there are none,
    /// else on another thread, if the vote is not aborted by then.
    pub(super) fn with_blobs(
        self: &Arc<Self>,
        pending: &Arc<Pending>,
        state: MutexGuard<'_, State>,
        next: fn(&Arc<Self>, &Arc<Pending>, MutexGuard<'_, State>),
    ) {
        let blobs = state.blobs.iter().filter(|(_, blob)| !blob.is_ready());
        let blobs: Vec<_> = blobs.map(|(oid, blob)| (*oid, blob.clone())).collect();
        let Some(store) = self.blobs.as_ref().filter(|_| !blobs.is_empty()) else {
            return next(self, pending, state);
        };
        drop(state);
        let (core, pending) = (Arc::clone(self), Arc::clone(pending));
        store.run(move || match core.make_ready(&blobs) {
            Ok(()) => {
                let state = pending.lock();
                if let Stage::Voting(_) = state.stage {
                    next(&core, &pending, state);
                }
            }
            Err(failure) => {
                core.release(pending.owner);
                core.refuse(pending, Err(failure));
            }
        });
    }

    /// Says which records have blobs, and which ones: what was sent with a store, or with an undo
    /// that of the revision whose data it brings back. Others are dropped.
    pub(super) fn assign_blobs(&self, state: &mut State) {
        let Some(store) = &self.blobs else {
            return;
        };
        let mut sent = std::mem::take(&mut state.blobs);
        // A record that is copied can have an origin and bring its blob all the same.
        let is_copied = state.undos.is_empty();
        for record in &mut state.records {
            let has_data = !matches!(record.payload, Payload::None);
            if record.has_blob {
                state.blobs.insert(record.oid, store.copy(record.oid, record.origin));
            } else if has_data
                && (is_copied || record.origin == Tid::ZERO)
                && let Some(blob) = sent.remove(&record.oid)
            {
                record.has_blob = true;
                state.blobs.insert(record.oid, blob);
            }
        }
    }

    pub(crate) fn make_ready(&self, blobs: &[(Oid, Upload)]) -> Result<(), Failure> {
        blobs.iter().try_for_each(|(oid, blob)| blob.settle(*oid))?;
        let synced = self.blob_store()?.sync_unfinished();
        synced.map_err(|error| Failure::Storage(format!("cannot sync blobs: {error}")))?;
        blobs.iter().for_each(|(_, blob)| blob.set_ready());
        Ok(())
    }
}

impl Finish {
    /// The records will not be in the log.
    pub(crate) fn take_back_blobs(&self) {
        self.blobs.values().for_each(Upload::take_back);
    }
}

impl Committing {
    /// Gives blobs their names, durably.
    pub(super) fn place_blobs(&self) -> Result<(), Failure> {
        let mut blobs = self.finish.blobs.iter();
        blobs.try_for_each(|(oid, blob)| blob.place(*oid, self.tid)).map_err(Failure::Storage)
    }

    /// The records are in the log.
    pub(super) fn keep_blobs(&self) {
        self.finish.blobs.values().for_each(Upload::keep);
    }

    /// It is not known whether they are.
    pub(super) fn leave_blobs(&self) {
        self.finish.blobs.values().for_each(Upload::leave);
    }
}
