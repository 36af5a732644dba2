//! A driver that does nothing but read from the echo server: what a client costs at least.
//!
//! Each process has sockets, `epoll` and a buffer, looks at nothing that it reads and keeps no
//! latencies. What the load generator's workers need more than this is their own.
//!
//! **Never**: a check of what is read, so no figure of a server comes from it.
//!
//! Start reading at [`Client`]. What is heard and said is in `src/driver.rs`.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use measure::Usage;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde::{Deserialize, Serialize};

/// What to do, as `src/driver.rs` gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    address: String,
    /// Processes.
    connections: u32,
    warmup_seconds: f64,
    seconds: f64,
    settings: Settings,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Settings {
    /// Of each process.
    sockets: u32,
    /// How many there are.
    objects: u32,
    /// Of each.
    record_bytes: usize,
}

/// What one process did in the counted time.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    operations: u64,
    usage: Usage,
}

/// As `src/wire/echo.rs` has them.
const REQUEST_BYTES: usize = 60;
const REPLY_HEAD_BYTES: usize = 12;
const FIRST_OBJECT: u64 = 1 << 20;

fn main() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line).context("no order")?;
    if std::env::args().nth(1).as_deref() == Some("client") {
        let done = Client::connect(&order)?.run(&order)?;
        println!("{}", serde_json::to_string(&done)?);
        return Ok(());
    }
    drive(&order)
}

/// Has processes do the work, and tells what came of it.
fn drive(order: &Order) -> Result<()> {
    let own = std::env::current_exe()?;
    let start = |_| -> Result<Child> {
        let mut child = Command::new(&own);
        child.arg("client").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().context("starting a process")?;
        let mut input = child.stdin.take().context("its input")?;
        writeln!(input, "{}", serde_json::to_string(order)?)?;
        Ok(child)
    };
    let children = (0..order.connections).map(start).collect::<Result<Vec<_>>>()?;
    thread::sleep(Duration::from_secs_f64(order.warmup_seconds));
    println!(r#"{{"says":"began"}}"#);
    thread::sleep(Duration::from_secs_f64(order.seconds));
    println!(r#"{{"says":"ended"}}"#);
    let (mut operations, mut usage) = (0, Usage::default());
    for mut child in children {
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        let done: Done = serde_json::from_str(&line).context("a process failed")?;
        operations += done.operations;
        usage = usage.and(done.usage);
        child.wait()?;
    }
    let sockets = f64::from(order.connections * order.settings.sockets);
    let done = serde_json::json!({
        "says": "done",
        "operations": operations,
        "seconds": order.seconds,
        "means_ns": [order.seconds * 1e9 * sockets / operations as f64],
        "client": usage,
        "versions": {},
    });
    println!("{done}");
    Ok(())
}

/// One process.
struct Client {
    epoll: OwnedFd,
    sockets: Vec<Socket>,
    next: u64,
}

struct Socket {
    stream: TcpStream,
    /// Bytes of the reply that have come.
    received: usize,
}

impl Client {
    fn connect(order: &Order) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::new();
        for number in 0..u64::from(order.settings.sockets) {
            let stream = TcpStream::connect(&order.address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            epoll::add(&epoll, stream.as_fd(), epoll::EventData::new_u64(number), flags)?;
            sockets.push(Socket { stream, received: 0 });
        }
        Ok(Self { epoll, sockets, next: 0 })
    }

    fn run(mut self, order: &Order) -> Result<Done> {
        let settings = &order.settings;
        let warm = Instant::now() + Duration::from_secs_f64(order.warmup_seconds);
        let end = warm + Duration::from_secs_f64(order.seconds);
        let reply_bytes = REPLY_HEAD_BYTES + settings.record_bytes;
        let (mut operations, mut before) = (0, None);
        let mut events = Vec::with_capacity(1024);
        let mut buffer = vec![0; 64 << 10];
        for number in 0..self.sockets.len() {
            self.ask(number, settings.objects)?;
        }
        loop {
            // As the load generator's workers do, and for the same reason.
            rustix::thread::sched_yield();
            let tick = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&tick))?;
            let now = Instant::now();
            if now >= end {
                break;
            }
            if now >= warm && before.is_none() {
                before = Some(Usage::of_process(std::process::id())?);
            }
            for event in events.drain(..) {
                let number = event.data.u64() as usize;
                if self.receive(number, &mut buffer, reply_bytes)? {
                    operations += u64::from(before.is_some());
                    self.ask(number, settings.objects)?;
                }
            }
        }
        let after = Usage::of_process(std::process::id())?;
        Ok(Done { operations, usage: after - before.context("no time was counted")? })
    }

    /// Whether the reply is whole.
    fn receive(&mut self, number: usize, buffer: &mut [u8], reply_bytes: usize) -> Result<bool> {
        let socket = self.sockets.get_mut(number).context("an odd event")?;
        match socket.stream.read(buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => socket.received += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        let is_whole = socket.received >= reply_bytes;
        if is_whole {
            socket.received -= reply_bytes;
        }
        Ok(is_whole)
    }

    fn ask(&mut self, number: usize, objects: u32) -> Result<()> {
        self.next = self.next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let object = FIRST_OBJECT + (self.next >> 33) % u64::from(objects.max(1));
        let mut request = [0; REQUEST_BYTES];
        request[..4].copy_from_slice(&(REQUEST_BYTES as u32 - 4).to_be_bytes());
        request[12..20].copy_from_slice(&object.to_be_bytes());
        let socket = self.sockets.get_mut(number).context("an odd socket")?;
        socket.stream.write_all(&request).context("asking")
    }
}
