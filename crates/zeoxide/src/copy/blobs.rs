//! Folders of blob files, in ZODB's layouts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use protocol::{Oid, Tid};

/// A folder with a file for each revision that has a blob.
#[derive(Debug, Clone)]
pub(crate) struct BlobFolder {
    path: PathBuf,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A folder for each byte of the oid.
    Bushy,
    /// A folder for each object.
    Lawn,
}

/// How a blob gets from one folder into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    Copy,
    /// The same file under another name, where the file system can do that; else a copy.
    Link,
}

impl BlobFolder {
    /// A folder that is there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let named = |name: &Path| format!("cannot read the blob directory {}", name.display());
        let names = fs::read_dir(path).with_context(|| named(path))?;
        let marker = path.join(MARKER);
        let layout = match fs::read_to_string(&marker) {
            Ok(text) => match text.trim() {
                BUSHY => Layout::Bushy,
                "lawn" => Layout::Lawn,
                other => bail!("{}: the layout {other:?} is not known", marker.display()),
            },
            // The first folders of this layout were made before there was a marker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut blobs = names.flatten().map(|entry| entry.path());
                if blobs.any(|folder| folder.join("0x00").is_dir()) {
                    Layout::Bushy
                } else {
                    Layout::Lawn
                }
            }
            Err(error) => return Err(error).with_context(|| named(&marker)),
        };
        Ok(Self { path: path.to_owned(), layout })
    }

    /// A folder of the bushy layout, made if it is not there.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        fs::create_dir_all(path.join("tmp")).with_context(|| path.display().to_string())?;
        let marker = path.join(MARKER);
        if !marker.exists() {
            let is_used = fs::read_dir(path)?.flatten().any(|entry| entry.file_name() != "tmp");
            if is_used {
                bail!("{}: has files, but no file {MARKER}: not a blob directory", path.display());
            }
            fs::write(&marker, BUSHY).with_context(|| marker.display().to_string())?;
        }
        let folder = Self::open(path)?;
        if folder.layout != Layout::Bushy {
            bail!("{}: only the layout 'bushy' is written", path.display());
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The blob of a revision, if there is one.
    pub(crate) fn find(&self, oid: Oid, tid: Tid) -> Option<PathBuf> {
        Some(self.file(oid, tid)).filter(|path| path.is_file())
    }

    /// Where the blob of a revision belongs.
    pub(crate) fn file(&self, oid: Oid, tid: Tid) -> PathBuf {
        match self.layout {
            Layout::Bushy => storage::blob_path(&self.path, oid, tid),
            Layout::Lawn => {
                // Both are numbers that are written alike.
                let name = storage::blob_path(Path::new(""), oid, Tid(oid.0)).with_extension("");
                let file = storage::blob_path(Path::new(""), oid, tid);
                let [object, file] =
                    [&name, &file].map(|path| path.file_name().unwrap_or_default());
                self.path.join(object).join(file)
            }
        }
    }

    /// Puts a blob where it belongs, durably.
    pub(crate) fn put(&self, oid: Oid, tid: Tid, from: &Path, how: Transfer) -> Result<()> {
        let to = self.file(oid, tid);
        let unfinished = to.with_extension("tmp");
        transfer(from, &unfinished, how)?;
        let failed = || format!("cannot write {}", to.display());
        fs::rename(&unfinished, &to).with_context(failed)?;
        let object = to.parent().unwrap_or(&self.path);
        // The folders above may be as new as this one.
        let mut folders = object.ancestors().take_while(|folder| folder.starts_with(&self.path));
        folders.try_for_each(sync).with_context(failed)
    }
}

/// Makes the file `to`, with the folders above it.
pub(crate) fn transfer(from: &Path, to: &Path, how: Transfer) -> Result<()> {
    let failed = || format!("cannot copy the blob {} to {}", from.display(), to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    match fs::remove_file(to) {
        // An interrupted copy may have left one.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    if how == Transfer::Link && fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to).with_context(failed)?;
    sync(to).with_context(failed)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

const MARKER: &str = ".layout";
const BUSHY: &str = "bushy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_zodb_has_them() {
        let (oid, tid) = (Oid(0x12c), Tid(0x03f1_2a00_0000_00cc));
        let folder = |layout| BlobFolder { path: "b".into(), layout };
        assert_eq!(
            folder(Layout::Bushy).file(oid, tid),
            Path::new("b/0x00/0x00/0x00/0x00/0x00/0x00/0x01/0x2c/0x03f12a00000000cc.blob")
        );
        // `ZODB.blob.LawnLayout().oid_to_path(p64(0x12c))` is '0x012c'.
        assert_eq!(
            folder(Layout::Lawn).file(oid, tid),
            Path::new("b/0x012c/0x03f12a00000000cc.blob")
        );
        assert_eq!(folder(Layout::Lawn).file(Oid(0), tid).parent(), Some(Path::new("b/0x00")));
    }

    #[test]
    fn the_layout_is_seen() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("blobs");
        assert!(BlobFolder::open(&path).is_err());
        assert_eq!(BlobFolder::create(&path).unwrap().layout, Layout::Bushy);
        fs::write(path.join(MARKER), "lawn").unwrap();
        assert_eq!(BlobFolder::open(&path).unwrap().layout, Layout::Lawn);
        assert!(BlobFolder::create(&path).is_err());
        fs::write(path.join(MARKER), "other").unwrap();
        assert!(BlobFolder::open(&path).is_err());
        fs::remove_file(path.join(MARKER)).unwrap();
        assert_eq!(BlobFolder::open(&path).unwrap().layout, Layout::Lawn);
        fs::create_dir_all(path.join("0x00/0x00")).unwrap();
        assert_eq!(BlobFolder::open(&path).unwrap().layout, Layout::Bushy);
    }
}
