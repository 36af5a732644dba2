//! A worker process: does what a coordinator says, one job after the other.
//!
//! The coordinator starts its own workers on this machine; on another host a person does, and tells
//! the coordinator the address. Both are the same program, and speak the same way.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use rustix::thread::CpuSet;

use crate::control::{Job, Line, Order, Report, VERSION, unix_ns};
use crate::engine::Engine;
use crate::pin;

/// Be a worker, on this or on another host.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Wait here for a coordinator; it is told on standard output as `listening HOST:PORT`. There is
    /// no authentication: listen where only the coordinator can connect
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// End when the first coordinator has gone
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let listen = &options.listen;
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    println!("listening {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let (stream, peer) = listener.accept().context("accepting a coordinator")?;
        if let Err(error) = serve(stream) {
            eprintln!("coordinator {peer}: {error:#}");
        }
        if options.once {
            return Ok(());
        }
    }
}

fn serve(stream: TcpStream) -> anyhow::Result<()> {
    // Without this, who sleeps until an arrival is woken up 50 us late. It stays as it was if the
    // system refuses, and the lag is measured in any case.
    _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut line = Line::new(stream)?;
    let everywhere = pin::current()?;
    let mut ready = None;
    while let Some(order) = line.receive()? {
        match order {
            Order::Hello { version } => {
                let cpus = thread::available_parallelism().map_or(1, usize::from);
                line.send(&Report::Hello { version: VERSION.to_owned(), cpus })?;
                if version != VERSION {
                    bail!("it is {version:?}, and this is {VERSION:?}");
                }
            }
            Order::Clock => line.send(&Report::Clock { unix_ns: unix_ns() })?,
            Order::Prepare(job) => match prepare(*job, &everywhere) {
                Ok(engine) => {
                    ready = Some(engine);
                    line.send(&Report::Ready)?;
                }
                Err(error) => line.send(&Report::Failed { error: format!("{error:#}") })?,
            },
            Order::Start { at_unix_ns } => {
                let engine = ready.take().context("told to start what was not prepared")?;
                let wait = Duration::from_nanos(at_unix_ns.saturating_sub(unix_ns()));
                let done = engine.run(Instant::now() + wait, |second, response| {
                    line.send(&Report::Interval { second, response: response.clone() })
                });
                line.send(&match done {
                    Ok(done) => Report::Done(Box::new(done)),
                    Err(error) => Report::Failed { error: format!("{error:#}") },
                })?;
            }
        }
    }
    Ok(())
}

fn prepare(job: Job, everywhere: &CpuSet) -> anyhow::Result<Engine> {
    // A job before this one may have pinned it.
    pin::stay_on(everywhere)?;
    if !job.cpus.is_empty() {
        pin::stay_on(&pin::of(&job.cpus)?)?;
    }
    Engine::prepare(job)
}
