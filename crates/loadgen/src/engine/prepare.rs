//! What must be there before, and must still be there afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use protocol::Oid;

use super::connection::Connection;
use super::role::{FIRST_READ, Role};
use super::{Engine, PATIENCE};
use crate::data;
use crate::wire::Event;

/// Writes the objects that are read, unless the last of them is there, and reads some back.
pub(crate) fn fill(
    protocol: &str,
    address: &str,
    objects: u64,
    bytes: usize,
) -> anyhow::Result<()> {
    let mut filler = Filler::open(protocol, address)?;
    let last = Oid(FIRST_READ + objects.saturating_sub(1));
    // The floor has records, and takes none.
    if protocol != "echo" && filler.load(last)?.is_none() {
        let batch = if matches!(protocol, "redis" | "memcached") { 1 } else { 100 };
        let oids: Vec<Oid> = (0..objects).map(|n| Oid(FIRST_READ + n)).collect();
        for oids in oids.chunks(batch) {
            filler.commit(oids, bytes)?;
        }
    }
    for n in 0..objects.min(CHECKED) {
        let oid = Oid(FIRST_READ + n * objects / objects.min(CHECKED));
        let record = filler.load(oid)?.with_context(|| format!("object {oid} is lost"))?;
        if data::check(oid, &record).is_none() || record.len() != bytes.max(data::HEAD_BYTES) {
            bail!("object {oid} has {} wrong bytes", record.len());
        }
    }
    Ok(())
}

/// How many objects are read back before anything is measured.
const CHECKED: u64 = 100;

/// One connection that waits for each answer.
struct Filler(Connection);

impl Filler {
    fn open(protocol: &str, address: &str) -> anyhow::Result<Self> {
        let connection = Connection::open(protocol, address)?;
        connection.stream.set_nonblocking(false)?;
        connection.stream.set_read_timeout(Some(PATIENCE))?;
        let mut filler = Self(connection);
        while !filler.0.wire.is_open() {
            filler.event()?;
        }
        Ok(filler)
    }

    fn load(&mut self, oid: Oid) -> anyhow::Result<Option<bytes::Bytes>> {
        let asked = self.0.wire.load(oid)?;
        loop {
            if let Event::Loaded { ticket, data } = self.event()?
                && ticket == asked
            {
                return Ok(data);
            }
        }
    }

    fn commit(&mut self, oids: &[Oid], bytes: usize) -> anyhow::Result<()> {
        self.0.wire.commit(oids, bytes)?;
        while self.event()? != Event::Committed {}
        Ok(())
    }

    fn event(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(event) = self.0.next_event()? {
                return Ok(event);
            }
            // A message that was handled may have left something to say.
            self.0.send()?;
            self.0.receive()?;
        }
    }
}

impl Engine {
    /// What a connection wrote and nobody else writes must be as it was acknowledged.
    pub(super) fn check_own(&mut self) -> anyhow::Result<()> {
        self.finish_commits()?;
        let mut filler = None;
        for slot in &self.slots {
            let Role::Commit { oids, .. } = &slot.role else { continue };
            for oid in oids {
                let written = slot.connection.wire.revision(*oid);
                if written == 0 {
                    continue;
                }
                let filler = match &mut filler {
                    Some(filler) => filler,
                    None => filler.insert(Filler::open(&self.job.protocol, &self.job.address)?),
                };
                let record = filler.load(*oid)?.with_context(|| format!("object {oid} is lost"))?;
                match data::check(*oid, &record) {
                    // Others may have gone on, but nobody may have gone back.
                    Some(revision) if revision >= written => {}
                    found => bail!("object {oid}: revision {written} was lost, found {found:?}"),
                }
            }
        }
        Ok(())
    }

    /// Waits for the commits that are under way: their revisions may or may not be there.
    fn finish_commits(&mut self) -> anyhow::Result<()> {
        let mut counts = super::Counts::ignoring();
        let mut events = Vec::with_capacity(1024);
        let deadline = Instant::now() + PATIENCE;
        while self.slots.iter().any(|slot| slot.commits()) {
            if Instant::now() > deadline {
                bail!("commits are not answered after {PATIENCE:?}");
            }
            self.poll(&mut events, Duration::from_millis(50))?;
            for event in events.drain(..) {
                self.handle(event, &mut counts)?;
            }
        }
        Ok(())
    }
}

impl super::Slot {
    fn commits(&self) -> bool {
        matches!(self.role, Role::Commit { .. }) && self.connection.commit.is_some()
    }
}
