//! The end of a link that receives: it follows a primary.

mod api;
mod order;
mod received;

use std::collections::VecDeque;
use std::time::Duration;

use protocol::Tid;

use crate::backoff::Backoff;
use crate::epoch::{Epoch, EpochStart, History};
use crate::item::Position;
use crate::message::{Ack, Head, Hello, Reason, Refusal, ToPrimary, ToSecondary, VERSION, Welcome};
use crate::pulse::Pulse;
use crate::role::Standing;
pub use api::{Action, Ended, Event, Lag, NotApplied, Purpose, Settings, Stopped};
use received::{Received, Work};

/// The machine that makes a storage follow another one, through any number of connections.
///
/// Its owner gives it [`Event`]s by [`Self::handle`] and then carries out what [`Self::poll`] returns, one
/// action after the other and each before the next, until that is `None`; again when something happens,
/// and at [`Self::deadline`]. It reads from the connection only while [`Self::wants_input`].
#[derive(Debug)]
pub struct Follower {
    settings: Settings,
    history: History,
    highest: Option<Epoch>,
    /// The primary's epoch.
    theirs: Option<Epoch>,
    position: Position,
    state: State,
    actions: VecDeque<Action>,
    received: Received,
    pulse: Pulse,
    backoff: Backoff,
    head: Option<Head>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Waits { until: Duration },
    Connects,
    AwaitsWelcome,
    Follows,
    Closes { retries: bool },
    Stopped,
}

impl Follower {
    /// Of a storage that is `standing` and whose last synced transaction is `position`. It connects at once.
    pub fn new(settings: Settings, standing: &Standing, position: Position, now: Duration) -> Self {
        Self {
            history: standing.history().clone(),
            highest: standing.highest(),
            theirs: None,
            position,
            state: State::Waits { until: now },
            actions: VecDeque::new(),
            received: Received::new(position.tid, settings.wants_blobs),
            pulse: Pulse::new(settings.alive_interval, now),
            settings,
            backoff: Backoff::default(),
            head: None,
        }
    }

    /// Takes notice of what happened.
    pub fn handle(&mut self, event: Event, now: Duration) {
        match event {
            Event::Connected => self.connected(now),
            Event::Disconnected { random } => self.disconnected(random, now),
            Event::Received => self.pulse.heard(now),
            Event::Message(message) => {
                self.pulse.heard(now);
                self.message(message);
            }
            Event::Malformed(text) => self.refuse(Reason::Malformed, text),
            Event::Applied(position) => {
                self.received.is_busy = false;
                self.position = position;
                self.backoff.reset();
                let ack = Ack { tid: position.tid, highest: self.highest };
                self.actions.push_back(Action::Send(ToPrimary::Ack(ack)));
            }
            Event::NotApplied(NotApplied::Diverged(text)) => {
                self.stop(Refusal::new(Reason::Diverged, text, self.highest));
            }
            Event::NotApplied(NotApplied::Failed(text)) | Event::Failed(text) => {
                self.refuse(Reason::CannotServe, text);
            }
            Event::Adopted => self.received.is_busy = false,
            Event::Heard(epoch) => {
                self.highest = self.highest.max(Some(epoch));
                if self.state == State::Follows && Some(epoch) > self.theirs {
                    self.refuse(Reason::Fenced, "this server has heard of a higher epoch");
                }
            }
            Event::Refuse(refusal) => {
                self.say(ToPrimary::Refusal(refusal));
                self.close(Ended::Stopped(Stopped::Told));
            }
        }
    }

    /// What to do next.
    pub fn poll(&mut self, now: Duration) -> Option<Action> {
        if self.actions.is_empty() {
            self.tick(now);
        }
        if self.actions.is_empty() && self.state == State::Follows {
            self.work();
        }
        let action = self.actions.pop_front();
        if matches!(action, Some(Action::Send(_))) {
            self.pulse.sent(now);
        }
        action
    }

