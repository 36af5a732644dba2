//! What a disk is asked to change.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

/// One change of a disk, or a call that makes earlier ones durable.
#[derive(Clone, Debug)]
pub struct Op {
    /// Of the file or directory; of an open file, the path by which it was opened.
    pub path: PathBuf,
    /// What happened.
    pub change: Change,
}

/// What happened to a file or directory.
#[derive(Clone)]
pub enum Change {
    /// An empty file came into being.
    Create {
        /// Its number, which a rename does not change.
        file: FileId,
    },
    /// A directory came into being.
    CreateDir,
    /// The name moved.
    Rename {
        /// The new path.
        to: PathBuf,
    },
    /// The file got a second name.
    Link {
        /// The new path.
        to: PathBuf,
    },
    /// The name went away.
    Remove,
    /// All changes of the directory are durable.
    SyncDir,
    /// Bytes were written.
    Write {
        /// To which file.
        file: FileId,
        /// Where.
        offset: usize,
        /// Which.
        data: Bytes,
    },
    /// The length was set.
    SetLen {
        /// Of which file.
        file: FileId,
        /// To what.
        len: usize,
    },
    /// All that was written is durable.
    Sync {
        /// Which file.
        file: FileId,
    },
    /// The disk gave up on what was written and not durable.
    SyncFailed {
        /// Which file.
        file: FileId,
    },
    /// A test changed bits of a byte behind everyone's back.
    Damaged {
        /// Of which file.
        file: FileId,
        /// Which byte.
        offset: usize,
        /// Which bits.
        mask: u8,
    },
}

/// What stays the same when a file's name changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub(crate) u64);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { .. } => f.write_str("create"),
            Self::CreateDir => f.write_str("create directory"),
            Self::Rename { to } => write!(f, "rename to {}", to.display()),
            Self::Link { to } => write!(f, "link to {}", to.display()),
            Self::Remove => f.write_str("remove"),
            Self::SyncDir => f.write_str("sync directory"),
            Self::Write { offset, data, .. } => {
                write!(f, "write {}..{}", offset, offset + data.len())
            }
            Self::SetLen { len, .. } => write!(f, "set length {len}"),
            Self::Sync { .. } => f.write_str("sync"),
            Self::SyncFailed { .. } => f.write_str("failed sync"),
            Self::Damaged { offset, mask, .. } => write!(f, "damage {offset} by {mask:#04x}"),
        }
    }
}
