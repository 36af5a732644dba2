//! Which storages a server offers: parsing `NAME=URL`, and opening all of them or none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use session::{Counters, Hosted};
use storage::disk::{Disk, RealDisk};
use storage::{Kind, Location, Storage, SystemClock};

use crate::options::Options;

/// A storage and the name under which clients ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What clients say.
    pub name: String,
    /// Where the data are.
    pub location: Location,
}

impl Named {
    /// The directories that this storage keeps its data and its blobs in. Absolute.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        let data = match &self.location.kind {
            Kind::File(directory) => Some(directory),
            Kind::Memory => None,
        };
        // An unreadable working directory leaves the path as it is.
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        data.into_iter().chain(&self.location.blobs).map(absolute)
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("write NAME=URL, for example 1=file:data")?;
        if name.is_empty() {
            return Err("the name before '=' is empty".to_owned());
        }
        if let Some((kind, _)) = url.split_once(':')
            && !["file", "memory"].contains(&kind)
        {
            return Err(format!(
                "storages of the kind '{kind}:' are not offered in this version; \
                 file:DIR and memory: are"
            ));
        }
        let location = url.parse::<Location>().map_err(|error| error.to_string())?;
        Ok(Self { name: name.to_owned(), location })
    }
}

/// Finds two storages with one name, or in one directory.
pub(crate) fn check(options: &Options) -> anyhow::Result<()> {
    for (at, named) in options.storage.iter().enumerate() {
        if options.storage.iter().take(at).any(|other| other.name == named.name) {
            bail!("two storages have the name '{}'", named.name);
        }
    }
    let mut seen = BTreeMap::new();
    for (named, directory) in options.directories() {
        let directory = real(&directory);
        if let Some(other) = seen.insert(directory.clone(), &named.name) {
            let directory = directory.display();
            if *other == named.name {
                bail!("storage '{other}' has its data and its blobs in one directory, {directory}");
            }
            bail!("storages '{other}' and '{}' are both in {directory}", named.name);
        }
    }
    Ok(())
}

/// The directory that has the data of somebody's `Data.fs`: beside it, so that it is on the disk
/// that was meant for them.
pub(crate) fn beside(data_fs: &Path) -> PathBuf {
    let mut path = data_fs.as_os_str().to_owned();
    path.push(BESIDE);
    path.into()
}

/// How the data of a `Data.fs` come into `directory`, and its blobs, which cannot follow later, into
/// `blobs`.
pub(crate) fn import_command(data_fs: &Path, directory: &Path, blobs: Option<&Path>) -> String {
    let command = format!("'zeoxide import {} {}", data_fs.display(), directory.display());
    match blobs {
        None => format!("{command}'"),
        Some(blobs) => format!(
            "{command} --blobs-from OLD --blobs {}', where OLD is to where that directory was moved \
             before",
            blobs.display()
        ),
    }
}

/// A new storage beside a `Data.fs` that has transactions would look like the loss of them all.
fn check_beside(directory: &Path, blobs: Option<&Path>) -> anyhow::Result<()> {
    let data_fs = directory.to_str().and_then(|path| path.strip_suffix(BESIDE)).map(Path::new);
    let Some(data_fs) = data_fs else { return Ok(()) };
    let bytes = match fs::metadata(data_fs) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| data_fs.display().to_string()),
    };
    if bytes <= EMPTY_DATA_FS_BYTES {
        return Ok(());
    }
    bail!(
        "{0} has data, and {1}, where they belong now, has none: bring them over with {2} \
         (docs/moving.md), or move {0} away to begin with an empty database",
        data_fs.display(),
        directory.display(),
        import_command(data_fs, directory, blobs)
    );
}

/// Without symbolic links, as far as the path exists.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    })
}

/// Opens all storages. If one fails, those opened before are closed again.
///
/// All are found, locked, read and checked before anything is changed in one of them.
pub(crate) fn open(options: &Options) -> anyhow::Result<BTreeMap<String, Arc<Hosted>>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let context = |name: &str| format!("cannot open storage '{name}'");
    let mut prepared = Vec::new();
    for Named { name, location } in &options.storage {
        let one = storage::prepare(location, options.storage_options(), &disk);
        let one = one.with_context(|| context(name))?;
        if let (true, Kind::File(directory)) = (one.is_new(), &location.kind) {
            check_beside(directory, location.blobs.as_deref()).with_context(|| context(name))?;
        }
        prepared.push((name, one));
    }
    let mut opened: BTreeMap<String, Arc<Hosted>> = BTreeMap::new();
    for (name, one) in prepared {
        match one.start(Arc::new(SystemClock)) {
            Ok(storage) => {
                let hosted = Hosted { storage, counters: Counters::default() };
                opened.insert(name.clone(), Arc::new(hosted));
            }
            Err(error) => {
                close(opened.values().map(|hosted| &hosted.storage));
                return Err(error).with_context(|| context(name));
            }
        }
    }
    Ok(opened)
}

/// Ends the use of storages.
pub(crate) fn close<'a>(storages: impl Iterator<Item = &'a Arc<dyn Storage>>) {
    for storage in storages {
        storage.close();
    }
}

/// What follows the name of a `Data.fs` in the name of the directory with its data.
const BESIDE: &str = ".zeoxide";

/// A `Data.fs` without transactions is a magic number.
const EMPTY_DATA_FS_BYTES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn location(url: &str) -> Result<Location, String> {
        format!("1={url}").parse::<Named>().map(|named| named.location)
    }

    #[test]
    fn urls_name_a_kind_a_place_and_blobs() {
        let file = |path: &str| Location { kind: Kind::File(path.into()), blobs: None };
        assert_eq!(location("file:data"), Ok(file("data")));
        assert_eq!(location("memory:"), Ok(Location { kind: Kind::Memory, blobs: None }));
        assert_eq!(
            location("file:/srv/data?blobs=there"),
            Ok(Location { blobs: Some("there".into()), ..file("/srv/data") })
        );
        assert_eq!("a b=file:x=y".parse::<Named>().map(|named| named.name), Ok("a b".to_owned()));
    }

    #[test]
    fn what_is_not_a_storage_is_explained() {
        for (wrong, why) in [
            ("file:", "no directory"),
            ("data", "file:DIR"),
            ("datafs:Data.fs", "'datafs:' are not offered"),
            ("postgres://h/d", "'postgres:' are not offered"),
            ("file:data?blob=x", "?blobs=DIR"),
        ] {
            let message = location(wrong).unwrap_err();
            assert!(message.contains(why), "{wrong}: {message}");
        }
        assert!("memory:".parse::<Named>().unwrap_err().contains("NAME=URL"));
        assert!("=memory:".parse::<Named>().unwrap_err().contains("empty"));
    }
}
