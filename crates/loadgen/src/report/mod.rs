//! Reports: pages and comparisons made from records alone.
//!
//! ```text
//! load: files -> group: sections, variants, points -> page (HTML), markdown, compare (terminal)
//!                                                       \-> plots (SVG), difference, words
//! ```

mod cell;
mod client;
mod compare;
mod costs;
mod difference;
mod figures;
mod group;
mod load;
mod markdown;
mod numbers;
mod page;
mod plots;
mod profiles;
mod provenance;
mod quantity;
#[cfg(test)]
mod sample;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use measure::Profile;

use crate::scenario::Scenario;
use group::{Groups, VariantId};
use provenance::Provenance;

pub(crate) use compare::{Options as CompareOptions, run as compare};
pub(crate) use figures::{Figure, check as check_figures};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Records, or folders of records
    #[arg(required = true, value_name = "PATH")]
    records: Vec<PathBuf>,
    /// Where `index.html` and `summary.md` go
    #[arg(long, value_name = "DIR", default_value = "reports/pages/adhoc")]
    page: PathBuf,
    /// What stands on top [default: what the scenario says of itself, or "Shootout"]
    #[arg(long)]
    title: Option<String>,
    /// What the others are compared with, such as `tokio-msgpack` [default: ZEO itself, or the first]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// The scenario's file: what it wants to know, and what must be reached, is answered
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let loaded = load::load(&options.records)?;
    let groups = Groups::of(&loaded);
    let scenario = options.scenario.as_deref().map(Scenario::read).transpose()?;
    let wanted = scenario.as_ref().and_then(|scenario| scenario.baseline.as_deref());
    let report = Report {
        title: match (&options.title, &scenario) {
            (Some(title), _) => title,
            (None, Some(scenario)) => &scenario.about,
            (None, None) => "Shootout",
        },
        baseline: match &options.baseline {
            Some(name) => groups.variant(name)?,
            // It may have been left out.
            None => groups.baseline(wanted.filter(|name| groups.variant(name).is_ok()))?,
        },
        figures: match (&scenario, &options.scenario) {
            (Some(scenario), Some(path)) => {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                figures::rows(&scenario.figure, &groups, &name)
            }
            _ => Vec::new(),
        },
        provenance: Provenance::of(options, &loaded),
        profiles: &loaded.profiles,
        groups: &groups,
    };
    fs::create_dir_all(&options.page)
        .with_context(|| format!("cannot create {}", options.page.display()))?;
    write(&options.page.join("index.html"), &page::page(&report)?)?;
    write(&options.page.join("summary.md"), &markdown::summary(&report))
}

/// The report of a scenario's folder of records, as `report` makes it.
pub(crate) fn of_folder(records: &Path, page: &Path, scenario: &Path) -> Result<()> {
    run(&Options {
        records: vec![records.to_owned()],
        page: page.to_owned(),
        title: None,
        baseline: None,
        scenario: Some(scenario.to_owned()),
    })
}

/// All that the two forms of a report are made from.
struct Report<'a> {
    title: &'a str,
    groups: &'a Groups<'a>,
    baseline: VariantId,
    figures: Vec<figures::Row>,
    provenance: Provenance,
    profiles: &'a [Profile],
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests;
