//! One worker's load: connections on one thread, driven by epoll, in a closed or an open loop.
//!
//! Every operation has four times. *Intended* is when a user would have asked, *noticed* is when
//! the generator got to it, *sent* is when it was asked, *done* is when its answer had been checked.
//! In a closed loop the first three are the same. In an open loop an operation whose connection is
//! still busy with another one (commits) waits between *noticed* and *sent*: that is a part of its
//! response, and not the generator's lag.

mod connection;
mod count;
mod prepare;
mod role;
mod schedule;
mod slot;
mod stream;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use client::Tls;
use measure::{Histogram, Loop};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use self::connection::{Connection, Scratch, Times};
use self::count::Counts;
use self::role::Role;
use self::schedule::Schedule;
use self::slot::{Published, Shared, Slot};
use crate::control::{Done, Job};
use crate::tls::Trust;

pub(crate) use self::prepare::fill;
pub(crate) use self::role::{FIRST_READ, read_oid};

/// A worker's part of a point, ready to begin.
pub(crate) struct Engine {
    job: Job,
    slots: Vec<Slot>,
    shared: Shared,
    /// Positions of the slots that an open loop's arrivals go to, and whose turn it is.
    scheduled: Vec<usize>,
    turn: usize,
}

/// A server that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the clock is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(50);

/// So long before an arrival the worker stops sleeping: a sleeper wakes up late.
const SPIN: Duration = Duration::from_micros(50);

impl Engine {
    /// Connects all, and waits until all are registered; those that stall vote.
    pub(crate) fn prepare(job: Job) -> anyhow::Result<Self> {
        check_open_files(&job)?;
        let tls = job.tls.as_ref().map(Trust::tls).transpose()?;
        let shared = Shared {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?,
            protocol: job.protocol.clone(),
            published: Published::default(),
            scratch: Scratch::default(),
            thinking: BinaryHeap::new(),
        };
        let mut engine = Self { slots: Vec::new(), shared, scheduled: Vec::new(), turn: 0, job };
        for number in 0..engine.job.connections {
            engine.add(engine.job.first_connection + number, tls.as_ref())?;
        }
        engine.wait_until(|slots| slots.iter().all(|slot| slot.connection.wire.is_open()))?;
        for slot in &mut engine.slots {
            if let Role::Stall { oid, sizes } = slot.role {
                slot.connection.wire.vote(oid, sizes)?;
                slot.connection.send()?;
            }
        }
        engine.wait_until(|slots| slots.iter().all(|slot| slot.has_voted || !slot.stalls()))?;
        Ok(engine)
    }

    fn add(&mut self, number: u32, tls: Option<&Tls>) -> anyhow::Result<()> {
        let role = role::of(&self.job, number);
        let is_scheduled = role::is_scheduled(&self.job, number);
        let position = self.slots.len();
        if is_scheduled {
            self.scheduled.push(position);
        }
        if matches!(role, Role::Subscribe) {
            self.shared.published.subscribers += 1;
        }
        let connection = Connection::open(&self.job.protocol, &self.job.address, tls)?;
        let mut slot = Slot::new(connection, role, position, is_scheduled);
        slot.watch(&self.shared.epoll)?;
        slot.connection.send()?;
        self.slots.push(slot);
        Ok(())
    }

