//! A connection in its role.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::AsFd as _;
use std::time::Instant;

use anyhow::{Context as _, bail};
use rustix::event::epoll;

use super::connection::{Connection, Scratch, Times};
use super::count::Counts;
use super::role::Role;
use super::stream::Received;
use crate::wire::Event;

/// What all slots of a worker have in common.
pub(super) struct Shared {
    pub(super) epoll: rustix::fd::OwnedFd,
    pub(super) protocol: String,
    pub(super) published: Published,
    pub(super) scratch: Scratch,
    /// Who pauses until when, by position; the first to go on comes first.
    pub(super) thinking: BinaryHeap<Reverse<(Instant, usize)>>,
}

/// A connection and its role.
pub(super) struct Slot {
    pub(super) connection: Connection,
    pub(super) role: Role,
    /// Its events are known by this number.
    position: usize,
    /// Whether an open loop's arrivals go to it, as they do not to what runs beside.
    pub(super) is_scheduled: bool,
    /// Arrivals that found it busy.
    queue: VecDeque<Times>,
    /// How many publications have arrived.
    heard: usize,
    pub(super) has_voted: bool,
}

impl Slot {
    pub(super) fn new(
        connection: Connection,
        role: Role,
        position: usize,
        is_scheduled: bool,
    ) -> Self {
        let queue = VecDeque::new();
        Self { connection, role, position, is_scheduled, queue, heard: 0, has_voted: false }
    }

    /// Has epoll tell of the connection.
    pub(super) fn watch(&self, epoll: &rustix::fd::OwnedFd) -> anyhow::Result<()> {
        use epoll::EventFlags;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = epoll::EventData::new_u64(self.position as u64);
        epoll::add(epoll, self.connection.stream.socket.as_fd(), data, flags).context("epoll")
    }

    pub(super) fn stalls(&self) -> bool {
        matches!(self.role, Role::Stall { .. })
    }

    /// How many operations are not done yet.
    pub(super) fn under_way(&self) -> usize {
        let connection = &self.connection;
        connection.loads.len() + usize::from(connection.single.is_some()) + self.queue.len()
    }

    /// An arrival: starts it, or has it wait while the connection cannot take it.
    pub(super) fn arrive(&mut self, times: Times, shared: &mut Shared) -> anyhow::Result<()> {
        if self.connection.single.is_some() {
            self.queue.push_back(times);
            return Ok(());
        }
        self.ask(Times { sent: Instant::now(), ..times }, shared)?;
        self.connection.send()
    }

    /// Starts an operation.
    pub(super) fn ask(&mut self, times: Times, shared: &mut Shared) -> anyhow::Result<()> {
        match &mut self.role {
            Role::Read(reads) => self.connection.load(reads.next(), times),
            Role::Commit(writes) => {
                shared.published.push(times);
                self.connection.single = Some(times);
                let (sizes, blob_bytes) = (writes.sizes, writes.blob_bytes);
                match (writes.next(), blob_bytes) {
                    (&[oid, ..], Some(bytes)) => self.connection.wire.store_blob(oid, sizes, bytes),
                    (oids, _) => self.connection.wire.commit(oids, sizes),
                }
            }
            Role::Download(reads, _) => {
                self.connection.single = Some(times);
                self.connection.wire.load_blob(reads.next())
            }
            Role::Pack { .. } => {
                self.connection.single = Some(times);
                self.connection.wire.pack()
            }
            Role::Connect => {
                self.connection.reopen(&shared.protocol)?;
                self.connection.single = Some(times);
                self.watch(&shared.epoll)
            }
            Role::Stall { .. } | Role::Subscribe | Role::Idle => Ok(()),
        }
    }

    /// The socket can be read or written, or is closed. An edge is told once, and whoever closes
    /// after an answer makes one edge of both: then the end has to be looked for.
    pub(super) fn handle(
        &mut self,
        is_closed: bool,
        counts: &mut Counts,
        shared: &mut Shared,
    ) -> anyhow::Result<()> {
        while let Some(received) = self.connection.receive(&mut shared.scratch)? {
            while let Some(event) = self.connection.next_event()? {
                self.event(event, counts, shared)?;
            }
            if received == Received::All && !is_closed {
                break;
            }
        }
        if matches!(self.role, Role::Connect)
            && self.connection.wire.is_open()
            && let Some(times) = self.connection.single.take()
        {
            self.done(times, counts, shared)?;
        }
        self.connection.send()
    }

