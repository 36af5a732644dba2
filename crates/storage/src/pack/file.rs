//! `packed`: up to where a storage is packed, or is to be.
//!
//! It is written before the first revision is dropped, so that whatever a crash leaves, a load as
//! of a time of which revisions may be missing is known for one; and once more at the end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::Tid;

use crate::disk::{self, Disk};
use crate::oids;
use crate::open::OpenError;

/// How far packs have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    /// What was superseded up to here may be gone.
    pub(crate) to: Tid,
    pub(crate) stage: Stage,
}

/// What becomes of what was superseded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// All of it is gone.
    #[default]
    Done,
    /// A pack is under way.
    UnderWay,
    /// The storage is becoming a copy of one that was packed, which has all of it that is left.
    Copying,
}

/// Where that is kept.
#[derive(Debug)]
pub(crate) struct PackedFile {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
}

const NAME: &str = "packed";
const MAX_BYTES: usize = 64;

impl PackedFile {
    /// `Tid::ZERO` and done, if nothing was ever packed.
    pub(crate) fn read(&self) -> Result<Packed, OpenError> {
        let path = self.dir.join(NAME);
        let text = match disk::read_start(&*self.disk, &path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Packed::default());
            }
            read => read.map_err(OpenError::io(&path))?,
        };
        parse(&String::from_utf8_lossy(&text)).ok_or_else(|| OpenError::Format {
            path,
            what: "it does not say up to where the storage is packed".to_owned(),
        })
    }

    /// Durable when this returns.
    pub(crate) fn write(&self, packed: Packed) -> io::Result<()> {
        oids::replace(&*self.disk, &self.dir, NAME, print(packed).as_bytes())
    }
}

fn print(Packed { to, stage }: Packed) -> String {
    let state = match stage {
        Stage::Done => DONE,
        Stage::UnderWay => UNDER_WAY,
        Stage::Copying => COPYING,
    };
    format!("packed to {to}\n{state}\n")
}

fn parse(text: &str) -> Option<Packed> {
    let mut lines = text.lines();
    let to = lines.next()?.strip_prefix("packed to ").filter(|hex| hex.len() == 16)?;
    let to = Tid(u64::from_str_radix(to, 16).ok()?);
    let stage = match lines.next()? {
        DONE => Stage::Done,
        UNDER_WAY => Stage::UnderWay,
        COPYING => Stage::Copying,
        _ => return None,
    };
    Some(Packed { to, stage })
}

const DONE: &str = "done";
const UNDER_WAY: &str = "under way";
const COPYING: &str = "copying";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for stage in [Stage::Done, Stage::UnderWay, Stage::Copying] {
            let packed = Packed { to: Tid(0x0411_2233_4455_6677), stage };
            assert_eq!(parse(&print(packed)), Some(packed));
        }
        for wrong in ["", "packed to 12\ndone\n", "packed to 0411223344556677\n", "done\ndone\n"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