    /// When [`Self::poll`] has something to do at the latest; `None`: when an event comes.
    pub fn deadline(&self) -> Option<Duration> {
        match self.state {
            State::Waits { until } => Some(until),
            State::Connects | State::AwaitsWelcome => Some(self.pulse.death()),
            State::Follows => Some(self.pulse.deadline()),
            State::Closes { .. } | State::Stopped => None,
        }
    }

    /// Whether there is room for more messages.
    pub fn wants_input(&self) -> bool {
        self.received.has_room()
    }

    /// Whether it follows right now.
    pub fn follows(&self) -> bool {
        self.state == State::Follows
    }

    /// How far it is behind; `None`: it has not been told how far the primary is.
    pub fn lag(&self) -> Option<Lag> {
        let head = self.head?;
        let (primary, secondary) = (head.position.tid, self.position.tid);
        let is_behind = secondary < primary;
        Some(Lag {
            primary,
            secondary,
            time: if is_behind {
                head.clock.saturating_sub(secondary.to_unix())
            } else {
                Duration::ZERO
            },
            bytes: if is_behind { head.backlog_bytes } else { 0 },
        })
    }

    fn tick(&mut self, now: Duration) {
        match self.state {
            State::Waits { until } if until <= now => {
                self.state = State::Connects;
                self.pulse = Pulse::new(self.settings.alive_interval, now);
                self.actions.push_back(Action::Connect);
            }
            State::Connects | State::AwaitsWelcome | State::Follows if self.pulse.is_dead(now) => {
                self.retry("nothing has come from the primary for too long");
            }
            State::Follows if self.pulse.is_silent(now) => {
                self.actions.push_back(Action::Send(ToPrimary::Alive));
            }
            _ => {}
        }
    }

    fn connected(&mut self, now: Duration) {
        if self.state != State::Connects {
            return;
        }
        self.pulse = Pulse::new(self.settings.alive_interval, now);
        self.state = State::AwaitsWelcome;
        self.say(ToPrimary::Hello(Hello {
            oldest_version: VERSION,
            newest_version: VERSION,
            storage: self.settings.storage.clone(),
            node: self.settings.node.clone(),
            history: self.history.clone(),
            position: self.position,
            highest: self.highest,
            wants_blobs: self.settings.wants_blobs,
            software: self.settings.software.clone(),
        }));
    }

    fn disconnected(&mut self, random: u64, now: Duration) {
        self.actions.clear();
        self.received = Received::new(self.position.tid, self.settings.wants_blobs);
        self.state = match self.state {
            State::Stopped | State::Closes { retries: false } => State::Stopped,
            _ => State::Waits { until: now.saturating_add(self.backoff.fail(random)) },
        };
    }

    fn message(&mut self, message: ToSecondary) {
        match (message, &self.state) {
            (_, State::Closes { .. } | State::Stopped) => {}
            (ToSecondary::Refusal(refusal), _) => self.refused(refusal),
            (ToSecondary::Welcome(welcome), State::AwaitsWelcome) => self.welcome(&welcome),
            (ToSecondary::Alive(head), State::Follows) => {
                self.backoff.reset();
                self.head = Some(head);
            }
            (message, State::Follows) => {
                if let Err(malformed) = self.received.push(message) {
                    self.refuse(Reason::Malformed, malformed.to_string());
                }
            }
            _ => self.refuse(Reason::Malformed, "a message out of order"),
        }
    }