    /// Handles events until `enough`, without counting anything.
    fn wait_until(&mut self, enough: impl Fn(&[Slot]) -> bool) -> anyhow::Result<()> {
        let mut counts = Counts::ignoring(&self.job);
        let mut events = Vec::with_capacity(1024);
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.slots) {
            if Instant::now() > deadline {
                bail!("connections are not ready after {PATIENCE:?}");
            }
            self.poll(&mut events, TICK)?;
            for event in events.drain(..) {
                self.handle(event, &mut counts)?;
            }
        }
        Ok(())
    }

    fn poll(&self, events: &mut Vec<epoll::Event>, timeout: Duration) -> anyhow::Result<()> {
        events.clear();
        if self.job.load == Loop::Closed {
            // A server on the same CPU answers more before this wakes up: one wake-up for many
            // answers. An open loop has no time for that.
            rustix::thread::sched_yield();
        }
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        match epoll::wait(&self.shared.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("epoll"),
        }
    }

    /// Works from `begin` on; `tell` gets the responses of each second of the counted time.
    pub(crate) fn run(
        mut self,
        begin: Instant,
        mut tell: impl FnMut(u64, &Histogram) -> anyhow::Result<()>,
    ) -> anyhow::Result<Done> {
        let mut schedule = self.schedule(begin)?;
        let mut counts = Counts::new(begin, &self.job);
        thread::sleep(begin.saturating_duration_since(Instant::now()));
        self.begin(counts.open)?;
        let mut events = Vec::with_capacity(1024);
        let mut heard = Instant::now();
        let mut idle_since = None;
        loop {
            let now = Instant::now();
            if let Some(since) = idle_since.take() {
                counts.spun(since, now);
            }
            // First what is due: a worker that was kept from working has to catch up at the end.
            let has_arrived = self.arrive(&mut schedule, &counts, now)?;
            self.go_on(&counts, now)?;
            if !counts.goes_on(now, || self.under_way())? {
                break;
            }
            let timeout = self.timeout(schedule.as_ref(), &counts);
            self.poll(&mut events, timeout)?;
            if !events.is_empty() {
                heard = now;
            } else if now.duration_since(heard) > PATIENCE && self.under_way() > 0 {
                bail!("nothing was answered for {PATIENCE:?}");
            } else if timeout.is_zero() && !has_arrived {
                idle_since = Some(now);
            }
            for event in events.drain(..) {
                self.handle(event, &mut counts)?;
                self.arrive(&mut schedule, &counts, Instant::now())?;
            }
            counts.tell_if_due(now, &mut tell)?;
        }
        self.check_own()?;
        let bytes = self.slots.iter().fold((0, 0), |sum, slot| {
            (sum.0 + slot.connection.bytes.0, sum.1 + slot.connection.bytes.1)
        });
        counts.finish(bytes, &mut tell)
    }

    /// This worker's share of an open loop; `None` if nothing of it is to be done here.
    fn schedule(&self, begin: Instant) -> anyhow::Result<Option<Schedule>> {
        let Job { load, seed, first_connection, .. } = self.job;
        let Loop::Open { rate, arrivals } = load else { return Ok(None) };
        let all =
            (0..self.job.all_connections).filter(|number| role::is_scheduled(&self.job, *number));
        let (own, all) = (self.scheduled.len() as f64, all.count() as f64);
        if own == 0.0 {
            return Ok(None);
        }
        let seed = seed ^ u64::from(first_connection);
        let schedule = Schedule::new(begin, rate * own / all, arrivals, seed);
        Ok(Some(schedule.context("the rate of an open loop must be above zero")?))
    }

    /// The first operations of a closed loop; in both loops, those that no schedule asks for.
    fn begin(&mut self, open: bool) -> anyhow::Result<()> {
        let now = Times::at(Instant::now());
        for slot in &mut self.slots {
            if !(open && slot.is_scheduled) {
                for _ in 0..if slot.role.is_pipelined() { self.job.depth } else { 1 } {
                    slot.ask(now, &mut self.shared)?;
                }
            }
            slot.connection.send()?;
        }
        Ok(())
    }

    /// Asks for what is due, and tells whether there was any; what is intended after the end is not
    /// asked for.
    fn arrive(
        &mut self,
        schedule: &mut Option<Schedule>,
        counts: &Counts,
        mut now: Instant,
    ) -> anyhow::Result<bool> {
        let Some(schedule) = schedule else { return Ok(false) };
        let mut has_arrived = false;
        while counts.asks(schedule.next())
            && let Some(intended) = schedule.take(now)
        {
            has_arrived = true;
            self.turn = (self.turn + 1) % self.scheduled.len().max(1);
            let position = self.scheduled.get(self.turn).copied();
            let slot = position.and_then(|position| self.slots.get_mut(position));
            let slot = slot.context("a schedule without connections")?;
            slot.arrive(Times { intended, noticed: now, sent: now }, &mut self.shared)?;
            // The next one may have become due while this one was sent.
            now = Instant::now();
        }
        Ok(has_arrived)
    }

    /// Goes on with those who have paused long enough.
    fn go_on(&mut self, counts: &Counts, now: Instant) -> anyhow::Result<()> {
        while let Some(Reverse((due, position))) = self.shared.thinking.peek().copied()
            && due <= now
        {
            self.shared.thinking.pop();
            let slot = self.slots.get_mut(position).context("nobody has paused")?;
            if counts.asks(now) {
                slot.ask(Times::at(now), &mut self.shared)?;
                slot.connection.send()?;
            }
        }
        Ok(())
    }

    /// How long to wait for events.
    fn timeout(&self, schedule: Option<&Schedule>, counts: &Counts) -> Duration {
        let thinking = self.shared.thinking.peek().map(|Reverse((due, _))| *due);
        let left = |due: Instant| due.saturating_duration_since(Instant::now());
        let until_thought = thinking.map_or(TICK, |due| left(due).min(TICK));
        let next = schedule.map(Schedule::next).filter(|next| counts.asks(*next));
        let Some(next) = next else { return until_thought };
        if self.job.is_sleepless {
            return Duration::ZERO;
        }
        left(next).saturating_sub(SPIN).min(until_thought)
    }

    fn handle(&mut self, event: epoll::Event, counts: &mut Counts) -> anyhow::Result<()> {
        let position = event.data.u64() as usize;
        let flags = event.flags;
        let Some(slot) = self.slots.get_mut(position) else { return Ok(()) };
        slot.handle(flags.contains(epoll::EventFlags::RDHUP), counts, &mut self.shared)
    }

    /// How many operations are not done yet.
    fn under_way(&self) -> usize {
        let of_slots: usize = self.slots.iter().map(Slot::under_way).sum();
        of_slots + self.shared.published.under_way()
    }
}

/// Refuses connections that this process, or a server with the same limit, cannot have.
fn check_open_files(job: &Job) -> anyhow::Result<()> {
    let needed = u64::from(job.all_connections) + OTHER_FILES;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < needed => bail!(
            "{} connections need {needed} open files, and the system grants {limit}; raise the hard \
             limit (ulimit -Hn)",
            job.all_connections
        ),
        _ => Ok(()),
    }
}

/// What a server opens beside its connections, generously.
const OTHER_FILES: u64 = 100;
