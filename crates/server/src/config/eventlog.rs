//! `<eventlog>`: what is logged, and where.

use super::Settings;
use super::keys::{Keys, has_no_effect};
use super::place::Wrong;
use super::zconfig::{Key, Section};

/// Turns the section into options.
pub(super) fn read(section: &Section, settings: &mut Settings) -> Result<(), Wrong> {
    let mut keys = Keys::of(section);
    let mut level = keys.take("level")?.map(|key| Ok((key, weight(key)?))).transpose()?;
    keys.finish(&mut settings.notices);
    let mut file = None;
    for handler in &section.sections {
        if handler.kind != "logfile" {
            settings.notices.push(has_no_effect(handler));
        } else if let Some(first) = file.replace(&handler.at) {
            file = Some(first);
            let what = format!("this log file gets nothing: the log goes to that of {first}");
            settings.notices.push(handler.at.warning(what));
        } else if let Some(own) = read_file(handler, settings)? {
            // What gets through both is logged.
            level = level.filter(|outer| outer.1 >= own.1).or(Some(own));
        }
    }
    if let Some((key, weight)) = level {
        settings.options.push(key.at.set("log", name(weight)));
    }
    Ok(())
}

/// Returns the level of this file, if it has one.
fn read_file<'a>(
    section: &'a Section,
    settings: &mut Settings,
) -> Result<Option<(&'a Key, u32)>, Wrong> {
    let mut keys = Keys::of(section);
    let path = keys.require("path")?;
    settings.options.push(path.at.set("log-file", path.value.as_str()));
    let level = keys.take("level")?.map(|key| Ok((key, weight(key)?))).transpose()?;
    let notices = &mut settings.notices;
    keys.warn(
        &["max-size", "old-files", "when", "interval"],
        "has no effect: let logrotate move the file, and send SIGUSR2 to have it opened again",
        notices,
    );
    let form = ["format", "dateformat", "style", "formatter"];
    if let Some(key) = section.keys.iter().find(|key| form.contains(&key.name.as_str())) {
        let what = format!("'{}' has no effect: lines of the log have one form", key.name);
        notices.push(key.at.note(what));
    }
    keys.skip(&form);
    keys.skip(&["arbitrary-fields", "encoding", "delay"]);
    keys.finish(notices);
    Ok(level.filter(|(_, weight)| *weight > 0))
}

/// Python's number for a level.
fn weight(key: &Key) -> Result<u32, Wrong> {
    let text = key.value.to_ascii_lowercase();
    let number = || text.parse().ok().filter(|weight| *weight <= 50);
    let known = LEVELS.iter().find(|(name, _)| *name == text).map(|(_, weight)| *weight);
    known.or_else(number).ok_or_else(|| {
        key.at.wrong(format!(
            "'{}' is no level of a log, as error, warn, info and debug are",
            key.value
        ))
    })
}

/// Our level that lets through as much, or a little more.
fn name(weight: u32) -> &'static str {
    match weight {
        0..10 => "trace",
        10..20 => "debug",
        20..30 => "info",
        30..40 => "warn",
        _ => "error",
    }
}

const LEVELS: [(&str, u32); 11] = [
    ("critical", 50),
    ("fatal", 50),
    ("error", 40),
    ("warn", 30),
    ("warning", 30),
    ("info", 20),
    ("blather", 15),
    ("debug", 10),
    ("trace", 5),
    ("all", 1),
    ("notset", 0),
];
