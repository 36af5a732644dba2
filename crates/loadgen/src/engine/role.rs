//! Who does what: each connection of a workload has one role.

use std::time::Duration;

use protocol::Oid;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Exp, Zipf};

use crate::control::{Job, unix_ns};
use crate::sizes::Sizes;
use crate::workload::{BLOB_RECORD, BLOBS, Choice, Direction, Workload};

/// The first of the objects that are read.
pub(crate) const FIRST_READ: u64 = 1 << 20;
/// The first of the objects that one connection has to itself.
const FIRST_OWN: u64 = 1 << 40;
/// The first of those that all write.
const FIRST_HOT: u64 = 1 << 30;
/// The first of those that are new when they are written.
const FIRST_NEW: u64 = 1 << 62;
/// Of who stalls.
const STALLED: Oid = Oid(FIRST_HOT - 1);
/// A connection has so many at most.
const OWN: u64 = 1 << 20;

/// The object that is read as number `n`.
pub(crate) fn read_oid(n: u64) -> Oid {
    Oid(FIRST_READ + n)
}

/// What a connection does.
#[derive(Debug)]
pub(super) enum Role {
    Read(Box<Reads>),
    Commit(Box<Writes>),
    /// Loads blobs of so many bytes.
    Download(Box<Reads>, usize),
    /// Asks for packs, which have ended so often.
    Pack {
        ended: u64,
    },
    Stall {
        oid: Oid,
        sizes: Sizes,
    },
    Subscribe,
    Connect,
    Idle,
}

/// Which objects a connection reads.
#[derive(Debug)]
pub(super) struct Reads {
    pub(super) sizes: Sizes,
    objects: u64,
    zipf: Option<Zipf<f64>>,
    random: StdRng,
}

/// Which objects a connection writes.
#[derive(Debug)]
pub(super) struct Writes {
    /// Of the next transaction; the last `new_objects` of them are new in each.
    oids: Vec<Oid>,
    new_objects: usize,
    pub(super) sizes: Sizes,
    /// Of the blob that each object gets.
    pub(super) blob_bytes: Option<usize>,
    /// Its commits are the workload's operations.
    measured: bool,
    /// Pauses between its commits, if it makes any.
    think: Option<Think>,
    /// Of each of the first transactions, one that was new.
    made: Vec<Oid>,
}

/// Pauses as somebody makes who thinks.
#[derive(Debug)]
struct Think {
    seconds: Exp<f64>,
    random: StdRng,
}

/// So many new objects of a connection are looked for afterwards.
const MADE: usize = 100;

impl Writes {
    /// The objects of the next transaction.
    pub(super) fn next(&mut self) -> &[Oid] {
        let first_new = self.oids.len().saturating_sub(self.new_objects);
        for oid in self.oids.iter_mut().skip(first_new) {
            oid.0 += self.new_objects as u64;
        }
        if self.made.len() < MADE {
            self.made.extend(self.oids.get(first_new));
        }
        &self.oids
    }

    /// How long to pause before the next transaction.
    fn pause(&mut self) -> Option<Duration> {
        let Think { seconds, random } = self.think.as_mut()?;
        Duration::try_from_secs_f64(seconds.sample(random)).ok()
    }

    /// What must be there afterwards, if it was written.
    pub(super) fn all(&self) -> impl Iterator<Item = &Oid> {
        self.oids.iter().chain(&self.made)
    }
}

impl Reads {
    pub(super) fn next(&mut self) -> Oid {
        let number = match &self.zipf {
            None => self.random.random_range(0..self.objects),
            // From 1 on; neighbours in rank should not be neighbours on disk.
            Some(zipf) => {
                let rank = zipf.sample(&mut self.random) as u64 - 1;
                rank.wrapping_mul(0x9e37_79b1) % self.objects
            }
        };
        read_oid(number)
    }
}