    fn event(
        &mut self,
        event: Event,
        counts: &mut Counts,
        shared: &mut Shared,
    ) -> anyhow::Result<()> {
        let times = match event {
            Event::Step => return Ok(()),
            Event::Voted => {
                self.has_voted = true;
                return Ok(());
            }
            Event::Invalidated { .. } => return self.invalidated(counts, shared),
            Event::Loaded { ticket, data } => {
                let Role::Read(reads) = &self.role else {
                    bail!("an answer that nobody asked for")
                };
                self.connection.loaded(ticket, data.as_deref(), reads.sizes)?
            }
            Event::Committed => {
                self.connection.single.take().context("a commit that nobody asked for")?
            }
            Event::BlobLoaded { bytes } => {
                let Role::Download(_, wanted) = self.role else {
                    bail!("a blob that nobody asked for")
                };
                if bytes != wanted {
                    bail!("a blob of {bytes} bytes, which has {wanted}");
                }
                self.connection.single.take().context("a blob that nobody asked for")?
            }
            Event::Packed => {
                let Role::Pack { ended } = &mut self.role else {
                    bail!("a pack that nobody asked for")
                };
                *ended += 1;
                self.connection.single.take().context("a pack that nobody asked for")?
            }
        };
        self.done(times, counts, shared)
    }

    /// An operation is done, and the next one may start.
    fn done(
        &mut self,
        times: Times,
        counts: &mut Counts,
        shared: &mut Shared,
    ) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.role.is_measured() {
            counts.count(times, now);
        }
        if let Some(waiting) = self.queue.pop_front() {
            return self.ask(Times { sent: now, ..waiting }, shared);
        }
        if !counts.asks(now) || counts.open && self.is_scheduled {
            return Ok(());
        }
        if let Some(pause) = self.role.pause() {
            shared.thinking.push(Reverse((now + pause, self.position)));
            return Ok(());
        }
        self.ask(Times::at(now), shared)
    }

    /// A subscriber hears of the publisher's commits, one after the other.
    fn invalidated(&mut self, counts: &mut Counts, shared: &mut Shared) -> anyhow::Result<()> {
        if matches!(self.role, Role::Subscribe) {
            let times = shared.published.hear(self.heard).context("an invalidation of nothing")?;
            counts.count(times, Instant::now());
            self.heard += 1;
        }
        Ok(())
    }
}

/// Commits of which not all subscribers have heard yet.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) subscribers: usize,
    /// Those before have been heard by all.
    first: usize,
    /// When each was asked, and how many have still to hear of it.
    waiting: VecDeque<(Times, usize)>,
}

impl Published {
    fn push(&mut self, times: Times) {
        if self.subscribers > 0 {
            self.waiting.push_back((times, self.subscribers));
        }
    }

    /// A subscriber hears of commit `number`.
    fn hear(&mut self, number: usize) -> Option<Times> {
        let (times, left) = self.waiting.get_mut(number.checked_sub(self.first)?)?;
        let times = *times;
        *left = left.saturating_sub(1);
        while let Some((_, 0)) = self.waiting.front() {
            self.waiting.pop_front();
            self.first += 1;
        }
        Some(times)
    }

    pub(super) fn under_way(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_commit_is_forgotten_when_all_have_heard() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut published = Published { subscribers: 2, ..Published::default() };
        published.push(Times::at(at(1)));
        published.push(Times::at(at(2)));
        let heard =
            |published: &mut Published, number| published.hear(number).map(|times| times.sent);
        assert_eq!(heard(&mut published, 0), Some(at(1)));
        assert_eq!(heard(&mut published, 1), Some(at(2)));
        assert_eq!(published.under_way(), 2);
        assert_eq!(heard(&mut published, 0), Some(at(1)));
        assert_eq!(published.under_way(), 1);
        assert_eq!(heard(&mut published, 2), None, "nobody has published that");
        assert_eq!(heard(&mut published, 1), Some(at(2)));
        assert_eq!(published.under_way(), 0);
    }

    #[test]
    fn without_subscribers_nothing_is_kept() {
        let mut published = Published::default();
        published.push(Times::at(Instant::now()));
        assert_eq!(published.under_way(), 0);
    }
}
