//! What a node does for its secondaries.

use bytes::BytesMut;
use protocol::Tid;
use replication::primary::{self, Found, Now};
use replication::{Link, Reason, Refusal, frame};

use super::{ALIVE_INTERVAL, Around, FRAME_BYTES_MAX, Heard, Node, hears, send};
use crate::network::{ConnId, End};
use crate::store::Reader;

/// A secondary's link.
pub(super) struct Serving {
    machine: Link,
    input: BytesMut,
    reader: Reader,
}

impl Node {
    pub(super) fn accept(&mut self, around: &mut Around<'_>) {
        for conn in around.net.accept(self.id) {
            let settings = primary::Settings {
                node: format!("node {}", self.id),
                software: "simulation".to_owned(),
                alive_interval: ALIVE_INTERVAL,
            };
            let machine = Link::new(settings, self.now(around));
            let reader = Reader { after: Tid::ZERO, parts: 0 };
            self.links.insert(conn, Serving { machine, input: BytesMut::new(), reader });
        }
    }

    pub(super) fn run_link(&mut self, conn: ConnId, around: &mut Around<'_>) {
        let Some(mut serving) = self.links.remove(&conn) else { return };
        let mut is_open = true;
        loop {
            while is_open
                && let Some(action) =
                    serving.machine.poll(around.net.unsent(conn, End::Server), self.now(around))
            {
                is_open = self.link_action(conn, action, &mut serving, around);
            }
            if !is_open {
                break;
            }
            match hears(around, conn, End::Server, &mut serving.input) {
                Heard::Nothing => break,
                Heard::End => {
                    is_open = false;
                    continue;
                }
                Heard::Bytes => {}
            }
            let event = match frame::read(&mut serving.input, FRAME_BYTES_MAX) {
                Ok(Some(message)) => primary::Event::Message(message),
                Ok(None) => primary::Event::Received,
                Err(error) => primary::Event::Malformed(error.to_string()),
            };
            serving.machine.handle(event, self.now(around));
        }
        if is_open {
            self.links.insert(conn, serving);
        } else {
            around.net.close(conn);
            self.gate.leave(conn);
        }
    }

    /// Says whether the link goes on.
    fn link_action(
        &mut self,
        conn: ConnId,
        action: primary::Action,
        serving: &mut Serving,
        around: &mut Around<'_>,
    ) -> bool {
        use primary::{Action, Event};
        let event = match action {
            Action::Find { tid, .. } => Event::Found(Found {
                standing: self.standing.clone(),
                position: self.store.position(),
                packed_to: Tid::ZERO,
                digest: self.store.digest_at(tid),
            }),
            Action::Feed { after } => {
                serving.reader = Reader { after, parts: 0 };
                return true;
            }
            Action::Next => Event::Fed(self.store.feed(&mut serving.reader)),
            Action::ReadBlob { oid, tid, offset } => {
                Event::BlobRead(self.store.blob(oid, tid, offset, 10))
            }
            Action::Send(message) => {
                send(around, conn, End::Server, &message);
                return true;
            }
            Action::Heard(epoch) => {
                self.hear(epoch, around);
                return true;
            }
            Action::Joined { node, tid } => {
                self.gate.join(conn, &node, tid, around.now);
                return true;
            }
            Action::Acked(tid) => {
                self.gate.ack(conn, tid, around.now);
                return true;
            }
            Action::End(_) => return false,
        };
        serving.machine.handle(event, self.now(around));
        true
    }

    pub(super) fn tell_links(&mut self, around: &Around<'_>, event: impl Fn() -> primary::Event) {
        let now = Now { monotonic: around.now, unix: around.now + self.clock };
        self.links.values_mut().for_each(|serving| serving.machine.handle(event(), now));
    }

    pub(super) fn refuse_links(&mut self, around: &Around<'_>, text: &str) {
        let refusal = Refusal::new(Reason::Fenced, text, self.standing.highest());
        self.tell_links(around, || primary::Event::Refuse(refusal.clone()));
    }
}
