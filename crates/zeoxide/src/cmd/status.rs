//! `zeoxide status`: the counters of a server's storages.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use codecs::{Address, Endpoint};
use protocol::{Tid, frame};
use serde_json::Value;

use crate::End;
use crate::text::{parse_tid, time};

/// Print what a server counts, for each of its storages
///
/// Asks as monitoring does (`ruok`), which needs no client and no storage's name. ZEO itself
/// answers, too.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A listener, as the server prints it: zeo://HOST:PORT, proto://HOST:PORT, zeo+unix:///PATH
    url: Endpoint,
    /// Print the server's own JSON
    #[arg(long)]
    json: bool,
    /// How long the server may take for each step
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

pub(crate) fn run(options: &Options) -> Result<End> {
    let timeout = Duration::from_secs(options.timeout);
    let answer = ask(&options.url.address, timeout)
        .with_context(|| format!("{} does not tell its status", options.url))?;
    let storages: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(&answer)
        .with_context(|| format!("{} answers something that is no status", options.url))?;
    let mut out = io::stdout().lock();
    if options.json {
        out.write_all(&answer)?;
        writeln!(out)?;
    } else {
        out.write_all(table(&storages).as_bytes())?;
    }
    Ok(End::Good)
}

/// The body of the answer: the server speaks first, and its first frame is a greeting.
fn ask(address: &Address, timeout: Duration) -> Result<Vec<u8>> {
    let mut stream = connect(address, timeout).context("cannot connect")?;
    read_frame(&mut stream, GREETING_BYTES_MAX).context("no greeting came")?;
    let mut question = Vec::new();
    let fits = frame::write(&mut question, |body| body.extend_from_slice(b"ruok"));
    debug_assert!(fits, "four bytes are not too long");
    stream.write_all(&question).context("cannot ask")?;
    read_frame(&mut stream, ANSWER_BYTES_MAX).context("no answer came")
}

fn read_frame(stream: &mut dyn Read, limit: u32) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(timed_out)?;
    let length = u32::from_be_bytes(length);
    if length > limit {
        bail!("a message of {length} bytes is announced; is this a listener of zeoxide or ZEO?");
    }
    let mut body = Vec::new();
    let read = stream.take(length.into()).read_to_end(&mut body).map_err(timed_out)?;
    if u32::try_from(read) != Ok(length) {
        bail!("the connection was closed in the middle of a message");
    }
    Ok(body)
}

/// The system calls it "temporarily unavailable".
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "timed out"),
        _ => error,
    }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn connect(address: &Address, timeout: Duration) -> io::Result<Box<dyn Stream>> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))?;
            Ok(Box::new(stream))
        }
        Address::Tcp { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for address in (host.as_str(), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, timeout) {
                    Ok(stream) => {
                        stream.set_read_timeout(Some(timeout))?;
                        stream.set_write_timeout(Some(timeout))?;
                        return Ok(Box::new(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

/// A column for each storage; what a server does not tell has no line.
fn table(storages: &BTreeMap<String, BTreeMap<String, Value>>) -> String {
    let mut rows = vec![("storage", storages.keys().cloned().collect::<Vec<_>>())];
    for (key, label) in COUNTERS {
        let cells: Vec<_> = storages
            .values()
            .map(|status| status.get(*key).map(|value| cell(key, value)))
            .collect();
        if cells.iter().any(Option::is_some) {
            let missing = || "-".to_owned();
            rows.push((
                label,
                cells.into_iter().map(|cell| cell.unwrap_or_else(missing)).collect(),
            ));
        }
    }
    let length = |text: &str| text.chars().count();
    let label_width = rows.iter().map(|(label, _)| length(label)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..storages.len())
        .map(|column| {
            rows.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| length(cell)).max()
        })
        .map(|width| width.unwrap_or(0))
        .collect();
    let mut table = String::new();
    for (label, cells) in rows {
        table += &format!("{label:label_width$}");
        for (cell, width) in cells.iter().zip(&widths) {
            table += &format!("  {cell:>width$}");
        }
        table.push('\n');
    }
    table
}

fn cell(key: &str, value: &Value) -> String {
    match (key, value) {
        ("last-transaction", Value::String(tid)) => match parse_tid(tid) {
            Ok(Tid::ZERO) => "none".to_owned(),
            Ok(at) => format!("{tid} ({})", time(at)),
            Err(_) => tid.clone(),
        },
        ("timeout-thread-is-alive", Value::String(_)) => "none".to_owned(),
        ("timeout-thread-is-alive", Value::Bool(true)) => "kept".to_owned(),
        ("timeout-thread-is-alive", Value::Bool(false)) => "NOT KEPT".to_owned(),
        ("lock_time", Value::Number(seconds)) => {
            seconds.as_f64().map_or_else(|| seconds.to_string(), since)
        }
        ("lock_time", Value::Null) => "nobody".to_owned(),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}

/// Servers give the lock's time as seconds since 1970.
fn since(seconds: f64) -> String {
    let since_epoch = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    format!("since {}", time(Tid::from_unix(since_epoch)))
}

/// ZEO's names, and what people call them.
const COUNTERS: &[(&str, &str)] = &[
    ("start", "started"),
    ("last-transaction", "last transaction"),
    ("connections", "connections"),
    ("loads", "loads"),
    ("stores", "stores"),
    ("commits", "commits"),
    ("aborts", "aborts"),
    ("conflicts", "conflicts"),
    ("conflicts_resolved", "conflicts resolved here"),
    ("active_txns", "transactions under way"),
    ("waiting", "votes that wait"),
    ("lock_time", "locks held"),
    ("timeout-thread-is-alive", "transaction timeout"),
];

const GREETING_BYTES_MAX: u32 = 4096;
/// Some hundred bytes for each storage.
const ANSWER_BYTES_MAX: u32 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storages_stand_side_by_side() {
        let json = r#"{
            "1": {"loads": 5, "lock_time": null, "timeout-thread-is-alive": "stub",
                  "last-transaction": "040cb6c104444444", "new": 1},
            "main": {"loads": 123456, "lock_time": 1795426215.5, "last-transaction": "0000000000000000"}
        }"#;
        let wanted = "\
storage                                                         1                               main
last transaction     040cb6c104444444 (2026-11-01T00:01:01.000000Z)                               none
loads                                                           5                             123456
locks held                                                 nobody  since 2026-11-23T09:30:15.500000Z
transaction timeout                                          none                                  -
";
        let squeeze = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().collect())
                .collect::<Vec<Vec<_>>>()
                .iter()
                .map(|words: &Vec<&str>| words.join(" "))
                .collect::<Vec<_>>()
        };
        let table = table(&serde_json::from_str(json).unwrap());
        assert_eq!(squeeze(&table), squeeze(wanted));
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
}
