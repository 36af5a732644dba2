//! Where log lines go, and how they look.
//!
//! A line is a time in UTC, a level, a target, and what happened, with fields behind it:
//!
//! ```text
//! 2026-11-25T07:00:00.000000Z  INFO server::connection: disconnected peer="127.0.0.1:40312"
//! 2026-11-25T07:00:01.000000Z CRITICAL ZEO.StorageServer: Transaction timeout after 30 seconds
//! ```
//!
//! Where ZEO's tools look for Python's level CRITICAL, an event says so by a field:
//! `tracing::error!(target: "ZEO.StorageServer", critical = true, "...")`. Its level must be
//! ERROR, and the field is printed like others.
//!
//! A log file is made with its first line, so that a server that cannot start leaves none; it is
//! opened for appending, and every line is one write.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use rustix::fs::{Access, access};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, error, info, warn};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::options::Options;
use crate::pid_file::parent;

/// The log of this process.
#[derive(Debug)]
pub(crate) struct Log {
    /// `None`: it goes to standard output or standard error.
    file: Option<Arc<LogFile>>,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    /// `None` before the first line.
    open: Mutex<Option<Arc<File>>>,
}

impl Log {
    /// Has all events logged from now on as the options say. Creates no file yet, and finds out
    /// whether it can be.
    pub(crate) fn open(options: &Options) -> anyhow::Result<Self> {
        let (file, writer, ansi) = match options.log_file.as_deref() {
            None => (None, BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
            Some(path) if path == Path::new("STDERR") => {
                (None, BoxMakeWriter::new(io::stderr), io::stderr().is_terminal())
            }
            Some(path) if path == Path::new("STDOUT") => {
                (None, BoxMakeWriter::new(io::stdout), io::stdout().is_terminal())
            }
            Some(path) => {
                check(path).with_context(|| format!("cannot log to {}", path.display()))?;
                let file = Arc::new(LogFile { path: path.to_owned(), open: Mutex::default() });
                let writer = Arc::clone(&file);
                (Some(file), BoxMakeWriter::new(move || writer.writer()), false)
            }
        };
        tracing_subscriber::fmt()
            .with_ansi(ansi)
            .event_format(Lines(Format::default()))
            .with_writer(writer)
            .with_max_level(options.log)
            .init();
        Ok(Self { file })
    }

    /// Goes on in a new file, where somebody moved the old one.
    pub(crate) fn reopen(&self) {
        let Some(file) = &self.file else {
            warn!("there is no log file to open again");
            return;
        };
        match file.reopen() {
            Ok(()) => info!("log file opened again"),
            Err(error) => {
                error!("cannot open {} again, the old one stays: {error}", file.path.display());
            }
        }
    }
}

/// Finds out whether a file can be written, and leaves it alone.
fn check(path: &Path) -> anyhow::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => bail!("it is a directory"),
        Ok(_) => Ok(access(path, Access::WRITE_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            access(parent(path), Access::WRITE_OK | Access::EXEC_OK).context("its directory")
        }
        Err(error) => Err(error.into()),
    }
}

impl LogFile {
    fn writer(&self) -> Box<dyn Write> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(file) => Box::new(Arc::clone(file)),
            None => match self.create() {
                Ok(file) => Box::new(Arc::clone(open.insert(file))),
                // It could be opened a moment ago; the line must not be lost.
                Err(_) => Box::new(io::stderr()),
            },
        }
    }

    fn reopen(&self) -> io::Result<()> {
        let file = self.create()?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    fn create(&self) -> io::Result<Arc<File>> {
        File::options().append(true).create(true).open(&self.path).map(Arc::new)
    }
}

/// The usual lines, and those of Python's level CRITICAL.
struct Lines(Format<Full, SystemTime>);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !is_critical(event) {
            return self.0.format_event(context, writer, event);
        }
        SystemTime.format_time(&mut writer)?;
        write!(writer, " CRITICAL {}: ", event.metadata().target())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn is_critical(event: &Event<'_>) -> bool {
    struct Critical(bool);
    impl Visit for Critical {
        fn record_bool(&mut self, field: &Field, value: bool) {
            self.0 |= value && field.name() == CRITICAL;
        }
        fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
    }
    let mut found = Critical(false);
    if *event.metadata().level() == Level::ERROR {
        event.record(&mut found);
    }
    found.0
}

const CRITICAL: &str = "critical";

#[cfg(test)]
mod tests {
    use super::*;

    /// What is logged meanwhile, without its times.
    fn logged(events: impl FnOnce()) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = Arc::new(LogFile { path: path.clone(), open: Mutex::default() });
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .event_format(Lines(Format::default()))
            .with_writer(move || file.writer())
            .finish();
        tracing::subscriber::with_default(subscriber, events);
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once('Z').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn critical_events_are_told_from_errors() {
        let lines = logged(|| {
            error!(target: "ZEO.StorageServer", critical = true, peer = "a", "timeout after {} s", 1);
            error!(target: "ZEO.StorageServer", critical = false, "no");
            info!(target: "ZEO.StorageServer", critical = true, "information");
        });
        assert_eq!(
            lines,
            [
                " CRITICAL ZEO.StorageServer: timeout after 1 s critical=true peer=\"a\"",
                " ERROR ZEO.StorageServer: no critical=false",
                "  INFO ZEO.StorageServer: information critical=true",
            ]
        );
    }
}