    fn welcome(&mut self, welcome: &Welcome) {
        if self.settings.purpose == Purpose::Tell {
            return self.told(welcome.history.last(), "it knows no epoch as high");
        }
        if welcome.version != VERSION {
            return self.refuse(Reason::Version, "a version that was not offered");
        }
        if welcome.history.last() < self.highest {
            let text = "the primary's epoch is lower than one that this server has heard of";
            return self.refuse(Reason::Fenced, text);
        }
        let (ours, theirs) = (self.position.tid, welcome.position.tid);
        if ours > theirs {
            let text = format!(
                "this server has transactions up to {ours}, and the primary has some up to {theirs}"
            );
            return self.stop(Refusal::new(Reason::Diverged, text, self.highest));
        }
        self.theirs = welcome.history.last();
        self.hear(self.theirs);
        self.state = State::Follows;
        // What is there already is whole.
        let packed_to = if ours == Tid::ZERO { welcome.packed_to } else { Tid::ZERO };
        self.actions.push_back(Action::Receive { packed_to });
        let shared = self.history.shared(&welcome.history);
        if shared < self.history.starts().len() {
            // No transaction here is of these epochs, and what comes now is not, either.
            self.history.truncate(shared);
            self.adopt(None);
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        self.hear(refusal.highest);
        if self.settings.purpose == Purpose::Tell {
            return self.told(refusal.highest, &refusal.text);
        }
        match refusal.reason {
            Reason::Diverged | Reason::Packed => {
                self.close(Ended::Stopped(Stopped::Refused(refusal)));
            }
            _ => self.retry(&refusal.text),
        }
    }

    /// The other server, which was to be told, knows of `theirs`.
    fn told(&mut self, theirs: Option<Epoch>, text: &str) {
        let knows = theirs >= self.highest;
        self.hear(theirs);
        if knows {
            self.close(Ended::Stopped(Stopped::Knows));
        } else {
            self.retry(text);
        }
    }

    /// Does what was received, as far as that can be done now.
    fn work(&mut self) {
        let action = match self.received.next() {
            None => return,
            Some(Work::Do(action)) => action,
            Some(Work::EpochStarts(start)) => {
                let last = self.position;
                let is_here = start.base.tid < last.tid
                    || start.base.tid == last.tid && last.agrees(start.base.digest);
                if !is_here {
                    let text = format!(
                        "epoch {} begins after {}, and this server ends at {}, with another digest \
                         or tid",
                        start.epoch, start.base.tid, last.tid
                    );
                    return self.stop(Refusal::new(Reason::Diverged, text, self.highest));
                }
                if let Err(unordered) = self.history.push(start) {
                    return self.refuse(Reason::Malformed, unordered.to_string());
                }
                self.theirs = self.theirs.max(Some(start.epoch));
                self.highest = self.highest.max(self.theirs);
                return self.adopt(Some(start));
            }
        };
        self.actions.push_back(action);
    }

    /// Has the storage take the epochs that are known here.
    fn adopt(&mut self, start: Option<EpochStart>) {
        self.received.is_busy = true;
        self.actions.push_back(Action::Adopt { history: self.history.clone(), start });
    }

    fn hear(&mut self, epoch: Option<Epoch>) {
        if let Some(epoch) = epoch.filter(|_| epoch > self.highest) {
            self.highest = Some(epoch);
            self.actions.push_back(Action::Heard(epoch));
        }
    }

    /// Sends, if there is a connection.
    fn say(&mut self, message: ToPrimary) {
        if matches!(self.state, State::AwaitsWelcome | State::Follows) {
            self.actions.push_back(Action::Send(message));
        }
    }

    fn refuse(&mut self, reason: Reason, text: impl Into<String>) {
        let refusal = Refusal::new(reason, text, self.highest);
        let text = refusal.text.clone();
        self.say(ToPrimary::Refusal(refusal));
        self.retry(&text);
    }

    fn retry(&mut self, text: &str) {
        self.close(Ended::Retries(text.to_owned()));
    }

    /// Refuses, and gives up.
    fn stop(&mut self, refusal: Refusal) {
        self.say(ToPrimary::Refusal(refusal.clone()));
        self.close(Ended::Stopped(Stopped::Refused(refusal)));
    }

    fn close(&mut self, ended: Ended) {
        let retries = matches!(ended, Ended::Retries(_));
        match self.state {
            State::Connects | State::AwaitsWelcome | State::Follows => {
                self.state = State::Closes { retries };
                self.actions.push_back(Action::Close(ended));
            }
            State::Closes { .. } if !retries => self.state = State::Closes { retries },
            State::Waits { .. } if !retries => self.state = State::Stopped,
            _ => {}
        }
    }
}
