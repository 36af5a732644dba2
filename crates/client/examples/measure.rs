//! Measures servers side by side: rates, and the servers' own CPU time per request.
//!
//! ```text
//! cargo run --release -p client --example measure -- WORKLOAD SECONDS ROUNDS NAME=URL=PID...
//! ```
//!
//! WORKLOAD is `load` (`loadBefore` of random ones of 10,000 objects of 1 KiB) or `commit`
//! (transactions that store one object of 1 KiB, each connection its own object). 64 connections,
//! closed loop. (Or it is `million`: one connection stores 1,000,000 objects of 200 bytes, once, for
//! measuring how fast a server starts.) The servers take turns, ROUNDS times, and every reply is checked. Prints one line
//! of JSON for each turn. PID is the server's; its CPU time is read from `/proc`, in ticks of 10 ms.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use client::Session;
use codecs::{Address, Endpoint, WithCodec, dispatch};
use protocol::{Begin, Codec, Incoming, Limits, Oid, Reply, Request, Tid, TransactionId};

type Failed = Box<dyn Error + Send + Sync>;

const CONNECTIONS: usize = 64;
const RECORD_BYTES: usize = 1024;
/// Number and size of the objects that are loaded.
const LOADED: (u64, usize) = (10_000, RECORD_BYTES);
const FIRST_LOADED: u64 = 1_000_000;
const FIRST_COMMITTED: u64 = 3_000_000;
const TICKS_PER_SECOND: f64 = 100.0;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [workload, seconds, rounds, servers @ ..] = &arguments[..] else {
        return Err("WORKLOAD SECONDS ROUNDS NAME=URL=PID...".into());
    };
    let commit = match workload.as_str() {
        "load" | "million" => false,
        "commit" => true,
        other => return Err(format!("no such workload: {other}").into()),
    };
    let duration = Duration::from_secs_f64(seconds.parse()?);
    let rounds: usize = rounds.parse()?;
    let servers: Vec<Server> = servers.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let million = workload == "million";
    for server in &servers {
        let (objects, record_bytes) = if million { (1_000_000, 200) } else { LOADED };
        dispatch(server.endpoint.dialect, Fill { server, objects, record_bytes })?;
    }
    if million {
        return Ok(());
    }
    for round in 0..rounds {
        for server in &servers {
            dispatch(server.endpoint.dialect, Turn { server, commit, duration, round })?;
        }
    }
    Ok(())
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

impl Server {
    /// CPU time of the process so far, user and system.
    fn cpu_seconds(&self) -> Result<f64, Failed> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, after_name) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |position: usize| -> Result<f64, Failed> {
            Ok(fields.get(position).ok_or("short /proc/PID/stat")?.parse()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }
}

/// The objects that are loaded.
struct Fill<'a> {
    server: &'a Server,
    objects: u64,
    record_bytes: usize,
}

impl WithCodec for Fill<'_> {
    type Out = Result<(), Failed>;

    fn call<C: Codec>(self) -> Result<(), Failed> {
        let mut connection = Connection::<C>::open(self.server)?;
        let oid = Oid(FIRST_LOADED);
        if matches!(connection.call(&Request::CurrentTid { oid })?, Reply::Tid(_)) {
            // Another listener of a server that is measured already.
            return Ok(());
        }
        for first in (0..self.objects).step_by(100) {
            let oids = (first..first + 100).map(|n| Oid(FIRST_LOADED + n));
            connection.commit(oids.map(|oid| (oid, Tid::ZERO)), self.record_bytes)?;
        }
        Ok(())
    }
}

/// One server's turn.
struct Turn<'a> {
    server: &'a Server,
    commit: bool,
    duration: Duration,
    round: usize,
}

impl WithCodec for Turn<'_> {
    type Out = Result<(), Failed>;

    fn call<C: Codec>(self) -> Result<(), Failed> {
        let Self { server, commit, duration, round } = self;
        let (start, stop) = (Barrier::new(CONNECTIONS + 1), AtomicBool::new(false));
        let run = |worker: u64| -> Result<u64, Failed> {
            let opened = Connection::<C>::open(server);
            start.wait();
            let connection = opened?;
            if commit { connection.commits(worker, &stop) } else { connection.loads(worker, &stop) }
        };
        let (requests, seconds, cpu) = thread::scope(|scope| -> Result<_, Failed> {
            let workers: Vec<_> = (0..CONNECTIONS as u64)
                .map(|worker| {
                    let run = &run;
                    scope.spawn(move || run(worker))
                })
                .collect();
            start.wait();
            let (began, cpu_before) = (Instant::now(), server.cpu_seconds()?);
            thread::sleep(duration);
            stop.store(true, Ordering::Relaxed);
            let (seconds, cpu) =
                (began.elapsed().as_secs_f64(), server.cpu_seconds()? - cpu_before);
            let mut requests = 0;
            for worker in workers {
                requests += worker.join().map_err(|_| "a worker panicked")??;
            }
            Ok((requests, seconds, cpu))
        })?;
        println!(
            "{{\"server\":\"{}\",\"workload\":\"{}\",\"round\":{round},\"connections\":{CONNECTIONS},\
             \"requests\":{requests},\"seconds\":{seconds:.3},\"per_second\":{:.0},\
             \"server_cpu_seconds\":{cpu:.2},\"server_cpu_us_per_request\":{:.2}}}",
            server.name,
            if commit { "commit" } else { "load" },
            requests as f64 / seconds,
            cpu * 1e6 / requests as f64,
        );
        Ok(())
    }
}

