//! Reports: pages made from records alone.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Records, or folders of records
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Where the page goes
    #[arg(long, value_name = "DIR", default_value = "reports/pages/adhoc")]
    page: PathBuf,
}

pub(crate) fn run(_options: &Options) -> anyhow::Result<()> {
    Ok(())
}

/// Writes the page of all records in `paths`.
pub(crate) fn write(
    _paths: &[PathBuf],
    _page: &std::path::Path,
    _title: &str,
) -> anyhow::Result<()> {
    Ok(())
}
