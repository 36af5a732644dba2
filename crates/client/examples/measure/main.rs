//! Measures servers side by side: rates, latencies, and the servers' own CPU time per request.
//!
//! ```text
//! cargo run --release -p client --example measure -- WORKLOAD SECONDS ROUNDS NAME=URL=PID...
//! cargo run --release -p client --example measure -- restart ROUNDS BINARY
//! ```
//!
//! WORKLOAD is
//!
//! - `load`: `loadBefore` of random ones of 10,000 objects of 1 KiB;
//! - `commit`: transactions that store one object of 1 KiB, each connection its own object;
//! - `stalled-voter`: the same beside a connection that has voted on an object of its own and
//!   finishes only when the turn is over.
//!
//! 64 connections in a closed loop, all of them driven by one thread with `epoll`, so that the
//! servers do not pay for waking 64 clients. The servers take turns, ROUNDS times, and every reply
//! is checked. Prints one line of JSON for each turn. PID is the server's; its CPU time is read
//! from `/proc`, in ticks of 10 ms.
//!
//! `restart` starts a server of its own (BINARY), stores 1,000,000 objects of 200 bytes, kills it,
//! and measures how long the next start takes until `ready`, with index files and without.

mod driver;
mod process;
mod restart;
mod work;

use std::env;
use std::error::Error;
use std::time::Duration;

use codecs::{Endpoint, WithCodec, dispatch};
use protocol::{Codec, Oid, Tid};

use crate::driver::{Driver, Turn};
use crate::process::cpu_seconds;
use crate::work::{Blocking, Commits, FIRST_LOADED, LOADED, Loads, RECORD_BYTES, Work};

/// Ends the measurement.
type Failed = Box<dyn Error + Send + Sync>;

const CONNECTIONS: u64 = 64;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["restart", rounds, binary] => restart::measure(rounds.parse()?, binary),
        [workload, seconds, rounds, servers @ ..] => {
            let workload = workload.parse()?;
            let duration = Duration::from_secs_f64(seconds.parse()?);
            let servers: Vec<Server> =
                servers.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
            take_turns(workload, duration, rounds.parse()?, &servers)
        }
        _ => Err("WORKLOAD SECONDS ROUNDS NAME=URL=PID..., or restart ROUNDS BINARY".into()),
    }
}

fn take_turns(
    workload: Workload,
    duration: Duration,
    rounds: usize,
    servers: &[Server],
) -> Result<(), Failed> {
    for server in servers {
        dispatch(server.endpoint.dialect, Fill { server })?;
    }
    for round in 0..rounds {
        for server in servers {
            dispatch(server.endpoint.dialect, Measure { server, workload, duration, round })?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Workload {
    Load,
    Commit,
    StalledVoter,
}

impl Workload {
    fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Commit => "commit",
            Self::StalledVoter => "stalled-voter",
        }
    }
}

impl std::str::FromStr for Workload {
    type Err = Failed;

    fn from_str(text: &str) -> Result<Self, Failed> {
        let all = [Self::Load, Self::Commit, Self::StalledVoter];
        let found = all.into_iter().find(|workload| workload.name() == text);
        found.ok_or_else(|| format!("no such workload: {text}").into())
    }
}

/// `NAME=URL=PID`.
struct Server {
    name: String,
    endpoint: Endpoint,
    pid: u32,
}

impl std::str::FromStr for Server {
    type Err = Failed;

    fn from_str(text: &str) -> Result<Self, Failed> {
        let (name, rest) = text.split_once('=').ok_or("NAME=URL=PID")?;
        let (url, pid) = rest.rsplit_once('=').ok_or("NAME=URL=PID")?;
        Ok(Self { name: name.to_owned(), endpoint: url.parse()?, pid: pid.parse()? })
    }
}

/// Stores the objects that are loaded, unless they are there.
struct Fill<'a> {
    server: &'a Server,
}

impl WithCodec for Fill<'_> {
    type Out = Result<(), Failed>;

    fn call<C: Codec>(self) -> Result<(), Failed> {
        let mut connection = Blocking::<C>::open(&self.server.endpoint)?;
        // Two listeners of one server share its objects.
        match connection.current_tid(Oid(FIRST_LOADED))? {
            Tid::ZERO => connection.fill(LOADED, RECORD_BYTES),
            _ => Ok(()),
        }
    }
}

/// One server's turn.
struct Measure<'a> {
    server: &'a Server,
    workload: Workload,
    duration: Duration,
    round: usize,
}

impl WithCodec for Measure<'_> {
    type Out = Result<(), Failed>;

    fn call<C: Codec>(self) -> Result<(), Failed> {
        let Self { server, workload, duration, .. } = self;
        let mut stalled = match workload {
            Workload::StalledVoter => Some(Blocking::<C>::open(&server.endpoint)?),
            Workload::Load | Workload::Commit => None,
        };
        if let Some(connection) = &mut stalled {
            connection.vote()?;
        }
        let mut driver = Driver::<C>::new()?;
        for number in 0..CONNECTIONS {
            let mut connection = Blocking::<C>::open(&server.endpoint)?;
            let work = match workload {
                Workload::Load => Work::Load(Loads::new(number)),
                Workload::Commit | Workload::StalledVoter => {
                    Work::Commit(Commits::new(number, &mut connection)?)
                }
            };
            driver.add(connection, work)?;
        }
        let (served, own) = (cpu_seconds(server.pid)?, cpu_seconds(std::process::id())?);
        let turn = driver.run(duration)?;
        let served = cpu_seconds(server.pid)? - served;
        let own = cpu_seconds(std::process::id())? - own;
        if let Some(connection) = &mut stalled {
            connection.finish()?;
        }
        self.print(&turn, served, own);
        Ok(())
    }
}

impl Measure<'_> {
    fn print(&self, turn: &Turn, served: f64, own: f64) {
        let requests = turn.latencies_us.len();
        let per_request_us = |seconds: f64| seconds * 1e6 / requests.max(1) as f64;
        println!(
            "{{\"server\":\"{}\",\"workload\":\"{}\",\"round\":{},\"connections\":{CONNECTIONS},\
             \"requests\":{requests},\"seconds\":{:.3},\"per_second\":{:.0},\
             \"latency_us_p50\":{},\"latency_us_p99\":{},\"latency_us_max\":{},\
             \"server_cpu_seconds\":{served:.2},\"server_cpu_us_per_request\":{:.2},\
             \"client_cpu_us_per_request\":{:.2}}}",
            self.server.name,
            self.workload.name(),
            self.round,
            turn.seconds,
            requests as f64 / turn.seconds,
            turn.latency_us(0.5),
            turn.latency_us(0.99),
            turn.latency_us(1.0),
            per_request_us(served),
            per_request_us(own),
        );
    }
}
