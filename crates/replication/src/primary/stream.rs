//! What a primary sends after its Welcome.

use std::collections::VecDeque;

use bytes::Bytes;
use protocol::{Oid, Tid};

use super::{Action, Fed};
use crate::epoch::{EpochStart, History};
use crate::item::{Item, Position};
use crate::limits::BATCH_BYTES;
use crate::message::{Head, Hello, Reason, Refusal, ToSecondary};

/// The log from the secondary's position on, cut into batches.
#[derive(Debug)]
pub(super) struct Stream {
    wants_blobs: bool,
    /// Epochs that the secondary does not have.
    starts: VecDeque<EpochStart>,
    batch: Vec<Item>,
    batch_bytes: usize,
    /// The transaction that has begun last.
    begun: Tid,
    /// The last whole one that was put into a batch.
    ended: Tid,
    acked: Tid,
    source: Source,
    head: Head,
}

/// Where the next bytes are from.
#[derive(Clone, Copy, Debug)]
enum Source {
    Log,
    /// The log has no more for now.
    Nothing,
    /// So many bytes were read, or nobody knows yet whether it is there.
    Blob {
        oid: Oid,
        read: Option<u64>,
    },
}

impl Stream {
    pub(super) fn new(hello: &Hello, history: &History, position: Position) -> Self {
        let shared = history.shared(&hello.history);
        Self {
            wants_blobs: hello.wants_blobs,
            starts: history.starts().iter().skip(shared).copied().collect(),
            batch: Vec::new(),
            batch_bytes: 0,
            begun: hello.position.tid,
            ended: hello.position.tid,
            acked: hello.position.tid,
            source: Source::Log,
            head: Head { position, ..Head::default() },
        }
    }

    /// What to read, when there is room for it.
    pub(super) fn wants(&self) -> Option<Action> {
        match self.source {
            Source::Log => Some(Action::Next),
            Source::Nothing => None,
            Source::Blob { oid, read } => {
                let offset = read.unwrap_or_default();
                Some(Action::ReadBlob { oid, tid: self.begun, offset })
            }
        }
    }

    /// How far the primary is.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    pub(super) fn appended(&mut self, head: Head) {
        self.head = head;
        self.look_again();
    }

    pub(super) fn epoch_starts(&mut self, start: EpochStart) {
        self.starts.push_back(start);
        self.look_again();
    }

    pub(super) fn fed(&mut self, fed: Fed, actions: &mut VecDeque<Action>) -> Result<(), Refusal> {
        match fed {
            Fed::Item(item) => self.item(item, actions),
            Fed::AtEnd => {
                self.start_epochs(self.ended.next(), actions);
                self.flush(actions);
                self.source = Source::Nothing;
            }
            Fed::Packed => {
                let text = format!(
                    "what comes after {} was packed: begin with an empty storage",
                    self.begun
                );
                return Err(Refusal::new(Reason::Packed, text, None));
            }
            Fed::Failed(text) => return Err(Refusal::new(Reason::CannotServe, text, None)),
        }
        Ok(())
    }

    pub(super) fn blob_read(&mut self, part: Bytes, actions: &mut VecDeque<Action>) {
        let Source::Blob { oid, read } = self.source else { return };
        if read.is_none() {
            actions.push_back(Action::Send(ToSecondary::BlobStart(oid)));
        }
        let bytes = read.unwrap_or_default();
        let message = if part.is_empty() {
            self.source = Source::Log;
            ToSecondary::BlobEnd { bytes }
        } else {
            self.source = Source::Blob { oid, read: Some(bytes + part.len() as u64) };
            ToSecondary::BlobPart(part)
        };
        actions.push_back(Action::Send(message));
    }

    pub(super) fn blob_gone(&mut self, actions: &mut VecDeque<Action>) -> Result<(), Refusal> {
        match self.source {
            Source::Blob { oid, read: None } => {
                self.source = Source::Log;
                actions.push_back(Action::Send(ToSecondary::BlobGone(oid)));
                Ok(())
            }
            Source::Blob { oid, .. } => {
                let text = format!("a pack has dropped the blob of {oid} while it was sent");
                Err(Refusal::new(Reason::CannotServe, text, None))
            }
            Source::Log | Source::Nothing => Ok(()),
        }
    }

    pub(super) fn ack(&mut self, tid: Tid, actions: &mut VecDeque<Action>) -> Result<(), Refusal> {
        if !(self.acked..=self.ended).contains(&tid) {
            let text = format!(
                "an acknowledgement of {tid}, where all up to {} was sent and up to {} acknowledged",
                self.ended, self.acked
            );
            return Err(Refusal::new(Reason::Malformed, text, None));
        }
        self.acked = tid;
        actions.push_back(Action::Acked(tid));
        Ok(())
    }

    fn item(&mut self, item: Item, actions: &mut VecDeque<Action>) {
        match &item {
            Item::Begin(head) => {
                self.start_epochs(head.tid, actions);
                self.begun = head.tid;
            }
            Item::Record(_) => {}
            Item::End { .. } => self.ended = self.begun,
        }
        let blob_of = match &item {
            Item::Record(record) if record.has_blob && self.wants_blobs => Some(record.oid),
            _ => None,
        };
        let bytes = item.bytes();
        if self.batch_bytes + bytes > BATCH_BYTES {
            self.flush(actions);
        }
        self.batch_bytes += bytes;
        self.batch.push(item);
        if let Some(oid) = blob_of {
            self.flush(actions);
            self.source = Source::Blob { oid, read: None };
        }
    }

    /// Tells of the epochs that began before transaction `tid`.
    fn start_epochs(&mut self, tid: Tid, actions: &mut VecDeque<Action>) {
        while let Some(start) = self.starts.pop_front_if(|start| start.base.tid < tid) {
            self.flush(actions);
            actions.push_back(Action::Send(ToSecondary::EpochStarts(start)));
        }
    }

    fn flush(&mut self, actions: &mut VecDeque<Action>) {
        if !self.batch.is_empty() {
            self.batch_bytes = 0;
            let items = std::mem::take(&mut self.batch);
            actions.push_back(Action::Send(ToSecondary::Batch(items)));
        }
    }

    fn look_again(&mut self) {
        if matches!(self.source, Source::Nothing) {
            self.source = Source::Log;
        }
    }
}
