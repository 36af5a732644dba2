//! What a measurement is made of: whole histograms, the settings and the host that they belong to,
//! and the statistics with which two of them may be compared.
//!
//! [`Record`] is one measured point, as it is kept under `reports/records`; [`Histogram`] keeps
//! every latency (percentiles are computed when somebody asks, and never merged); [`Profile`] says
//! where a server's time went; [`stats`] says whether one variant is faster than another, and how sure that is.
//!
//! **Never**: a network, a server, a drawing. Reports are made from records alone, anywhere.
//!
//! Start reading at [`record`].

mod file;
mod histogram;
pub mod host;
pub mod probe;
pub mod profile;
pub mod record;
pub mod stats;
pub mod usage;

pub use file::RecordError;
pub use histogram::Histogram;
pub use host::Host;
pub use profile::Profile;
pub use record::{
    Arrivals, Idle, Interval, Judgement, Loop, Outcome, Pin, Point, Record, Trial, Verdict,
};
pub use stats::{Comparison, Effect};
pub use usage::Usage;
