//! The end of a link that sends: a primary's, or that of a secondary which serves further ones.

mod api;
mod stream;

use std::collections::VecDeque;
use std::time::Duration;

use crate::epoch::{Epoch, Held, Relation, relate};
use crate::limits::UNSENT_BYTES_MAX;
use crate::message::{Ack, Head, Hello, Reason, Refusal, ToPrimary, ToSecondary, VERSION, Welcome};
use crate::pulse::Pulse;
use crate::role::Role;
pub use api::{Action, Event, Fed, Found, Now, Settings};
use stream::Stream;

/// The machine of one connection.
///
/// Its owner gives it [`Event`]s by [`Self::handle`] and then carries out what [`Self::poll`] returns, one
/// action after the other and each before the next, until that is `None`; again when something happens,
/// and at [`Self::deadline`]. It reads from the log only while the connection has room, and
/// holds one batch at most.
#[derive(Debug)]
pub struct Link {
    settings: Settings,
    state: State,
    actions: VecDeque<Action>,
    pulse: Pulse,
    /// The highest epoch that this storage knows, once it is known which one that is.
    highest: Option<Epoch>,
}

#[derive(Debug)]
enum State {
    AwaitsHello,
    Finds(Hello),
    Streams(Stream),
    Ended,
}

impl Link {
    /// Of a connection that was just accepted.
    pub fn new(settings: Settings, now: Now) -> Self {
        let pulse = Pulse::new(settings.alive_interval, now.monotonic);
        let actions = VecDeque::new();
        Self { settings, state: State::AwaitsHello, actions, pulse, highest: None }
    }

