//! Reports: pages and comparisons made from records alone.
//!
//! ```text
//! load: files -> group: sections, variants, points -> page (HTML), markdown, compare (terminal)
//!                                                       \-> plots (SVG), difference, words
//! ```

mod cell;
mod compare;
mod difference;
mod group;
mod load;
mod markdown;
mod numbers;
mod page;
mod plots;
mod provenance;
mod quantity;
#[cfg(test)]
mod sample;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use group::{Groups, VariantId};
use provenance::Provenance;

pub(crate) use compare::{Options as CompareOptions, run as compare};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Records, or folders of records
    #[arg(required = true, value_name = "PATH")]
    records: Vec<PathBuf>,
    /// Where `index.html` and `summary.md` go
    #[arg(long, value_name = "DIR", default_value = "reports/pages/adhoc")]
    page: PathBuf,
    /// What stands on top
    #[arg(long, default_value = "Shootout")]
    title: String,
    /// What the others are compared with, such as `tokio-msgpack` [default: ZEO itself, or the first]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let loaded = load::load(&options.records)?;
    let groups = Groups::of(&loaded);
    let report = Report {
        title: &options.title,
        baseline: groups.baseline(options.baseline.as_deref())?,
        provenance: Provenance::of(options, &loaded),
        groups: &groups,
    };
    fs::create_dir_all(&options.page)
        .with_context(|| format!("cannot create {}", options.page.display()))?;
    write(&options.page.join("index.html"), &page::page(&report)?)?;
    write(&options.page.join("summary.md"), &markdown::summary(&report))
}

/// The report of a folder of records, as `report` without options makes it.
pub(crate) fn of_folder(records: &Path, page: &Path, title: &str) -> Result<()> {
    run(&Options {
        records: vec![records.to_owned()],
        page: page.to_owned(),
        title: title.to_owned(),
        baseline: None,
    })
}

/// All that the two forms of a report are made from.
struct Report<'a> {
    title: &'a str,
    groups: &'a Groups<'a>,
    baseline: VariantId,
    provenance: Provenance,
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests;
