//! The session of a connection, once its codec is known.

use std::sync::Arc;

use bytes::BytesMut;
use codecs::{Dialect, WithCodec};
use protocol::{Codec, Limits};
use session::{Closed, Host, Session};
use storage::Mailbox;

/// [`Session`] without its codec. One dynamic call takes a whole buffer of requests, so it costs
/// nothing that could be measured.
pub(crate) trait Peer: Send {
    fn handle_input(&mut self, input: &mut BytesMut, output: &mut Vec<u8>) -> Result<(), Closed>;
    fn handle_mailbox(&mut self, output: &mut Vec<u8>) -> Result<(), Closed>;
    fn wants_input(&self, output: &[u8]) -> bool;
    fn wants_output(&self) -> bool;
    fn finishing(&self) -> bool;
    fn has_transaction(&self) -> bool;
    fn label(&self) -> &str;
}

impl<C: Codec> Peer for Session<C> {
    fn handle_input(&mut self, input: &mut BytesMut, output: &mut Vec<u8>) -> Result<(), Closed> {
        self.handle_input(input, output)
    }

    fn handle_mailbox(&mut self, output: &mut Vec<u8>) -> Result<(), Closed> {
        self.handle_mailbox(output)
    }

    fn wants_input(&self, output: &[u8]) -> bool {
        self.wants_input(output)
    }

    fn wants_output(&self) -> bool {
        self.wants_output()
    }

    fn finishing(&self) -> bool {
        self.finishing()
    }

    fn has_transaction(&self) -> bool {
        self.has_transaction()
    }

    fn label(&self) -> &str {
        self.label()
    }
}

/// A session that speaks `dialect`.
pub(crate) fn new(
    dialect: Dialect,
    host: Arc<Host>,
    mailbox: Arc<Mailbox>,
    limits: Limits,
    peer: String,
) -> Box<dyn Peer> {
    codecs::dispatch(dialect, New { host, mailbox, limits, peer })
}

struct New {
    host: Arc<Host>,
    mailbox: Arc<Mailbox>,
    limits: Limits,
    peer: String,
}

impl WithCodec for New {
    type Out = Box<dyn Peer>;

    fn call<C: Codec>(self) -> Box<dyn Peer> {
        Box::new(Session::<C>::new(self.host, self.mailbox, self.limits, self.peer))
    }
}
