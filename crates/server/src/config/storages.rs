//! The storages of `zeo.conf`.

use std::path::Path;

use super::Settings;
use super::keys::{Keys, has_no_effect};
use super::place::{Notice, Place, Wrong};
use super::zconfig::Section;
use crate::storages::{beside, import_command};

/// What a storage section comes down to, whatever is around it.
struct Storage {
    /// As in a storage's URL.
    url: String,
    blobs: Option<String>,
    read_only: bool,
}

/// Whether a section of this kind would be served, so that it cannot be left out.
pub(super) fn is_storage(kind: &str) -> bool {
    kind.ends_with("storage") || ["zeoclient", "zrs"].contains(&kind)
}

/// Turns the storage sections into options.
pub(super) fn read(
    root: &Section,
    sections: &[&Section],
    is_given: &dyn Fn(&str) -> bool,
    settings: &mut Settings,
) -> Result<(), Wrong> {
    let mut names: Vec<(&str, &Place)> = Vec::new();
    let mut read_only = Vec::new();
    for section in sections {
        let name = section.name.as_deref().unwrap_or("1");
        if let Some((_, first)) = names.iter().find(|(other, _)| *other == name) {
            return Err(section.at.wrong(format!(
                "a second storage '{name}' (which is also the name of one without a name); the \
                 first is at {first}"
            )));
        }
        names.push((name, &section.at));
        let storage = read_storage(section, &mut settings.notices)?;
        if storage.read_only {
            read_only.push(&section.at);
        }
        let blobs = storage.blobs.map(|directory| format!("?blobs={directory}"));
        let value = format!("{name}={}{}", storage.url, blobs.unwrap_or_default());
        if name.contains('=') || storage.url.contains('?') {
            let what = "the name of a storage cannot have '=' in it, nor its path a '?'";
            return Err(section.at.wrong(what));
        }
        settings.options.push(section.at.set("storage", value));
    }
    if names.is_empty() && !is_given("storage") && !is_given("filename") {
        return Err(root.at.wrong("there is no storage to serve, for example a <filestorage>"));
    }
    serve_read_only(&read_only, names.len(), is_given, settings)
}

/// A server is read-only as a whole. One that wrote where it should only read would be worse than
/// one that does not start.
fn serve_read_only(
    read_only: &[&Place],
    storages: usize,
    is_given: &dyn Fn(&str) -> bool,
    settings: &mut Settings,
) -> Result<(), Wrong> {
    let is_asked_for = |one: &super::Setting| one.option == "read-only" && one.value == "true";
    match read_only.first() {
        Some(at) if !is_given("read-only") && !settings.options.iter().any(is_asked_for) => {
            if read_only.len() < storages {
                return Err(at.wrong(
                    "this storage is read-only and another is not: all of a server's storages are, \
                     or none; two servers can serve them",
                ));
            }
            settings.options.retain(|one| one.option != "read-only");
            settings.options.push(at.set("read-only", "true"));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn read_storage(section: &Section, notices: &mut Vec<Notice>) -> Result<Storage, Wrong> {
    match section.kind.as_str() {
        "filestorage" => read_file(section, notices),
        "mappingstorage" => {
            let mut keys = Keys::of(section);
            keys.skip(&["name"]);
            keys.finish(notices);
            notices.extend(section.sections.iter().map(has_no_effect));
            Ok(Storage { url: "memory:".to_owned(), blobs: None, read_only: false })
        }
        "blobstorage" => {
            let mut keys = Keys::of(section);
            let directory = keys.require("blob-dir")?;
            keys.finish(notices);
            let inner = read_inner(section, notices)?;
            if inner.blobs.is_some() {
                return Err(directory.at.wrong("the storage inside has a blob-dir of its own"));
            }
            Ok(Storage { blobs: Some(path(&directory.value)), ..inner })
        }
        // Compression is the clients' business; on a server ZEO's only looks through it when it
        // resolves conflicts and collects garbage, and these are the clients' business, too.
        "serverzlibstorage" => {
            let mut keys = Keys::of(section);
            keys.skip(&["compress"]);
            keys.finish(notices);
            read_inner(section, notices)
        }
        "zlibstorage" => Err(section.at.wrong(
            "<zlibstorage> is for clients, which compress and expand what they store; a server \
             takes it as it is: <serverzlibstorage>",
        )),
        kind => Err(section.at.wrong(format!(
            "<{kind}> cannot be served; <filestorage>, <blobstorage>, <mappingstorage> and \
             <serverzlibstorage> can"
        ))),
    }
}

fn read_inner(section: &Section, notices: &mut Vec<Notice>) -> Result<Storage, Wrong> {
    match section.sections.as_slice() {
        [inner] => read_storage(inner, notices),
        _ => Err(section.at.wrong(format!("<{}> needs one storage inside", section.kind))),
    }
}

fn read_file(section: &Section, notices: &mut Vec<Notice>) -> Result<Storage, Wrong> {
    let mut keys = Keys::of(section);
    let file = path(&keys.require("path")?.value);
    let directory = beside(file.as_ref());
    let blobs = keys.take("blob-dir")?.map(|key| path(&key.value)).filter(|path| !path.is_empty());
    notices.push(section.at.note(left_alone(&file, blobs.as_deref())));
    let read_only = keys.truth("read-only")?.is_some_and(|(_, on)| on);
    for (name, warn_of, why) in [
        ("create", true, "never empties a database here: one that is not there is created anyway"),
        ("pack-gc", true, "has no effect: packing collects no garbage here, zc.zodbdgc does"),
        ("pack-keep-old", true, "has no effect: packing leaves no copy of what was before"),
    ] {
        if let Some((key, on)) = keys.truth(name)?
            && on == warn_of
        {
            notices.push(key.at.note(format!("'{name}' {why}")));
        }
    }
    keys.warn(&["quota"], "has no effect: nothing limits what is stored", notices);
    keys.warn(&["packer"], "has no effect: it names a function in Python", notices);
    keys.finish(notices);
    notices.extend(section.sections.iter().map(has_no_effect));
    Ok(Storage { url: format!("file:{}", directory.display()), blobs, read_only })
}

/// What becomes of a `Data.fs` that somebody names, and of its blobs, in `blobs`.
pub(crate) fn left_alone(file: &str, blobs: Option<&str>) -> String {
    let directory = beside(file.as_ref());
    format!(
        "{file} itself is neither read nor written: the data are in {}; what the file has comes there \
         by {} (docs/moving.md)",
        directory.display(),
        import_command(file.as_ref(), &directory, blobs.map(Path::new))
    )
}

/// As ZConfig reads paths: `~/` is the home directory.
fn path(text: &str) -> String {
    match (text.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest).to_string_lossy().into_owned(),
        _ => text.to_owned(),
    }
}
