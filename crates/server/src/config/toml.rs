//! The options of the command line, written in TOML: a key for each, of the same name.

use clap::ArgAction;
use toml::de::{DeTable, DeValue};

use super::place::{Place, Setting, Wrong};

/// Reads `text`. Which options there are, `command` knows.
pub(super) fn settings(
    file: &Place,
    text: &str,
    command: &clap::Command,
) -> Result<Vec<Setting>, Wrong> {
    let line = |offset| file.line(line_of(text, offset));
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or_else(|| file.clone(), |span| line(span.start));
        at.wrong(error.message().replace('\n', ", "))
    })?;
    let mut settings = Vec::new();
    for (key, value) in table.into_inner() {
        let at = line(key.span().start);
        let key = key.into_inner();
        let option = command
            .get_arguments()
            .find(|option| option.get_long() == Some(&key) && key != "config")
            .ok_or_else(|| {
                at.wrong(format!(
                    "'{key}' is not an option: keys are those of --help, without '--'"
                ))
            })?;
        let repeats = matches!(option.get_action(), ArgAction::Append);
        match value.into_inner() {
            DeValue::Array(values) if repeats => {
                for value in values {
                    let at = line(value.span().start);
                    settings.push(at.set(&key, scalar(&key, value.get_ref(), &at)?));
                }
            }
            // `[storage]`, with a line `NAME = URL` for each.
            DeValue::Table(named) if key == "storage" => {
                for (name, url) in named {
                    let at = line(name.span().start);
                    let url = scalar(&key, url.get_ref(), &at)?;
                    settings.push(at.set(&key, format!("{}={url}", name.get_ref())));
                }
            }
            value => settings.push(at.set(&key, scalar(&key, &value, &at)?)),
        }
    }
    Ok(settings)
}

/// A value as it would stand on the command line.
fn scalar(key: &str, value: &DeValue<'_>, at: &Place) -> Result<String, Wrong> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Ok(truth.to_string()),
        DeValue::Integer(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(at.wrong(format!("'{key}' takes one value, in quotes unless it is a number")))
        }
    }
}

/// Counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
