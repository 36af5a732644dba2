//! A blob that is read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::File;

/// The file of a blob; stays as it is, and can be read whatever becomes of its name.
#[derive(Clone, Debug)]
pub struct BlobFile {
    file: Arc<dyn File>,
    path: Arc<PathBuf>,
    len: u64,
}

impl BlobFile {
    pub(super) fn new(file: Arc<dyn File>, path: PathBuf) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, path: Arc::new(path), len })
    }

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a file is not a collection")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// So many bytes from `offset`, all of which it has; may block.
    ///
    /// # Errors
    ///
    /// Names the file.
    pub fn read(&self, offset: u64, bytes: usize) -> Result<Bytes, String> {
        let mut data = vec![0; bytes];
        match self.file.read_exact_at(&mut data, offset) {
            Ok(()) => Ok(data.into()),
            Err(error) => {
                Err(format!("cannot read the blob {} at {offset}: {error}", self.path.display()))
            }
        }
    }
}
