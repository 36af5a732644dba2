//! One worker's load: connections on one thread, driven by epoll, in a closed or an open loop.
//!
//! Every operation has three times. *Intended* is when a user would have asked, *sent* is when it
//! was asked, *done* is when its answer had been checked. In a closed loop the first two are the
//! same. An operation of an open loop whose connection is still busy with another one (commits)
//! waits in its response time, but not in the generator's lag.

mod connection;
mod count;
mod role;
mod schedule;

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use measure::{Histogram, Loop};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use self::connection::{Connection, Times};
use self::count::Counts;
use self::role::Role;
use self::schedule::Schedule;
use crate::control::{Done, Job};
use crate::wire::Event;

pub(crate) use self::prepare::fill;
pub(crate) use self::role::FIRST_READ;

mod prepare;

/// A worker's part of a point, ready to begin.
pub(crate) struct Engine {
    job: Job,
    epoll: rustix::fd::OwnedFd,
    slots: Vec<Slot>,
    /// Positions of the slots that an open loop's arrivals go to, and whose turn it is.
    measured: Vec<usize>,
    turn: usize,
    /// When the publisher asked for its commits, in order.
    published: Vec<Instant>,
}

/// A connection and its role.
struct Slot {
    connection: Connection,
    role: Role,
    /// Arrivals that found it busy.
    queue: VecDeque<Instant>,
    /// How many publications have arrived.
    heard: usize,
}

/// A server that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

