//! Who does what: each connection of a workload has one role.

use protocol::Oid;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

use crate::control::Job;
use crate::workload::{Choice, Workload};

/// The first of the objects that are read.
pub(crate) const FIRST_READ: u64 = 1 << 20;
/// The first of the objects that one connection has to itself.
const FIRST_OWN: u64 = 1 << 40;
/// The first of those that all write.
const FIRST_HOT: u64 = 1 << 30;
/// Of who stalls.
const STALLED: Oid = Oid(FIRST_HOT - 1);
/// A connection has so many at most.
const OWN: u64 = 1 << 20;

/// What a connection does.
#[derive(Debug)]
pub(super) enum Role {
    Read(Box<Reads>),
    /// `measured`: its commits are the workload's operations.
    Commit {
        oids: Vec<Oid>,
        record_bytes: usize,
        measured: bool,
    },
    Stall {
        oid: Oid,
        record_bytes: usize,
    },
    Subscribe,
    Connect,
}

/// Which objects a connection reads.
#[derive(Debug)]
pub(super) struct Reads {
    objects: u64,
    zipf: Option<Zipf<f64>>,
    random: StdRng,
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
        Oid(FIRST_READ + number)
    }
}

/// The role of connection `number` of all.
pub(super) fn of(job: &Job, number: u32) -> Role {
    let own = |objects: u64| (0..objects).map(|n| Oid(FIRST_OWN + u64::from(number) * OWN + n));
    let reads = |objects: u64, choice: Choice| {
        let zipf = match choice {
            Choice::Uniform => None,
            Choice::Zipf(exponent) => Zipf::new(objects as f64, exponent).ok(),
        };
        let random = StdRng::seed_from_u64(job.seed ^ (u64::from(number) << 32));
        Role::Read(Box::new(Reads { objects: objects.max(1), zipf, random }))
    };
    let commit =
        |oids: Vec<Oid>, record_bytes, measured| Role::Commit { oids, record_bytes, measured };
    match job.workload {
        Workload::Read { objects, choice, .. } => reads(objects, choice),
        Workload::Commit { objects, record_bytes, hot: false } => {
            commit(own(objects).collect(), record_bytes, true)
        }
        Workload::Commit { objects, record_bytes, hot: true } => {
            commit((0..objects).map(|n| Oid(FIRST_HOT + n)).collect(), record_bytes, true)
        }
        Workload::Mixed { record_bytes, committers, .. } if number < committers => {
            commit(own(1).collect(), record_bytes, false)
        }
        Workload::Mixed { objects, .. } => reads(objects, Choice::Uniform),
        Workload::StalledVoter { record_bytes } if number == 0 => {
            Role::Stall { oid: STALLED, record_bytes }
        }
        Workload::StalledVoter { record_bytes } => commit(own(1).collect(), record_bytes, true),
        Workload::Invalidations { record_bytes } if number == 0 => {
            commit(own(1).collect(), record_bytes, false)
        }
        Workload::Invalidations { .. } => Role::Subscribe,
        Workload::Connect {} => Role::Connect,
    }
}

/// Whether connection `number` of all does what an open loop's rate is about, and not something
/// beside it.
pub(super) fn is_scheduled(workload: &Workload, number: u32) -> bool {
    match *workload {
        Workload::Mixed { committers, .. } => number >= committers,
        Workload::StalledVoter { .. } => number > 0,
        Workload::Invalidations { .. } => number == 0,
        Workload::Read { .. } | Workload::Commit { .. } | Workload::Connect {} => true,
    }
}

impl Role {
    /// Whether its operations are those of the workload.
    pub(super) fn is_measured(&self) -> bool {
        match self {
            Self::Read(_) | Self::Connect => true,
            Self::Commit { measured, .. } => *measured,
            Self::Stall { .. } | Self::Subscribe => false,
        }
    }

    pub(super) fn is_pipelined(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}
