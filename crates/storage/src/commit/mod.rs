//! The commit path: buffer, lock and check (vote), append and sync together (finish), publish.
//!
//! `transaction` holds a client's transaction, `vote` takes it through the locks, `committer` is
//! the one thread that appends, and `publish` makes the result visible and tells everybody.
//! `undo` finds what transactions become that bring earlier revisions back.

mod blobs;
pub(crate) mod committer;
pub(crate) mod deadlines;
pub(crate) mod publish;
pub(crate) mod room;
pub(crate) mod spill;
mod tids;
pub(crate) mod transaction;
mod undo;
pub(crate) mod vote;