/// The role of connection `number` of all.
pub(super) fn of(job: &Job, number: u32) -> Role {
    let reads = |objects: u64, sizes, choice: Choice| {
        let zipf = match choice {
            Choice::Uniform => None,
            Choice::Zipf(exponent) => Zipf::new(objects as f64, exponent).ok(),
        };
        let random = StdRng::seed_from_u64(job.seed ^ (u64::from(number) << 32));
        Box::new(Reads { sizes, objects: objects.max(1), zipf, random })
    };
    let uniform = |objects, sizes| Role::Read(reads(objects, sizes, Choice::Uniform));
    let own = FIRST_OWN + u64::from(number) * OWN;
    let commit = |first: u64, objects: u64, new_objects: u64, sizes, measured| {
        let old = (0..objects.saturating_sub(new_objects)).map(|n| first + n);
        let first_new = first_new(number);
        let oids = old.chain((0..new_objects).map(|n| first_new + n)).map(Oid).collect();
        let new_objects = new_objects as usize;
        let made = Vec::new();
        let (blob_bytes, think) = (None, None);
        Box::new(Writes { oids, new_objects, sizes, blob_bytes, measured, think, made })
    };
    if is_packer(job, number) {
        return Role::Pack { ended: 0 };
    }
    match job.workload {
        Workload::Read { objects, record_bytes, choice, .. } => {
            Role::Read(reads(objects, record_bytes, choice))
        }
        Workload::Commit { objects, record_bytes, new_objects, hot, .. } => {
            let first = if hot { FIRST_HOT } else { own };
            Role::Commit(commit(first, objects, new_objects, record_bytes, true))
        }
        Workload::Mixed { record_bytes, committers, think_ms, .. } if number < committers => {
            let mut writes = commit(own, 1, 0, record_bytes, false);
            let random = StdRng::seed_from_u64(job.seed ^ (u64::from(number) << 32));
            let seconds = (think_ms > 0).then(|| Exp::new(1000.0 / think_ms as f64).ok()).flatten();
            writes.think = seconds.map(|seconds| Think { seconds, random });
            Role::Commit(writes)
        }
        Workload::Mixed { objects, record_bytes, .. } => uniform(objects, record_bytes),
        Workload::Blobs { blob_bytes, direction: Direction::Upload } => {
            let mut writes = commit(own, 1, 0, BLOB_RECORD, true);
            writes.blob_bytes = Some(blob_bytes);
            Role::Commit(writes)
        }
        Workload::Blobs { blob_bytes, direction: Direction::Download } => {
            Role::Download(reads(BLOBS, BLOB_RECORD, Choice::Uniform), blob_bytes)
        }
        Workload::StalledVoter { record_bytes } if number == 0 => {
            Role::Stall { oid: STALLED, sizes: record_bytes }
        }
        Workload::StalledVoter { record_bytes } => {
            Role::Commit(commit(own, 1, 0, record_bytes, true))
        }
        Workload::Invalidations { record_bytes } if number == 0 => {
            Role::Commit(commit(own, 1, 0, record_bytes, false))
        }
        Workload::Invalidations { .. } => Role::Subscribe,
        Workload::Connect {} => Role::Connect,
        Workload::Idle { objects, record_bytes } if number == 0 => uniform(objects, record_bytes),
        Workload::Idle { .. } => Role::Idle,
    }
}

/// The first of the objects that connection `number` makes. A server that was measured before has
/// what was made then, so these depend on the time: in ticks of a quarter of a second.
fn first_new(number: u32) -> u64 {
    let tick = (unix_ns() >> 28) & 0xff_ffff;
    FIRST_NEW | tick << 38 | u64::from(number & 0x3fff) << 24
}

/// Whether connection `number` of all is the one that packs.
fn is_packer(job: &Job, number: u32) -> bool {
    job.workload.packs() && number + 1 == job.all_connections
}

/// Whether connection `number` of all does what an open loop's rate is about, and not something
/// beside it.
pub(super) fn is_scheduled(job: &Job, number: u32) -> bool {
    if is_packer(job, number) {
        return false;
    }
    match job.workload {
        Workload::Mixed { committers, .. } => number >= committers,
        Workload::StalledVoter { .. } => number > 0,
        Workload::Invalidations { .. } | Workload::Idle { .. } => number == 0,
        Workload::Read { .. }
        | Workload::Commit { .. }
        | Workload::Blobs { .. }
        | Workload::Connect {} => true,
    }
}

/// Between two packs: the second one would find nothing to do at once.
const BETWEEN_PACKS: Duration = Duration::from_millis(20);

impl Role {
    /// How long to pause before the next operation.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        match self {
            Self::Commit(writes) => writes.pause(),
            Self::Pack { .. } => Some(BETWEEN_PACKS),
            _ => None,
        }
    }

    /// Whether its operations are those of the workload.
    pub(super) fn is_measured(&self) -> bool {
        match self {
            Self::Read(_) | Self::Download(..) | Self::Connect => true,
            Self::Commit(writes) => writes.measured,
            Self::Pack { .. } | Self::Stall { .. } | Self::Subscribe | Self::Idle => false,
        }
    }

    pub(super) fn is_pipelined(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}
