//! How hash tables hash: so that nobody can choose oids that collide, or, where instructions are
//! counted, the same way each time.

#[cfg(feature = "fixed-hashes")]
pub(crate) use foldhash::fast::FixedState as Hashing;
#[cfg(not(feature = "fixed-hashes"))]
pub(crate) use foldhash::fast::RandomState as Hashing;
