//! Finds records and reads them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use measure::{Profile, Record, RecordError};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// In the order of their paths.
    pub(super) records: Vec<Source>,
    /// Likewise.
    pub(super) profiles: Vec<Profile>,
    /// Files in the folders that look like records and are none, with what is wrong.
    pub(super) unreadable: Vec<(PathBuf, String)>,
}

/// A record and where it came from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) record: Record,
}

/// Reads files, and the `.json` files in and below folders. A file that was named itself must be a
/// record; one that lies in a folder need not, and is reported.
pub(super) fn load(paths: &[PathBuf]) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    for path in paths {
        if path.is_dir() {
            for file in files_below(path)? {
                if let Err(error) = loaded.add(&file) {
                    loaded.unreadable.push((file, error.to_string()));
                }
            }
        } else {
            loaded.add(path)?;
        }
    }
    loaded.profiles.sort_by_key(|profile| Profile::file_name(&profile.point));
    loaded.profiles.dedup();
    loaded.records.sort_by(|a, b| a.path.cmp(&b.path));
    // A file may be named twice, and by its folder, too.
    loaded.records.dedup_by(|a, b| a.path == b.path);
    loaded.unreadable.sort();
    loaded.unreadable.dedup();
    if loaded.records.is_empty() {
        let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        bail!("no records in {}", paths.join(", "));
    }
    Ok(loaded)
}

impl Loaded {
    fn add(&mut self, path: &Path) -> Result<(), RecordError> {
        if Profile::is_named(path) {
            self.profiles.push(Profile::read(path)?);
        } else {
            self.records.push(Source { path: path.to_owned(), record: Record::read(path)? });
        }
        Ok(())
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let unlisted = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(unlisted)? {
            let entry = entry.with_context(unlisted)?;
            if entry.file_type().with_context(unlisted)?.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "json") {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn records_are_found_below_folders_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let record = sample::records().remove(0);
        let path = record.keep(&folder.path().join("a/b")).unwrap();
        let profile = sample::profiles().remove(0);
        profile.keep(folder.path()).unwrap();
        fs::write(folder.path().join("a/odd.json"), "{}").unwrap();
        fs::write(folder.path().join("a/old.ndjson"), "{}").unwrap();
        let loaded = load(&[folder.path().to_owned(), path.clone()]).unwrap();
        assert_eq!(loaded.records.len(), 1);
        assert_eq!(loaded.records[0].path, path);
        assert_eq!(loaded.profiles, [profile]);
        assert_eq!(loaded.unreadable.len(), 1);
        assert!(loaded.unreadable[0].1.contains("not a record"));
    }

    #[test]
    fn nothing_found_is_an_error_that_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
        let odd = folder.path().join("odd.json");
        fs::write(&odd, "{}").unwrap();
        assert!(load(&[odd]).unwrap_err().to_string().contains("odd.json"));
    }
}
