//! Names in a blob directory: those of ZODB, and ours.

use std::path::{Path, PathBuf};

use protocol::{Oid, Tid};

pub(super) fn is_shared_name(file: &str) -> bool {
    let mut without_last = file.chars();
    without_last.next_back();
    !file.contains(['/', '\0'])
        && (file.ends_with(SHARED) || without_last.as_str().ends_with(SHARED))
}

pub(super) fn object_dir(dir: &Path, oid: Oid) -> PathBuf {
    let mut path = dir.to_owned();
    path.extend(oid.to_bytes().map(|byte| format!("0x{byte:02x}")));
    path
}

/// ZODB leaves out leading bytes that are zero, but for the last one.
pub(super) fn file_name(tid: Tid) -> String {
    let bytes = tid.to_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(bytes.len() - 1);
    let digits: String = bytes.iter().skip(zeros).map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}{SUFFIX}")
}

/// The inverse of [`file_name`].
pub(super) fn tid_of(name: &str) -> Option<Tid> {
    let digits = name.strip_suffix(SUFFIX)?.strip_prefix("0x")?;
    let tid = Tid(u64::from_str_radix(digits, 16).ok()?);
    (file_name(tid) == name).then_some(tid)
}

pub(super) fn upload_name(number: u64) -> String {
    format!("{number}{UPLOAD}")
}

pub(super) fn intent_name(oid: Oid, number: u64) -> String {
    format!("{:016x}-{number}{INTENT}", oid.0)
}

/// What an unfinished file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    Upload,
    Intent(Oid),
}

impl Leftover {
    /// `None`: it is not ours.
    pub(super) fn of(name: &str) -> Option<Self> {
        if let Some(number) = name.strip_suffix(UPLOAD) {
            return number.parse::<u64>().ok().map(|_| Self::Upload);
        }
        let (oid, number) = name.strip_suffix(INTENT)?.split_once('-')?;
        number.parse::<u64>().ok()?;
        (oid.len() == 16)
            .then(|| u64::from_str_radix(oid, 16).ok())?
            .map(|oid| Self::Intent(Oid(oid)))
    }
}

const UPLOAD: &str = ".upload";
const INTENT: &str = ".intent";

const SUFFIX: &str = ".blob";
const SHARED: &str = ".tmp";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_zodb_looks_for_them() {
        let path = object_dir(Path::new("d"), Oid(0x0102_0000_0000_002c));
        assert_eq!(path, Path::new("d/0x01/0x02/0x00/0x00/0x00/0x00/0x00/0x2c"));
        for (tid, name) in [
            (0x03f1_2a00_0000_00cc, "0x03f12a00000000cc.blob"),
            (0x0001_0203_0405_0607, "0x01020304050607.blob"),
            (0x100, "0x0100.blob"),
            (0, "0x00.blob"),
        ] {
            assert_eq!(file_name(Tid(tid)), name);
            assert_eq!(tid_of(name), Some(Tid(tid)));
        }
        for other in ["0x3f1.blob", "0x0003.blob", "03.blob", "0x03f1.blob.dl", "0x.blob", ".lock"]
        {
            assert_eq!(tid_of(other), None, "{other}");
        }
    }

    #[test]
    fn shared_files_are_named_as_clients_name_them() {
        for right in ["0x03f1abc.tmp", "0x03f1abc.tmp-", ".tmp"] {
            assert!(is_shared_name(right), "{right}");
        }
        for wrong in ["", "x", "../x.tmp", "a/b.tmp-", "0x03.blob", "x.tmp--", "/x.tmp", "x.tmpé/"]
        {
            assert!(!is_shared_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn only_our_files_are_leftovers() {
        assert_eq!(Leftover::of(&upload_name(7)), Some(Leftover::Upload));
        let oid = Oid(0x0102_0304_0506_0708);
        assert_eq!(Leftover::of(&intent_name(oid, 7)), Some(Leftover::Intent(oid)));
        for other in ["BUCx.tmp", "x.upload", "12-7.intent", ".lock", "7"] {
            assert_eq!(Leftover::of(other), None, "{other}");
        }
    }
}
