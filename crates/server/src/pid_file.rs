//! The file that tells a supervisor the process's number.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::bail;
use tracing::warn;

/// Removed on drop.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    text: String,
}

/// Finds a place where no file can be.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() || !parent(path).is_dir() {
        bail!("cannot write the pid file {}: the directory has to be there", path.display());
    }
    Ok(())
}

/// The directory of a file.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

impl PidFile {
    /// Writes the file in one step, in place of one that another process left. A server that
    /// cannot serves all the same, as ZEO's does, and says so.
    pub(crate) fn write(path: &Path) -> Option<Self> {
        let text = format!("{}\n", process::id());
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let written = fs::write(&new, &text).and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            warn!("cannot write the pid file {}: {error}", path.display());
            return None;
        }
        Some(Self { path: path.to_owned(), text })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another server that was told the same file has it now.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            // There is nobody left to tell, and the next server replaces the file.
            let _removed = fs::remove_file(&self.path);
        }
    }
}
