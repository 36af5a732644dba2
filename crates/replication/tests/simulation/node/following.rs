//! What a node does as a secondary.

use std::time::Duration;

use bytes::BytesMut;
use rand::RngExt;
use replication::primary;
use replication::secondary::{self, NotApplied, Purpose, Stopped};
use replication::{Follower, Reason, Refusal, frame};

use super::{ALIVE_INTERVAL, Around, Crashed, FRAME_BYTES_MAX, Heard, Node, hears, send};
use crate::network::{ConnId, End, NodeId};

/// A follower and its connection.
pub(super) struct Following {
    pub(super) machine: Follower,
    pub(super) conn: Option<ConnId>,
    input: BytesMut,
    blob: Vec<u8>,
}

impl Node {
    pub(super) fn connect_to(&mut self, upstream: NodeId, purpose: Purpose, now: Duration) {
        let settings = secondary::Settings {
            purpose,
            storage: "1".to_owned(),
            node: format!("node {}", self.id),
            software: "simulation".to_owned(),
            wants_blobs: true,
            alive_interval: ALIVE_INTERVAL,
        };
        self.upstream = Some(upstream);
        self.refused = None;
        let machine = Follower::new(settings, &self.standing, self.store.position(), now);
        let input = BytesMut::new();
        self.following = Some(Following { machine, conn: None, input, blob: Vec::new() });
    }

    pub(super) fn end_following(&mut self, around: &mut Around<'_>) {
        let Some(mut following) = self.following.take() else { return };
        let refusal = Refusal::new(Reason::Other, "it goes elsewhere", self.standing.highest());
        following.machine.handle(secondary::Event::Refuse(refusal), around.now);
        while let Some(action) = following.machine.poll(around.now) {
            match (action, following.conn) {
                (secondary::Action::Send(message), Some(conn)) => {
                    send(around, conn, End::Client, &message);
                }
                (secondary::Action::Close(_), Some(conn)) => around.net.close(conn),
                _ => {}
            }
        }
    }

    pub(super) fn run_following(&mut self, around: &mut Around<'_>) -> Result<(), Crashed> {
        let Some(mut following) = self.following.take() else { return Ok(()) };
        let mut outcome = Ok(());
        loop {
            while outcome.is_ok()
                && let Some(action) = following.machine.poll(around.now)
            {
                outcome = self.follow_action(action, &mut following, around);
            }
            if outcome.is_err() || !following.hears(around) {
                break;
            }
        }
        self.following = Some(following);
        outcome
    }

    fn follow_action(
        &mut self,
        action: secondary::Action,
        following: &mut Following,
        around: &mut Around<'_>,
    ) -> Result<(), Crashed> {
        use secondary::{Action, Ended, Event};
        let Following { machine, conn, input, blob } = following;
        let now = around.now;
        match action {
            Action::Connect => {
                let upstream = self.upstream.expect("it has somebody to follow");
                if !around.is_up[upstream] {
                    machine.handle(Event::Disconnected { random: around.rng.random() }, now);
                } else if !around.net.is_cut(self.id, upstream) {
                    *conn = Some(around.net.connect(self.id, upstream));
                    machine.handle(Event::Connected, now);
                }
            }
            Action::Receive { .. } => self.store.receive(),
            Action::Send(message) => {
                send(around, conn.expect("it is connected"), End::Client, &message);
            }
            Action::Heard(epoch) => self.hear(epoch, around),
            Action::Take(items) => items.into_iter().for_each(|item| self.store.take(item)),
            Action::BlobStart(_) => blob.clear(),
            Action::BlobPart(part) => blob.extend_from_slice(&part),
            Action::BlobEnd => self.store.take_blob(std::mem::take(blob)),
            Action::Apply => {
                let event = if around.rng.random_bool(0.01) {
                    Event::NotApplied(NotApplied::Failed("the disk is full".to_owned()))
                } else {
                    match self.store.apply() {
                        Ok(()) if around.may_crash && around.rng.random_bool(0.01) => {
                            return Err(Crashed);
                        }
                        Ok(()) => {
                            self.store.sync();
                            Event::Applied(self.store.position())
                        }
                        Err(why) => Event::NotApplied(why),
                    }
                };
                machine.handle(event, now);
            }
            Action::Adopt { history, start } => {
                self.standing.adopt(history);
                self.store.save(&self.standing);
                match start {
                    Some(start) => {
                        self.tell_links(around, || primary::Event::EpochStarts(start));
                    }
                    None => self.refuse_links(around, "it has forgotten an epoch"),
                }
                machine.handle(Event::Adopted, now);
            }
            Action::Close(ended) => {
                if let Ended::Stopped(Stopped::Refused(refusal)) = ended {
                    self.refused = Some(refusal);
                }
                if let Some(conn) = conn.take() {
                    around.net.close(conn);
                }
                input.clear();
                machine.handle(Event::Disconnected { random: around.rng.random() }, now);
            }
        }
        Ok(())
    }
}

impl Following {
    /// Reads on, if there is something to be read.
    fn hears(&mut self, around: &mut Around<'_>) -> bool {
        use secondary::Event;
        let Some(conn) = self.conn.filter(|_| self.machine.wants_input()) else { return false };
        let event = match hears(around, conn, End::Client, &mut self.input) {
            Heard::Nothing => return false,
            Heard::End => {
                self.conn = None;
                self.input.clear();
                Event::Disconnected { random: around.rng.random() }
            }
            Heard::Bytes => match frame::read(&mut self.input, FRAME_BYTES_MAX) {
                Ok(Some(message)) => Event::Message(message),
                Ok(None) => Event::Received,
                Err(error) => Event::Malformed(error.to_string()),
            },
        };
        self.machine.handle(event, around.now);
        true
    }
}
