//! What `zeo.conf` says, as options: `<zeo>` here, storages and the log in modules of their own.

use super::keys::{Keys, has_no_effect};
use super::place::Wrong;
use super::zconfig::{Document, Section};
use super::{Settings, eventlog, storages};

/// Turns a file into options. What it needs may be given elsewhere, as `is_given` knows.
pub(super) fn settings(
    document: &Document,
    is_given: &dyn Fn(&str) -> bool,
) -> Result<Settings, Wrong> {
    let mut settings = Settings::default();
    for (package, at) in &document.imports {
        if !PACKAGES.contains(&package.as_str()) {
            let what = format!("what the package '{package}' adds is not known here");
            settings.notices.push(at.warning(what));
        }
    }
    Keys::of(&document.root).finish(&mut settings.notices);
    let mut zeo = None;
    let mut log = None;
    let mut served = Vec::new();
    for section in &document.root.sections {
        match section.kind.as_str() {
            "zeo" => once(&mut zeo, section)?,
            "eventlog" => once(&mut log, section)?,
            // It is for zdaemon, which starts a server and stops it.
            "runner" => (),
            kind if storages::is_storage(kind) => served.push(section),
            _ => settings.notices.push(has_no_effect(section)),
        }
    }
    match zeo {
        Some(section) => read_zeo(section, is_given, &mut settings)?,
        None if is_given("listen") || is_given("address") => (),
        None => {
            return Err(document
                .root
                .at
                .wrong("there is no <zeo> section with an address: nothing says where to listen"));
        }
    }
    storages::read(&document.root, &served, is_given, &mut settings)?;
    if let Some(section) = log {
        eventlog::read(section, &mut settings)?;
    }
    Ok(settings)
}

fn once<'a>(known: &mut Option<&'a Section>, section: &'a Section) -> Result<(), Wrong> {
    match known.replace(section) {
        None => Ok(()),
        Some(first) => Err(section
            .at
            .wrong(format!("a second <{}>; the first is at {}", section.kind, first.at))),
    }
}

fn read_zeo(
    section: &Section,
    is_given: &dyn Fn(&str) -> bool,
    settings: &mut Settings,
) -> Result<(), Wrong> {
    let Settings { options, notices } = settings;
    let mut keys = Keys::of(section);
    let is_elsewhere = is_given("listen") || is_given("address");
    if !is_elsewhere || section.keys.iter().any(|key| key.name == "address") {
        let address = keys.require("address")?;
        options.push(address.at.set("address", address.value.as_str()));
    }
    for name in ["read-only", "msgpack"] {
        if let Some((key, on)) = keys.truth(name)? {
            options.push(key.at.set(name, on.to_string()));
        }
    }
    for (name, option) in [
        ("invalidation-queue-size", "invalidation-queue-size"),
        ("invalidation-age", "invalidation-age"),
        ("transaction-timeout", "transaction-timeout"),
        ("pid-filename", "pid-file"),
    ] {
        if let Some(key) = keys.take(name)? {
            options.push(key.at.set(option, key.value.as_str()));
        }
    }
    if let Some((key, false)) = keys.truth("client-conflict-resolution")? {
        notices.push(key.at.note(
            "conflicts are left to the clients all the same: a server that knows no classes cannot \
             resolve them, and clients since ZEO 5 can",
        ));
    }
    keys.warn(RETIRED, "is not known to ZEO any more and has no effect", notices);
    keys.finish(notices);
    let mut tls = None;
    for inner in &section.sections {
        match inner.kind.as_str() {
            "ssl" => once(&mut tls, inner)?,
            _ => notices.push(has_no_effect(inner)),
        }
    }
    match tls {
        Some(section) => read_tls(section, is_given, settings),
        None => Ok(()),
    }
}

fn read_tls(
    section: &Section,
    is_given: &dyn Fn(&str) -> bool,
    settings: &mut Settings,
) -> Result<(), Wrong> {
    let mut keys = Keys::of(section);
    let certificate = keys.require("certificate")?;
    settings.options.push(certificate.at.set("tls-cert", certificate.value.as_str()));
    if let Some(key) = keys.take("key")? {
        settings.options.push(key.at.set("tls-key", key.value.as_str()));
    }
    let clients = keys.require("authenticate")?;
    if clients.value == "DYNAMIC" {
        return Err(clients.at.wrong(
            "'authenticate DYNAMIC' is for Python programs; name a file or a directory of \
             certificates",
        ));
    }
    settings.options.push(clients.at.set("tls-client-ca", clients.value.as_str()));
    if let Some(key) = keys.take("password-function")?
        && !is_given("tls-key-password-file")
    {
        return Err(key.at.wrong(format!(
            "'password-function {}' names a function in Python, which cannot be called here: write \
             the password into a file, remove this line, and give --tls-key-password-file FILE",
            key.value
        )));
    }
    keys.finish(&mut settings.notices);
    settings.notices.extend(section.sections.iter().map(has_no_effect));
    Ok(())
}

/// Packages whose sections are read, or warned of one by one.
const PACKAGES: &[&str] =
    &["ZEO", "ZODB", "zc.zlibstorage", "ZConfig.components.logger", "zdaemon"];

const RETIRED: &[&str] = &[
    "monitor-address",
    "authentication-protocol",
    "authentication-database",
    "authentication-realm",
];