impl Engine {
    /// Connects all, and waits until all are registered; those that stall vote.
    pub(crate) fn prepare(job: Job) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
        let mut engine = Self {
            epoll,
            slots: Vec::new(),
            measured: Vec::new(),
            turn: 0,
            published: Vec::new(),
            job,
        };
        for number in 0..engine.job.connections {
            engine.add(engine.job.first_connection + number)?;
        }
        engine.wait_until(|slots| slots.iter().all(|slot| slot.connection.wire.is_open()))?;
        for slot in &mut engine.slots {
            if let Role::Stall { oid, record_bytes } = slot.role {
                slot.connection.wire.vote(oid, record_bytes)?;
                slot.connection.send()?;
            }
        }
        engine.wait_until(|slots| slots.iter().all(|slot| slot.heard > 0 || !slot.stalls()))?;
        Ok(engine)
    }

    fn add(&mut self, number: u32) -> anyhow::Result<()> {
        let role = role::of(&self.job, number);
        let position = self.slots.len();
        if role.is_measured() {
            self.measured.push(position);
        }
        let mut connection = Connection::open(&self.job.protocol, &self.job.address)?;
        self.watch(&connection, position)?;
        connection.send()?;
        self.slots.push(Slot { connection, role, queue: VecDeque::new(), heard: 0 });
        Ok(())
    }

    fn watch(&self, connection: &Connection, position: usize) -> anyhow::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(position as u64);
        epoll::add(&self.epoll, connection.stream.as_fd(), data, flags).context("epoll")
    }

    /// Handles events until `enough`, without counting anything.
    fn wait_until(&mut self, enough: impl Fn(&[Slot]) -> bool) -> anyhow::Result<()> {
        let mut counts = Counts::ignoring();
        let mut events = Vec::with_capacity(1024);
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.slots) {
            if Instant::now() > deadline {
                bail!("connections are not ready after {PATIENCE:?}");
            }
            self.poll(&mut events, Duration::from_millis(100))?;
            for event in events.drain(..) {
                self.handle(event, &mut counts)?;
            }
        }
        Ok(())
    }

    fn poll(&self, events: &mut Vec<epoll::Event>, timeout: Duration) -> anyhow::Result<()> {
        events.clear();
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("epoll"),
        }
    }

    /// Works from `begin` on; `tell` gets the responses of each second, and whether they count.
    pub(crate) fn run(
        mut self,
        begin: Instant,
        mut tell: impl FnMut(bool, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<Done> {
        let warm = begin + Duration::from_secs_f64(self.job.warmup_seconds);
        let end = warm + Duration::from_secs_f64(self.job.seconds);
        let mut schedule = match self.job.load {
            Loop::Closed => None,
            Loop::Open { rate, arrivals } => {
                let seed = self.job.seed ^ u64::from(self.job.first_connection);
                let schedule = Schedule::new(begin, rate, arrivals, seed);
                Some(schedule.context("the rate of an open loop must be above zero")?)
            }
        };
        let mut counts = Counts::new(warm, end, schedule.is_some());
        self.sleep_until(begin)?;
        self.begin(schedule.is_some())?;
        let mut events = Vec::with_capacity(1024);
        let mut heard = Instant::now();
        while counts.goes_on(Instant::now(), || self.is_busy()) {
            let timeout = match &schedule {
                Some(schedule) => schedule.next().saturating_duration_since(Instant::now()),
                None => TICK,
            };
            self.poll(&mut events, timeout.min(TICK))?;
            if !events.is_empty() {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE && self.is_busy() {
                bail!("nothing was answered for {PATIENCE:?}");
            }
            for event in events.drain(..) {
                self.handle(event, &mut counts)?;
            }
            if let Some(schedule) = &mut schedule {
                self.arrive(schedule, end)?;
            }
            counts.tell_if_due(&mut tell)?;
        }
        self.check_own()?;
        let bytes = self.slots.iter().fold((0, 0), |sum, slot| {
            (sum.0 + slot.connection.bytes.0, sum.1 + slot.connection.bytes.1)
        });
        counts.finish(bytes, &mut tell)
    }

    fn sleep_until(&self, begin: Instant) -> anyhow::Result<()> {
        let mut events = Vec::with_capacity(1);
        loop {
            let left = begin.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.poll(&mut events, left.min(TICK))?;
            // Nothing has been asked, so what comes can wait: edges are seen again at the answer.
        }
    }

    /// The first operations of a closed loop; in both loops, those that are not measured.
    fn begin(&mut self, open: bool) -> anyhow::Result<()> {
        let now = Instant::now();
        let now = Times { intended: now, sent: now };
        for slot in &mut self.slots {
            if !(open && slot.role.is_measured()) {
                for _ in 0..if slot.role.is_pipelined() { self.job.depth } else { 1 } {
                    slot.ask(now, &mut self.published)?;
                }
            }
            slot.connection.send()?;
        }
        Ok(())
    }

    /// Asks for what is due; what is intended after `end` is not asked for.
    fn arrive(&mut self, schedule: &mut Schedule, end: Instant) -> anyhow::Result<()> {
        let now = Instant::now();
        while schedule.next() < end
            && let Some(intended) = schedule.take(now)
        {
            self.turn = (self.turn + 1) % self.measured.len().max(1);
            let position = self.measured.get(self.turn).copied();
            let Some(slot) = position.and_then(|position| self.slots.get_mut(position)) else {
                bail!("no connection of this workload can have a schedule");
            };
            if slot.connection.commit.is_some() {
                slot.queue.push_back(intended);
            } else {
                slot.ask(Times { intended, sent: Instant::now() }, &mut self.published)?;
                slot.connection.send()?;
            }
        }
        Ok(())
    }

    fn handle(&mut self, event: epoll::Event, counts: &mut Counts) -> anyhow::Result<()> {
        let position = event.data.u64() as usize;
        let Some(slot) = self.slots.get_mut(position) else { return Ok(()) };
        let mut more = true;
        while more {
            more = slot.connection.receive()?;
            while let Some(event) = slot.connection.next_event()? {
                slot.handle(event, counts, &mut self.published)?;
            }
        }
        slot.connection.send()?;
        if matches!(slot.role, Role::Connect) && slot.connection.wire.is_open() {
            self.reconnect(position, counts)?;
        }
        Ok(())
    }

    /// A connection of [`Role::Connect`] is open: that was one operation.
    fn reconnect(&mut self, position: usize, counts: &mut Counts) -> anyhow::Result<()> {
        let Some(slot) = self.slots.get_mut(position) else { return Ok(()) };
        if let Some(times) = slot.connection.commit.take() {
            counts.count(times, Instant::now());
        } else if !counts.has_begun() {
            return Ok(());
        }
        let now = Instant::now();
        let socket = socket2::SockRef::from(&slot.connection.stream);
        // A reset: thousands of ports in TIME_WAIT would be used up soon.
        socket.set_linger(Some(Duration::ZERO)).context("SO_LINGER")?;
        let mut connection = Connection::open(&self.job.protocol, &self.job.address)?;
        connection.bytes = slot.connection.bytes;
        connection.commit = Some(Times { intended: now, sent: now });
        connection.send()?;
        slot.connection = connection;
        let slot = self.slots.get(position).context("the slot is there")?;
        self.watch(&slot.connection, position)
    }

    fn is_busy(&self) -> bool {
        self.slots.iter().any(Slot::is_busy)
    }
}

/// How often the clock is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(50);

impl Slot {
    fn stalls(&self) -> bool {
        matches!(self.role, Role::Stall { .. })
    }

    /// Whether an operation that counts is under way or waits.
    fn is_busy(&self) -> bool {
        let connection = &self.connection;
        self.role.is_measured()
            && (!connection.loads.is_empty()
                || connection.commit.is_some()
                || !self.queue.is_empty())
    }

    /// Starts an operation.
    fn ask(&mut self, times: Times, published: &mut Vec<Instant>) -> anyhow::Result<()> {
        match &mut self.role {
            Role::Read(reads) => self.connection.load(reads.next(), times),
            Role::Commit { oids, record_bytes, .. } => {
                published.push(times.sent);
                self.connection.commit = Some(times);
                self.connection.wire.commit(oids, *record_bytes)
            }
            Role::Connect => {
                self.connection.commit = Some(times);
                Ok(())
            }
            Role::Stall { .. } | Role::Subscribe => Ok(()),
        }
    }

    fn handle(
        &mut self,
        event: Event,
        counts: &mut Counts,
        published: &mut Vec<Instant>,
    ) -> anyhow::Result<()> {
        let now = Instant::now();
        let times = match event {
            Event::Step => return Ok(()),
            Event::Voted => {
                self.heard += 1;
                return Ok(());
            }
            Event::Invalidated { .. } => return self.invalidated(now, counts, published),
            Event::Loaded { ticket, data } => self.connection.loaded(ticket, data.as_deref())?,
            Event::Committed => {
                self.connection.commit.take().context("a commit that nobody asked for")?
            }
        };
        if self.role.is_measured() {
            counts.count(times, now);
        }
        if let Some(intended) = self.queue.pop_front() {
            return self.ask(Times { intended, sent: now }, published);
        }
        if counts.asks(now) && !(counts.open && self.role.is_measured()) {
            self.ask(Times { intended: now, sent: now }, published)?;
        }
        Ok(())
    }

    /// A subscriber hears of the publisher's commits, one after the other.
    fn invalidated(
        &mut self,
        now: Instant,
        counts: &mut Counts,
        published: &[Instant],
    ) -> anyhow::Result<()> {
        if matches!(self.role, Role::Subscribe) {
            let sent = published.get(self.heard).context("an invalidation of nothing")?;
            counts.count(Times { intended: *sent, sent: *sent }, now);
            self.heard += 1;
        }
        Ok(())
    }
}

impl Role {
    /// Whether its operations are those of the workload.
    fn is_measured(&self) -> bool {
        match self {
            Self::Read(_) | Self::Connect => true,
            Self::Commit { measured, .. } => *measured,
            Self::Stall { .. } | Self::Subscribe => false,
        }
    }

    fn is_pipelined(&self) -> bool {
        matches!(self, Self::Read(_))
    }
}
