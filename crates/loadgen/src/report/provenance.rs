//! From what a report was made: the command, and what the records say of where they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Options;
use super::load::{Loaded, Source};
use super::numbers;

#[derive(Debug)]
pub(super) struct Provenance {
    /// The command that makes the report again.
    pub(super) command: String,
    /// `3 records of 2026-11-23 14:05 to 2026-11-23 15:10 (UTC)`.
    pub(super) records: String,
    /// The files.
    pub(super) files: Vec<String>,
    /// Versions by name; more than one value where records differ.
    pub(super) versions: Vec<(String, Values)>,
    /// Host facts by name, likewise.
    pub(super) host: Vec<(String, Values)>,
    /// How each variant's server was started, likewise.
    pub(super) commands: Vec<(String, Values)>,
    /// Numbers of the points by name that are nowhere else on the page, likewise.
    pub(super) settings: Vec<(String, Values)>,
    /// What keeps the points from being strictly comparable.
    pub(super) warnings: Vec<String>,
}

type Values = BTreeSet<String>;

impl Provenance {
    pub(super) fn of(options: &Options, loaded: &Loaded) -> Self {
        let records = &loaded.records;
        let versions = by_name(records, |source, add| {
            source.record.versions.iter().for_each(|(name, value)| add(name, value.clone()));
        });
        let host = by_name(records, |source, add| {
            source.record.host.0.iter().for_each(|(name, value)| add(name, value.clone()));
        });
        let commands = by_name(records, |source, add| {
            let point = &source.record.point;
            let variant = format!("{}-{}", point.server, point.protocol);
            add(&variant, shell_line(point.command.iter().map(String::as_str)));
        });
        let settings = by_name(records, |source, add| {
            let point = &source.record.point;
            add("workers", point.workers.to_string());
            add("seed", point.seed.to_string());
        });
        let warnings = warnings(&versions, &host);
        Self {
            command: command_line(options),
            records: extent(records),
            files: records.iter().map(|source| source.path.display().to_string()).collect(),
            versions,
            host,
            commands,
            settings,
            warnings,
        }
    }

    /// A host fact, if all records agree.
    pub(super) fn fact(&self, name: &str) -> Option<&str> {
        let (_, values) = self.host.iter().find(|(other, _)| other == name)?;
        values.first().filter(|_| values.len() == 1).map(String::as_str)
    }
}

fn by_name(
    records: &[Source],
    facts: impl Fn(&Source, &mut dyn FnMut(&str, String)),
) -> Vec<(String, Values)> {
    let mut all: BTreeMap<String, Values> = BTreeMap::new();
    for source in records {
        facts(source, &mut |name, value| {
            all.entry(name.to_owned()).or_default().insert(value);
        });
    }
    all.into_iter().collect()
}

fn warnings(versions: &[(String, Values)], host: &[(String, Values)]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, values) in versions {
        if values.len() > 1 {
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            warnings
                .push(format!("Records have several versions of {name}: {}.", values.join(", ")));
        }
    }
    let fact =
        |wanted: &str| host.iter().find(|(name, _)| name == wanted).map(|(_, values)| values);
    if let Some(commits) = fact("git.commit").filter(|commits| commits.len() > 1) {
        let commits: Vec<_> = commits.iter().map(String::as_str).collect();
        warnings.push(format!("Records are of several commits: {}.", commits.join(", ")));
    }
    if fact("git.changed_files").is_some_and(|counts| counts.iter().any(|count| count != "0")) {
        warnings.push("Files were changed since the commit that some records name.".to_owned());
    }
    if fact("cpu.model").is_some_and(|models| models.len() > 1) {
        warnings.push("Records are of several machines; each has its own sections.".to_owned());
    }
    warnings
}

fn extent(records: &[Source]) -> String {
    let began = || records.iter().map(|source| source.record.began);
    let (first, last) = (began().min().unwrap_or(0), began().max().unwrap_or(0));
    let plural = if records.len() == 1 { "record" } else { "records" };
    format!(
        "{} {plural} of {} to {} (UTC)",
        records.len(),
        numbers::time(first),
        numbers::time(last)
    )
}

fn command_line(options: &Options) -> String {
    let shown = |path: &Path| path.display().to_string();
    let mut words = vec!["zeoxide-loadgen".to_owned(), "report".to_owned()];
    words.extend(options.records.iter().map(|path| shown(path)));
    words.extend(["--page".to_owned(), shown(&options.page)]);
    if let Some(title) = &options.title {
        words.extend(["--title".to_owned(), title.clone()]);
    }
    if let Some(baseline) = &options.baseline {
        words.extend(["--baseline".to_owned(), baseline.clone()]);
    }
    if let Some(scenario) = &options.scenario {
        words.extend(["--scenario".to_owned(), shown(scenario)]);
    }
    shell_line(words.iter().map(String::as_str))
}

/// Words as one would type them.
fn shell_line<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=?,@%+".contains(c);
    let quoted = |word: &str| {
        if !word.is_empty() && word.chars().all(is_plain) {
            word.to_owned()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_typed_again() {
        let line = shell_line(["a", "b c", "it's", ""].into_iter());
        assert_eq!(line, r"a 'b c' 'it'\''s' ''");
    }
}
