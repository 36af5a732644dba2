//! What must be there before, and must still be there afterwards.

use anyhow::{Context as _, bail};
use protocol::Oid;

use super::connection::{Connection, Scratch};
use super::role::{Role, read_oid};
use super::{Engine, PATIENCE};
use crate::control::Job;
use crate::data;
use crate::sizes::Sizes;
use crate::tls::Trust;
use crate::wire::Event;
use crate::workload::Fill;

/// Writes the objects that are read, unless they are there, and reads some back.
pub(crate) fn fill(job: &Job, wanted: Fill) -> anyhow::Result<()> {
    let Fill { objects, sizes, blob_bytes } = wanted;
    let (mut filler, protocol) = (Filler::open(job)?, job.protocol.as_str());
    if let Some(bytes) = blob_bytes {
        // Whether they are there would take as long to find out.
        return (0..objects).try_for_each(|n| filler.store_blob(read_oid(n), sizes, bytes));
    }
    // The floor has records, and takes none.
    if protocol != "echo" && !filler.holds(objects, sizes)? {
        let largest = if matches!(protocol, "redis" | "memcached") { 1 } else { FILL_BYTES };
        let (mut oids, mut bytes) = (Vec::new(), 0);
        for n in 0..objects {
            let oid = read_oid(n);
            oids.push(oid);
            bytes += sizes.bytes(oid, 1);
            if bytes >= largest || n + 1 == objects {
                filler.commit(&oids, sizes)?;
                (bytes, _) = (0, oids.clear());
            }
        }
    }
    if !filler.holds(objects, sizes)? {
        bail!("the server has not the {objects} objects that are to be read ({sizes:?})");
    }
    Ok(())
}

/// A transaction that writes what will be read has about so many bytes.
const FILL_BYTES: usize = 1 << 20;

/// How many objects are read back before anything is measured.
const CHECKED: u64 = 100;

/// One connection that waits for each answer.
struct Filler(Connection, Scratch);

impl Filler {
    fn open(job: &Job) -> anyhow::Result<Self> {
        let tls = job.tls.as_ref().map(Trust::tls).transpose()?;
        let connection = Connection::open(&job.protocol, &job.address, tls.as_ref())?;
        connection.stream.socket.set_nonblocking(false)?;
        connection.stream.socket.set_read_timeout(Some(PATIENCE))?;
        let mut filler = Self(connection, Scratch::default());
        filler.0.send()?;
        while !filler.0.wire.is_open() {
            filler.event()?;
        }
        Ok(filler)
    }

    /// Whether the objects are there, each of its length: some of them, and the last.
    fn holds(&mut self, objects: u64, sizes: Sizes) -> anyhow::Result<bool> {
        let some = (0..objects.min(CHECKED)).map(|n| n * objects / objects.min(CHECKED));
        for n in some.chain(objects.checked_sub(1)) {
            let oid = read_oid(n);
            let Some(record) = self.load(oid)? else { return Ok(false) };
            let Some(revision) = data::check(oid, &record) else {
                bail!("object {oid}: {} wrong bytes", record.len());
            };
            if record.len() != sizes.bytes(oid, revision) {
                return Ok(false);
            }
        }
        Ok(true)
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

    fn commit(&mut self, oids: &[Oid], sizes: Sizes) -> anyhow::Result<()> {
        self.0.wire.commit(oids, sizes)?;
        while self.event()? != Event::Committed {}
        Ok(())
    }

    /// Writes the next revision of an object and its blob; what others have written before is in
    /// the way at first.
    fn store_blob(&mut self, oid: Oid, sizes: Sizes, bytes: usize) -> anyhow::Result<()> {
        self.0.wire.store_blob(oid, sizes, bytes)?;
        while self.event()? != Event::Committed {}
        Ok(())
    }

    /// Loads an object and its blob, which is checked; how long it is.
    fn load_blob(&mut self, oid: Oid) -> anyhow::Result<usize> {
        self.0.wire.load_blob(oid)?;
        loop {
            if let Event::BlobLoaded { bytes } = self.event()? {
                return Ok(bytes);
            }
        }
    }

    fn event(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(event) = self.0.next_event()? {
                return Ok(event);
            }
            // A message that was handled may have left something to say.
            self.0.send()?;
            if self.0.receive(&mut self.1)?.is_none() {
                bail!("nothing was answered for {PATIENCE:?}");
            }
        }
    }
}

impl Engine {
    /// What a connection wrote and nobody else writes must be as it was acknowledged.
    pub(super) fn check_own(&mut self) -> anyhow::Result<()> {
        let mut filler = None;
        for slot in &self.slots {
            let writes = match &slot.role {
                Role::Commit(writes) => writes,
                Role::Pack { ended: 0 } => bail!("no pack ended while others worked"),
                _ => continue,
            };
            for oid in writes.all() {
                let written = slot.connection.wire.revision(*oid);
                if written == 0 {
                    continue;
                }
                let filler = match &mut filler {
                    Some(filler) => filler,
                    None => filler.insert(Filler::open(&self.job)?),
                };
                let record = filler.load(*oid)?.with_context(|| format!("object {oid} is lost"))?;
                match data::check(*oid, &record) {
                    // Others may have gone on, but nobody may have gone back.
                    Some(revision)
                        if revision >= written
                            && record.len() == writes.sizes.bytes(*oid, revision) => {}
                    found => bail!("object {oid}: revision {written} was lost, found {found:?}"),
                }
                if let Some(bytes) = writes.blob_bytes
                    && filler.load_blob(*oid)? != bytes
                {
                    bail!("object {oid}: its blob is shorter or longer than {bytes} bytes");
                }
            }
        }
        Ok(())
    }
}