    /// Takes notice of what happened.
    pub fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Received => self.pulse.heard(now.monotonic),
            Event::Message(message) => {
                self.pulse.heard(now.monotonic);
                self.message(message);
            }
            Event::Malformed(text) => self.refuse(Reason::Malformed, text),
            Event::Found(found) => self.found(found),
            Event::NotFound(refusal) | Event::Refuse(refusal) => self.end_with(refusal),
            Event::Fed(fed) => self.stream(|stream, actions| stream.fed(fed, actions)),
            Event::BlobRead(part) => self.stream(|stream, actions| {
                stream.blob_read(part, actions);
                Ok(())
            }),
            Event::BlobGone => self.stream(|stream, actions| stream.blob_gone(actions)),
            Event::BlobFailed(text) => self.refuse(Reason::CannotServe, text),
            Event::Appended(head) => self.stream(|stream, _| {
                stream.appended(head);
                Ok(())
            }),
            Event::EpochStarts(start) => {
                self.highest = self.highest.max(Some(start.epoch));
                self.stream(|stream, _| {
                    stream.epoch_starts(start);
                    Ok(())
                });
            }
        }
    }

    /// What to do next; `unsent_bytes` are those of earlier messages that the connection has not taken.
    pub fn poll(&mut self, unsent_bytes: usize, now: Now) -> Option<Action> {
        if self.actions.is_empty() {
            self.tick(now);
        }
        if self.actions.is_empty()
            && unsent_bytes < UNSENT_BYTES_MAX
            && let State::Streams(stream) = &mut self.state
        {
            self.actions.extend(stream.wants());
        }
        let action = self.actions.pop_front();
        if matches!(action, Some(Action::Send(_))) {
            self.pulse.sent(now.monotonic);
        }
        action
    }

    /// When [`Self::poll`] has something to do at the latest, on the monotonic clock.
    pub fn deadline(&self) -> Duration {
        match self.state {
            State::Streams(_) => self.pulse.deadline(),
            _ => self.pulse.death(),
        }
    }

    fn tick(&mut self, now: Now) {
        if matches!(self.state, State::Ended) {
            return;
        }
        if self.pulse.is_dead(now.monotonic) {
            self.end("nothing has come from the secondary for too long".to_owned());
        } else if let State::Streams(stream) = &self.state
            && self.pulse.is_silent(now.monotonic)
        {
            let micros = u64::try_from(now.unix.as_micros()).unwrap_or(u64::MAX);
            let head = Head { clock: Duration::from_micros(micros), ..stream.head() };
            self.actions.push_back(Action::Send(ToSecondary::Alive(head)));
        }
    }

    fn message(&mut self, message: ToPrimary) {
        match (message, &self.state) {
            (ToPrimary::Hello(hello), State::AwaitsHello) => self.hello(hello),
            (ToPrimary::Ack(ack), State::Streams(_)) => self.ack(ack),
            (ToPrimary::Alive, State::Streams(_)) | (_, State::Ended) => {}
            (ToPrimary::Refusal(refusal), state) => {
                if matches!(state, State::Streams(_)) {
                    self.hear(refusal.highest);
                }
                self.end(format!("the secondary has ended the link: {refusal}"));
            }
            _ => self.refuse(Reason::Malformed, "a message out of order"),
        }
    }

    fn hello(&mut self, hello: Hello) {
        if !(hello.oldest_version..=hello.newest_version).contains(&VERSION) {
            let Hello { oldest_version, newest_version, software, .. } = hello;
            self.refuse(
                Reason::Version,
                format!(
                    "{software} replicates by versions {oldest_version} to {newest_version}, \
                     {} by version {VERSION}",
                    self.settings.software
                ),
            );
            return;
        }
        let (storage, tid) = (hello.storage.clone(), hello.position.tid);
        self.actions.push_back(Action::Find { storage, tid });
        self.state = State::Finds(hello);
    }

    fn found(&mut self, found: Found) {
        let State::Finds(hello) = &self.state else { return };
        let hello = hello.clone();
        self.highest = found.standing.highest();
        if self.hear(hello.highest) {
            let text = "this server's epoch is lower than one that the other server has heard of";
            self.refuse(Reason::Fenced, text);
            return;
        }
        if let Err(refusal) = self.judge(&hello, &found) {
            self.end_with(refusal);
            return;
        }
        let tid = hello.position.tid;
        let welcome = Welcome {
            version: VERSION,
            history: found.standing.history().clone(),
            position: found.position,
            packed_to: found.packed_to,
            node: self.settings.node.clone(),
            software: self.settings.software.clone(),
        };
        self.actions.extend([
            Action::Send(ToSecondary::Welcome(welcome)),
            Action::Feed { after: tid },
            Action::Joined { node: hello.node.clone(), tid },
        ]);
        self.state = State::Streams(Stream::new(&hello, found.standing.history(), found.position));
    }

    /// Whether what the secondary has is the beginning of what is here.
    fn judge(&self, hello: &Hello, found: &Found) -> Result<(), Refusal> {
        let refuse = |reason, text: String, common| {
            Err(Refusal { common, ..Refusal::new(reason, text, self.highest) })
        };
        let role = found.standing.role();
        if let Role::Fenced { by } = role {
            let text = format!("this server was a primary, and was fenced by epoch {by}");
            return refuse(Reason::Fenced, text, None);
        }
        let ours = Held { history: found.standing.history(), position: found.position };
        let theirs = Held { history: &hello.history, position: hello.position };
        let (tid, last) = (theirs.position.tid, ours.position.tid);
        let behind = || {
            let text = format!("this server follows another one and has got up to {last} yet");
            refuse(Reason::Behind, text, None)
        };
        // Who has got into an epoch knows better what belongs to it than who has not yet.
        if role == Role::Secondary && theirs.history.last() > ours.history.last() {
            return behind();
        }
        let common = match relate(ours, theirs, found.digest) {
            Relation::Prefix => return Ok(()),
            Relation::Ahead if role == Role::Secondary => return behind(),
            Relation::Ahead => Some(ours.position),
            Relation::Diverged { .. } if found.digest.is_none() && tid <= found.packed_to => {
                let text = format!(
                    "nothing can be added to {tid}, since all up to {} was packed here: begin with \
                     an empty storage",
                    found.packed_to
                );
                return refuse(Reason::Packed, text, None);
            }
            Relation::Diverged { common } => common,
        };
        let known = common.map_or_else(
            || "it is not known which transactions both have".to_owned(),
            |common| format!("both have all up to {}", common.tid),
        );
        let text = format!(
            "the secondary has transactions up to {tid} that this server, which has some up to {last}, does \
             not have; {known}; `zeoxide rejoin` sets those of the secondary aside"
        );
        refuse(Reason::Diverged, text, common)
    }

    fn ack(&mut self, Ack { tid, highest }: Ack) {
        if self.hear(highest) {
            self.refuse(Reason::Fenced, "the secondary has heard of a higher epoch");
            return;
        }
        self.stream(|stream, actions| stream.ack(tid, actions));
    }

    /// Takes notice of an epoch, when the storage is found, and says whether it is above all that
    /// were known.
    fn hear(&mut self, epoch: Option<Epoch>) -> bool {
        let is_news = epoch > self.highest;
        if let Some(epoch) = epoch.filter(|_| is_news) {
            self.highest = Some(epoch);
            self.actions.push_back(Action::Heard(epoch));
        }
        is_news
    }

    fn stream(
        &mut self,
        work: impl FnOnce(&mut Stream, &mut VecDeque<Action>) -> Result<(), Refusal>,
    ) {
        if let State::Streams(stream) = &mut self.state
            && let Err(refusal) = work(stream, &mut self.actions)
        {
            self.end_with(Refusal { highest: self.highest, ..refusal });
        }
    }

    fn refuse(&mut self, reason: Reason, text: impl Into<String>) {
        self.end_with(Refusal::new(reason, text, self.highest));
    }

    fn end_with(&mut self, refusal: Refusal) {
        if !matches!(self.state, State::Ended) {
            let text = refusal.text.clone();
            self.actions.push_back(Action::Send(ToSecondary::Refusal(refusal)));
            self.end(text);
        }
    }

    fn end(&mut self, text: String) {
        if !matches!(self.state, State::Ended) {
            self.state = State::Ended;
            self.actions.push_back(Action::End(text));
        }
    }
}