/// A blocking connection that has registered.
struct Connection<C> {
    stream: TcpStream,
    session: Session<C>,
    input: BytesMut,
    output: Vec<u8>,
    transactions: i128,
}

impl<C: Codec> Connection<C> {
    fn open(server: &Server) -> Result<Self, Failed> {
        let Address::Tcp { host, port } = &server.endpoint.address else {
            return Err("only TCP is measured".into());
        };
        let stream = TcpStream::connect((host.as_str(), *port))?;
        stream.set_nodelay(true)?;
        let session = Session::new(Limits::default());
        let (input, output) = (BytesMut::new(), Vec::new());
        let mut connection = Self { stream, session, input, output, transactions: 0 };
        while !connection.session.is_greeted() {
            connection.receive()?;
            connection.session.handle_input(&mut connection.input)?;
        }
        connection.call(&Request::Register { storage: "1".to_owned(), read_only: false })?;
        Ok(connection)
    }

    fn loads(mut self, worker: u64, stop: &AtomicBool) -> Result<u64, Failed> {
        let mut random = worker * 0x9e37_79b9 + 1;
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let oid = Oid(FIRST_LOADED + (random >> 33) % LOADED.0);
            match self.call(&Request::LoadBefore { oid, before: Tid::MAX })? {
                Reply::Loaded(Some(loaded)) if loaded.data == record(oid, RECORD_BYTES) => {
                    done += 1
                }
                _ => return Err(format!("{oid}: a wrong answer").into()),
            }
        }
        Ok(done)
    }

    fn commits(mut self, worker: u64, stop: &AtomicBool) -> Result<u64, Failed> {
        let oid = Oid(FIRST_COMMITTED + worker);
        let mut serial = match self.call(&Request::CurrentTid { oid })? {
            Reply::Tid(tid) => tid,
            _ => Tid::ZERO,
        };
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            let tid = self.commit([(oid, serial)].into_iter(), RECORD_BYTES)?;
            if tid <= serial {
                return Err(format!("tid {tid} after {serial}").into());
            }
            serial = tid;
            done += 1;
        }
        Ok(done)
    }

    fn commit(
        &mut self,
        stores: impl Iterator<Item = (Oid, Tid)>,
        record_bytes: usize,
    ) -> Result<Tid, Failed> {
        self.transactions += 1;
        let transaction = TransactionId(self.transactions);
        self.session.handle_request(&Request::Begin(Begin {
            transaction,
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Bytes::new(),
            tid: None,
            status: b' ',
        }))?;
        for (oid, serial) in stores {
            let data = record(oid, record_bytes);
            self.session.handle_request(&Request::Store { transaction, oid, serial, data })?;
        }
        match self.call(&Request::Vote { transaction })? {
            Reply::Voted => (),
            Reply::Failed(failure) => return Err(format!("vote: {failure}").into()),
            _ => return Err("vote: conflicts".into()),
        }
        match self.call(&Request::Finish { transaction })? {
            Reply::Tid(tid) => Ok(tid),
            other => Err(format!("finish: {other:?}").into()),
        }
    }

    fn call(&mut self, request: &Request) -> Result<Reply, Failed> {
        let asked = self.session.handle_request(request)?.ok_or("a one-way request")?;
        loop {
            match self.session.handle_input(&mut self.input)? {
                Some(Incoming::Reply { number, reply }) if number == asked => return Ok(reply),
                Some(_) => (),
                None => {
                    self.send()?;
                    self.receive()?;
                }
            }
        }
    }

    fn send(&mut self) -> Result<(), Failed> {
        self.output.clear();
        while self.session.poll_transmit(&mut self.output) {
            self.stream.write_all(&self.output)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Failed> {
        let start = self.input.len();
        self.input.resize(start + 16_384, 0);
        let count = self.stream.read(self.input.get_mut(start..).unwrap_or_default())?;
        self.input.truncate(start + count);
        if count == 0 { Err("the server closed the connection".into()) } else { Ok(()) }
    }
}

/// The record of an object: its oid, over and over.
fn record(oid: Oid, bytes: usize) -> Bytes {
    oid.to_bytes().repeat(bytes / 8).into()
}
