//! The subcommands.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod copy;
pub(crate) mod dump;
mod dump_storage;
pub(crate) mod export;
pub(crate) mod import;
mod moving;
pub(crate) mod pack;
pub(crate) mod restore;
pub(crate) mod status;
pub(crate) mod tail;
pub(crate) mod verify;
mod verify_against;
mod verify_storage;
