//! What has come from the primary and is not done yet.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::{Malformed, Tid};

use super::Action;
use super::order::Order;
use crate::epoch::EpochStart;
use crate::limits::TAKEN_BYTES_MAX;
use crate::message::ToSecondary;

/// Parts of transactions and epochs, in order; [`Action::Apply`] comes in between when there are no
/// more, or enough.
#[derive(Debug)]
pub(super) struct Received {
    order: Order,
    queue: VecDeque<Part>,
    queued_bytes: usize,
    /// Of what was taken since the last [`Action::Apply`].
    taken_bytes: usize,
    taken_whole: bool,
    /// What was asked for last has to be done before anything else.
    pub(super) is_busy: bool,
}

#[derive(Debug)]
enum Part {
    Take { action: Action, bytes: usize, has_whole: bool },
    EpochStarts(EpochStart),
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Work {
    Do(Action),
    /// All before it is applied.
    EpochStarts(EpochStart),
}

impl Received {
    pub(super) fn new(last: Tid, wants_blobs: bool) -> Self {
        Self {
            order: Order::new(last, wants_blobs),
            queue: VecDeque::new(),
            queued_bytes: 0,
            taken_bytes: 0,
            taken_whole: false,
            is_busy: false,
        }
    }

    /// Queues what came, if it is in order.
    pub(super) fn push(&mut self, message: ToSecondary) -> Result<(), Malformed> {
        let mut has_whole = false;
        let mut bytes = 0;
        let action = match message {
            ToSecondary::Batch(items) => {
                for item in &items {
                    has_whole |= self.order.item(item)?;
                    bytes += item.bytes();
                }
                Action::Take(items)
            }
            ToSecondary::BlobStart(oid) => {
                self.order.blob_start(oid)?;
                Action::BlobStart(oid)
            }
            ToSecondary::BlobPart(part) => {
                self.order.blob_part(&part)?;
                bytes = Bytes::len(&part);
                Action::BlobPart(part)
            }
            ToSecondary::BlobEnd { bytes } => {
                self.order.blob_end(bytes)?;
                Action::BlobEnd
            }
            // Its record goes without.
            ToSecondary::BlobGone(oid) => return self.order.blob_gone(oid),
            ToSecondary::EpochStarts(start) => {
                self.order.epoch_starts()?;
                self.queue.push_back(Part::EpochStarts(start));
                return Ok(());
            }
            ToSecondary::Welcome(_) | ToSecondary::Alive(_) | ToSecondary::Refusal(_) => {
                return Err(Malformed("a message out of order".to_owned()));
            }
        };
        self.queued_bytes += bytes;
        self.queue.push_back(Part::Take { action, bytes, has_whole });
        Ok(())
    }

    pub(super) fn has_room(&self) -> bool {
        self.queued_bytes < TAKEN_BYTES_MAX
    }

    pub(super) fn next(&mut self) -> Option<Work> {
        if self.is_busy {
            return None;
        }
        let is_enough = self.taken_bytes >= TAKEN_BYTES_MAX
            || !matches!(self.queue.front(), Some(Part::Take { .. }));
        if self.taken_whole && is_enough {
            self.taken_whole = false;
            self.taken_bytes = 0;
            self.is_busy = true;
            return Some(Work::Do(Action::Apply));
        }
        Some(match self.queue.pop_front()? {
            Part::EpochStarts(start) => Work::EpochStarts(start),
            Part::Take { action, bytes, has_whole } => {
                self.queued_bytes -= bytes;
                self.taken_bytes += bytes;
                self.taken_whole |= has_whole;
                Work::Do(action)
            }
        })
    }
}
