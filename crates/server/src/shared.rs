//! What all connections of a server share: the storages, the limits, the list of who is
//! connected, and how far shutdown has come.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::Limits;
use session::Host;
use storage::Mailbox;
use tracing::warn;

/// A server, whatever runtime drives it.
pub struct Server {
    pub(crate) host: Arc<Host>,
    pub(crate) limits: Limits,
    /// How much may wait for one client, besides answers.
    pub(crate) outgoing_bytes_max: usize,
    connections_max: usize,
    registry: Mutex<Registry>,
    /// Tells [`Self::wait_until_empty`] of every end.
    left: Condvar,
    phase: AtomicU8,
}

#[derive(Default)]
struct Registry {
    /// Names the next connection.
    next: u64,
    connections: HashMap<u64, Member>,
    refused: u64,
    /// By those who are not connected any more.
    gone: (u64, u64),
    warned: Warned,
    /// Of clients that TLS does not let in.
    told: Warned,
}

/// What the server knows of a connection.
struct Member {
    mailbox: Arc<Mailbox>,
    traffic: Arc<Traffic>,
    since: Instant,
}

/// What a connection has received and sent. Only the connection writes, so this costs it nothing.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    /// The greeting is answered, or the connection is told that it takes too long.
    pub(crate) answered: AtomicBool,
    pub(crate) is_late: AtomicBool,
}

/// All connections, for monitoring.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Crowd {
    pub(crate) connected: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) waiting_bytes: u64,
}

/// The last line of a kind that a peer could otherwise write without end.
#[derive(Default)]
struct Warned {
    at: Option<Instant>,
    suppressed: u64,
}

/// How far shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It has not been asked for.
    Serving = 0,
    /// Connections end as soon as they owe nothing.
    Stopping = 1,
    /// Connections end.
    Stopped = 2,
}

