//! A transaction's share of memory, and what it has beyond that.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protocol::Failure;

use crate::commit::spill::SpillFile;
use crate::core::Core;
use crate::log::Payload;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// What the transaction takes.
    memory_bytes: usize,
    spill: Option<Arc<SpillFile>>,
}

impl Room {
    /// Counts what is in memory in any case.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.memory_bytes = self.memory_bytes.saturating_add(bytes);
    }

    /// Whether something is in a temporary file.
    pub(crate) fn has_file(&self) -> bool {
        self.spill.is_some()
    }

    /// Keeps data in memory, or in a file when the transaction's share of memory is used up.
    ///
    /// In memory it is a copy, and so what is counted is what is taken: `data` may be a small part
    /// of all that a connection has received.
    pub(crate) fn keep(&mut self, core: &Core, data: Bytes) -> Result<Payload, Failure> {
        let fits = self.memory_bytes.saturating_add(data.len()) <= core.options.spill_bytes;
        let Some(pool) = core.spill.as_ref().filter(|_| !fits) else {
            self.memory_bytes += data.len();
            return Ok(Payload::Memory(Bytes::copy_from_slice(&data)));
        };
        let failed = |error: io::Error| Failure::Storage(error.to_string());
        let file = match &self.spill {
            Some(file) => Arc::clone(file),
            None => Arc::new(pool.take().map_err(failed)?),
        };
        self.spill = Some(Arc::clone(&file));
        Ok(Payload::Spilled(Arc::new(file.write(&data).map_err(failed)?)))
    }
}
