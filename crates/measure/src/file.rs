//! Files of one JSON value that carries the schema's number.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::record::SCHEMA;

/// Why a record cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// The file is not a record.
    #[error("{}: not a record: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The record was made by another version.
    #[error("{}: records of schema {found} are not read by this version", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its number.
        found: u32,
    },
}

/// Writes `content` into a file of `folder`, all of it or nothing.
pub(crate) fn keep(
    folder: &Path,
    name: &str,
    content: &impl Serialize,
) -> Result<PathBuf, RecordError> {
    let path = folder.join(name);
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, content)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|source| RecordError::Io { path: path.clone(), source })?;
    Ok(path)
}

/// Reads what [`keep`] has written, of this schema.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
    }
    let format = |source| RecordError::Format { path: path.to_owned(), source };
    let bytes =
        fs::read(path).map_err(|source| RecordError::Io { path: path.to_owned(), source })?;
    let Head { schema } = serde_json::from_slice(&bytes).map_err(format)?;
    if schema != SCHEMA {
        return Err(RecordError::Schema { path: path.to_owned(), found: schema });
    }
    serde_json::from_slice(&bytes).map_err(format)
}