impl Server {
    pub(crate) fn new(
        host: Host,
        limits: Limits,
        outgoing_bytes_max: usize,
        connections_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            host: Arc::new(host),
            limits,
            outgoing_bytes_max,
            connections_max,
            registry: Mutex::default(),
            left: Condvar::new(),
            phase: AtomicU8::new(Phase::Serving as u8),
        })
    }

    /// What an acceptor does after `accept` failed: pause that long and go on, or, with `None`,
    /// end.
    ///
    /// Without the pause an acceptor would spin when descriptors run out: the connection that it
    /// cannot take stays in front.
    pub fn after_failed_accept(&self, error: &io::Error) -> Option<Duration> {
        if self.phase() != Phase::Serving {
            return None;
        }
        match error.kind() {
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => Some(Duration::ZERO),
            _ => {
                if let Some(suppressed) = self.lock().warned.now() {
                    warn!(suppressed, "cannot accept a connection: {error}");
                }
                Some(ACCEPT_PAUSE)
            }
        }
    }

    /// Whether connections must end now: what blocks one has to be undone.
    pub fn is_stopped(&self) -> bool {
        self.phase() == Phase::Stopped
    }

    /// Counts a connection; `None`: there are too many, or the server stops.
    pub(crate) fn admit(self: &Arc<Self>, mailbox: &Arc<Mailbox>, peer: &str) -> Option<Place> {
        let mut registry = self.lock();
        if self.phase() != Phase::Serving {
            return None;
        }
        if registry.connections.len() >= self.connections_max {
            registry.refused += 1;
            if let Some(suppressed) = registry.warned.now() {
                let limit = self.connections_max;
                warn!(peer, limit, suppressed, "refused: too many connections");
            }
            return None;
        }
        let number = registry.next;
        registry.next += 1;
        let traffic = Arc::new(Traffic::default());
        let (mailbox, since) = (Arc::clone(mailbox), Instant::now());
        let member = Member { mailbox, traffic: Arc::clone(&traffic), since };
        registry.connections.insert(number, member);
        Some(Place { server: Arc::clone(self), number, traffic })
    }

    /// Ends connections that have not answered the greeting for long: nobody else would.
    pub(crate) fn end_unanswered(&self, now: Instant) {
        let is_late = |member: &&Member| {
            !member.traffic.answered.load(Ordering::Relaxed)
                && now.saturating_duration_since(member.since) >= ANSWER_PATIENCE
        };
        let registry = self.lock();
        let late: Vec<_> = registry
            .connections
            .values()
            .filter(is_late)
            .map(|member| {
                member.traffic.is_late.store(true, Ordering::Relaxed);
                Arc::clone(&member.mailbox)
            })
            .collect();
        drop(registry);
        late.iter().for_each(|mailbox| mailbox.wake());
    }

    /// All connections, in numbers.
    pub(crate) fn crowd(&self) -> Crowd {
        let registry = self.lock();
        let (received_bytes, sent_bytes) = registry.gone;
        let none = Crowd {
            connected: registry.connections.len() as u64,
            admitted: registry.next,
            refused: registry.refused,
            received_bytes,
            sent_bytes,
            waiting_bytes: 0,
        };
        registry.connections.values().fold(none, |sum, Member { mailbox, traffic, .. }| Crowd {
            received_bytes: sum.received_bytes + traffic.received_bytes.load(Ordering::Relaxed),
            sent_bytes: sum.sent_bytes + traffic.sent_bytes.load(Ordering::Relaxed),
            waiting_bytes: sum.waiting_bytes + mailbox.waiting_bytes() as u64,
            ..sum
        })
    }

    /// Whether to tell now that TLS does not let a client in, and then how often it was not told
    /// since the last time: ZEO's clients try again at once, hundreds of times a second.
    pub(crate) fn tells_of_tls(&self) -> Option<u64> {
        self.lock().told.now()
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Stopping,
            _ => Phase::Stopped,
        }
    }

    /// Goes on to `phase` and has all connections look at it.
    pub(crate) fn enter(&self, phase: Phase) {
        let connections: Vec<_> = {
            // Under the lock, so that `admit` lets nobody in who would not be woken.
            let registry = self.lock();
            self.phase.fetch_max(phase as u8, Ordering::AcqRel);
            registry.connections.values().map(|member| Arc::clone(&member.mailbox)).collect()
        };
        // Not under the lock: a wake-up may end a connection there and then, which takes it.
        for mailbox in connections {
            mailbox.wake();
        }
    }

    /// Waits until nobody is connected. Returns the number of those who are, at the latest after
    /// `patience`.
    pub(crate) fn wait_until_empty(&self, patience: Duration) -> usize {
        let (registry, _) = self
            .left
            .wait_timeout_while(self.lock(), patience, |registry| !registry.connections.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        registry.connections.len()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // The registry is whole between any two statements that can panic.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Warned {
    /// Whether to warn now, and then how often it was not done since the last time.
    fn now(&mut self) -> Option<u64> {
        if self.at.is_some_and(|at| at.elapsed() < WARN_INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.at = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// A connection's place among all. Dropped, it is free again.
pub(crate) struct Place {
    pub(crate) server: Arc<Server>,
    pub(crate) traffic: Arc<Traffic>,
    number: u64,
}

impl Traffic {
    pub(crate) fn received(&self, bytes: usize) {
        add(&self.received_bytes, bytes);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes);
    }
}

/// For the one thread at a time that writes.
fn add(sum: &AtomicU64, bytes: usize) {
    sum.store(sum.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut registry = self.server.lock();
        let member = registry.connections.remove(&self.number);
        registry.gone.0 += self.traffic.received_bytes.load(Ordering::Relaxed);
        registry.gone.1 += self.traffic.sent_bytes.load(Ordering::Relaxed);
        drop(registry);
        self.server.left.notify_all();
        drop(member);
    }
}

/// Any client answers the greeting at once; those who only look whether the server is there leave.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// How long an acceptor leaves the system alone that has no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// At most one line in this time says that connections are refused.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use storage::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn server(connections_max: usize) -> Arc<Server> {
        let host = Host { storages: [].into(), read_only: false, started: String::new() };
        Server::new(host, Limits::default(), 1024, connections_max)
    }

    #[test]
    fn places_are_limited_and_come_back() {
        let server = server(1);
        let mailbox = Mailbox::new(0, Arc::new(Count::default()));
        let place = server.admit(&mailbox, "first").unwrap();
        place.traffic.received(3);
        place.traffic.sent(4);
        assert!(server.admit(&mailbox, "second").is_none());
        assert_eq!(server.wait_until_empty(Duration::ZERO), 1);
        drop(place);
        assert_eq!(server.wait_until_empty(Duration::ZERO), 0);
        let place = server.admit(&mailbox, "third").unwrap();
        place.traffic.sent(5);
        let crowd = Crowd {
            connected: 1,
            admitted: 2,
            refused: 1,
            received_bytes: 3,
            sent_bytes: 9,
            waiting_bytes: 0,
        };
        assert_eq!(server.crowd(), crowd);
    }

    #[test]
    fn a_stopping_server_wakes_everybody_and_admits_nobody() {
        let server = server(9);
        let wake = Arc::new(Count::default());
        let mailbox = Mailbox::new(0, wake.clone());
        let _place = server.admit(&mailbox, "first");
        server.enter(Phase::Stopping);
        assert_eq!(wake.0.load(Ordering::Relaxed), 1);
        assert!(server.admit(&mailbox, "second").is_none());
        assert_eq!(server.after_failed_accept(&io::ErrorKind::InvalidInput.into()), None);
    }

    #[test]
    fn acceptors_pause_only_when_the_system_is_short_of_something() {
        let server = server(9);
        let aborted = io::ErrorKind::ConnectionAborted.into();
        assert_eq!(server.after_failed_accept(&aborted), Some(Duration::ZERO));
        let descriptors = io::Error::from_raw_os_error(24);
        assert_eq!(server.after_failed_accept(&descriptors), Some(ACCEPT_PAUSE));
    }

    #[test]
    fn one_line_speaks_for_many() {
        let mut warned = Warned::default();
        assert_eq!(warned.now(), Some(0));
        assert_eq!(warned.now(), None);
        assert_eq!(warned.now(), None);
        warned.at = Instant::now().checked_sub(WARN_INTERVAL);
        assert_eq!(warned.now(), Some(2));
    }
}
