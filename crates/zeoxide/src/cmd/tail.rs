//! `zeoxide tail`: the newest transactions of a storage, and those that come.

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use storage::Snapshot;
use storage::disk::{Disk, RealDisk};

use super::dump_storage::{Shown, print};
use crate::End;
use crate::interrupt::Interrupt;

/// Print the newest transactions and records of a storage
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A storage's directory, which may be in use
    dir: PathBuf,
    /// So many transactions
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    transactions: u64,
    /// Go on with those that come, until interrupted
    ///
    /// When something has come, the storage's indexes are read, as at a start of its server: at
    /// most for a tenth of the time, so what comes to a large storage is shown some seconds later.
    #[arg(short, long)]
    follow: bool,
    /// Print transactions only
    #[arg(long)]
    no_records: bool,
    /// Print JSON, as `zeoxide dump` does
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let interrupt = Interrupt::catch()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let Options { no_records, json, .. } = *options;
    let shown = Shown { no_records, json };
    let mut out = BufWriter::new(io::stdout().lock());
    // Looked at first: what comes while the storage is read is seen as new the next time.
    let mut seen = newest_segment(&options.dir);
    let mut begun = Instant::now();
    let mut snapshot = Snapshot::open(&disk, &options.dir, None)?;
    let mut rest = begun.elapsed() * REST;
    let mut from =
        snapshot.from_end(options.transactions)?.unwrap_or_else(|| snapshot.last_tid().next());
    loop {
        let result = print(&snapshot, from, shown, &interrupt, &mut out);
        // What was printed before an error stays.
        out.flush()?;
        if result? == End::Interrupted {
            return Ok(End::Interrupted);
        }
        if !options.follow {
            return Ok(End::Good);
        }
        from = snapshot.last_tid().next();
        let newest = loop {
            if interrupt.is_set() {
                return Ok(End::Interrupted);
            }
            let newest = newest_segment(&options.dir);
            if newest != seen && begun.elapsed() >= rest {
                break newest;
            }
            thread::sleep(INTERVAL);
        };
        seen = newest;
        begun = Instant::now();
        snapshot = Snapshot::open(&disk, &options.dir, None)?;
        rest = begun.elapsed() * REST;
    }
}

/// The newest segment and its length, which change with each commit.
fn newest_segment(dir: &Path) -> Option<(PathBuf, u64)> {
    let names = fs::read_dir(dir.join("segments")).ok()?;
    let paths = names.filter_map(|entry| Some(entry.ok()?.path()));
    let path = paths.filter(|path| path.extension().is_some_and(|is| is == "log")).max()?;
    let bytes = path.metadata().ok()?.len();
    Some((path, bytes))
}

/// So many times as long as the indexes took passes before they are read again.
const REST: u32 = 10;

const INTERVAL: Duration = Duration::from_millis(200);
