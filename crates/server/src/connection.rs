//! One connection, as a runtime drives it: bytes in, bytes out, and a look into the mailbox.

mod closed;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use codecs::Dialect;
use protocol::frame;
use storage::{Cut, Mailbox, Wake};
use tracing::{debug, error, info, warn};

pub use closed::Closed;

use crate::buffers::{self, Output};
use crate::listen::Welcome;
use crate::one_line::OneLine;
use crate::peer::{self, Peer};
use crate::shared::{Phase, Place, Server};
use crate::status;
use crate::tls::Layer;

/// A connection from its first byte to its last.
///
/// A runtime does three things with it, in any order it likes, until one of them returns
/// [`Closed`]: it writes [`Self::output`] and tells so by [`Self::consume`]; it reads into
/// [`Self::read_buffer`] while [`Self::wants_input`]; and it calls [`Self::handle`] after a read,
/// after a wake-up, and while [`Self::has_work`]. At the end it calls [`Self::close`].
///
/// A runtime that works by completions uses [`Self::lend_input`] and [`Self::lend_output`] in place
/// of these buffers.
pub struct Connection {
    // In this order, so that the session's end (its transaction is aborted) is over when the
    // server counts the connection as gone.
    stage: Stage,
    mailbox: Arc<Mailbox>,
    input: BytesMut,
    /// How much of `input` was there when [`Self::handle`] returned.
    kept: usize,
    input_is_lent: bool,
    output: Output,
    /// Between these two and the socket, if the connection is encrypted.
    tls: Option<Box<Layer>>,
    dialect: Dialect,
    name: String,
    /// Any byte came.
    heard: bool,
    /// No more requests are taken.
    deaf: bool,
    /// Everything has been said; the connection ends when it is written.
    leaving: bool,
    /// Why, if it is not by the server's own will.
    reason: Option<Closed>,
    /// The last call of [`Self::handle`] did nothing, because of the output.
    postponed: bool,
    place: Place,
}

enum Stage {
    /// The greeting is out, the answer is not there.
    Greeted,
    Serving(Box<dyn Peer>),
}

impl Connection {
    /// A connection that is met with `welcome`. `name` is the client's in log lines; `wake`
    /// has the runtime call [`Self::handle`].
    ///
    /// `None`: it cannot be served, because there are too many or the server stops.
    pub fn new(
        server: &Arc<Server>,
        welcome: &Welcome,
        name: String,
        wake: Arc<dyn Wake>,
    ) -> Option<Self> {
        let mailbox = Mailbox::new(server.outgoing_bytes_max, wake);
        let place = server.admit(&mailbox, &name)?;
        debug!(peer = name, "connected");
        let dialect = welcome.dialect;
        let layer = |config| Layer::new(config).inspect_err(|error| warn!("TLS: {error}"));
        let tls = welcome.tls.as_ref().map(layer).transpose().ok()?.map(Box::new);
        let mut connection = Self {
            stage: Stage::Greeted,
            mailbox,
            input: BytesMut::new(),
            kept: 0,
            input_is_lent: false,
            output: Output::default(),
            tls,
            dialect,
            name,
            heard: false,
            deaf: false,
            leaving: false,
            reason: None,
            postponed: false,
            place,
        };
        connection.say(&dialect.greeting());
        Some(connection)
    }

    /// Where events for this connection arrive.
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Where to append what is read; has spare capacity for it.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        if let Some(tls) = &mut self.tls {
            return tls.read_buffer(self.input.len());
        }
        buffers::prepare(&mut self.input);
        &mut self.input
    }

    /// Whether more should be read: not while much is unanswered or unwritten.
    pub fn wants_input(&self) -> bool {
        let handled = match &self.stage {
            Stage::Greeted => true,
            Stage::Serving(session) => session.wants_input(self.output.rest()),
        };
        handled && !self.deaf && !self.output_is_high()
    }

    /// [`Self::read_buffer`] by ownership, for a runtime that reads by completions: the system has
    /// it until then. `None` while nothing should be read, while whole messages wait to be handled,
    /// and until what was lent before has come back.
    pub fn lend_input(&mut self) -> Option<BytesMut> {
        if self.input_is_lent || !self.wants_input() || buffers::has_frame(&self.input) {
            return None;
        }
        self.input_is_lent = true;
        Some(mem::take(self.read_buffer()))
    }

    /// Takes back what [`Self::lend_input`] gave, with what was read appended.
    pub fn return_input(&mut self, input: BytesMut) {
        self.input_is_lent = false;
        match &mut self.tls {
            Some(tls) => tls.return_input(input),
            None => self.input = input,
        }
    }

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        self.tls.as_ref().map_or(&self.output, |tls| tls.output()).rest()
    }

    /// The first `count` bytes of [`Self::output`] were written.
    pub fn consume(&mut self, count: usize) -> Result<(), Closed> {
        self.place.traffic.sent(count);
        self.wire_output().consume(count);
        self.check_leaving()
    }

    /// [`Self::output`] by ownership, for a runtime that writes by completions: the system has it
    /// until then. `None` if there is nothing, and until what was lent before has come back.
    pub fn lend_output(&mut self) -> Option<Vec<u8>> {
        self.wire_output().lend()
    }

    /// Takes back what [`Self::lend_output`] gave, all of which was written.
    pub fn return_output(&mut self, output: Vec<u8>) -> Result<(), Closed> {
        self.place.traffic.sent(output.len());
        self.wire_output().take_back(output);
        self.check_leaving()
    }

    /// Whether [`Self::handle`] left something alone because of the output, of which enough is
    /// written now: requests, a blob, or the mailbox, of which nobody will be told again.
    pub fn has_work(&self) -> bool {
        if self.leaving {
            return false;
        }
        let is_written = || self.output.rest().is_empty() && self.output().is_empty();
        let has_requests = || is_written() && self.wants_input();
        let has_blob = || matches!(&self.stage, Stage::Serving(session) if session.wants_output());
        !self.output_is_high() && (self.postponed || has_blob())
            || has_requests() && buffers::has_frame(&self.input)
    }

    /// Handles what was read and what is in the mailbox.
    pub fn handle(&mut self) -> Result<(), Closed> {
        let received = match &self.tls {
            Some(tls) => tls.unopened(),
            None if self.input_is_lent => 0,
            None => self.input.len().saturating_sub(self.kept),
        };
        self.heard |= received > 0;
        self.place.traffic.received(received);
        if let Some(tls) = &mut self.tls
            && let Err(error) = tls.open(&mut self.input)
        {
            self.take_leave(Closed::Tls(error))?;
        }
        let gone_on = self.go_on();
        if !self.input_is_lent {
            self.kept = self.input.len();
        }
        gone_on
    }

    fn go_on(&mut self) -> Result<(), Closed> {
        match self.place.server.phase() {
            Phase::Stopped => return Err(Closed::Stopped),
            _ if self.reason.is_some() => return self.handle_leave(),
            Phase::Stopping => return self.handle_stop(),
            Phase::Serving => (),
        }
        self.postponed = self.output_is_high();
        if self.postponed {
            // What is pushed to a client that does not read has to stay in the mailbox: that is
            // where it is counted.
            return self.check_patience();
        }
        if let Stage::Greeted = self.stage {
            self.handle_answer()?;
        }
        if let Stage::Serving(session) = &mut self.stage {
            let output = self.output.tail();
            // What was published before these requests were read leaves before their replies.
            session.handle_mailbox(output)?;
            let read = self.input.len();
            session.handle_input(&mut self.input, output)?;
            buffers::release(&mut self.input, read);
            session.handle_mailbox(output)?;
        }
        if let Some(tls) = &mut self.tls {
            tls.release(self.input.len());
            if tls.peer_has_closed() {
                self.take_leave(Closed::ByClient)?;
            }
        }
        self.check_leaving()
    }

    /// Ends the connection, and says so in the log.
    pub fn close(self, why: &Closed) {
        let (peer, in_transaction) = match &self.stage {
            Stage::Serving(session) => (session.label(), session.has_transaction()),
            Stage::Greeted => (self.name.as_str(), false),
        };
        if let Some(timeout @ Cut::TimedOut { .. }) = self.mailbox.why_cut() {
            // What operators of ZEO look for, in its words.
            error!(target: "ZEO.StorageServer", critical = true, peer, "{timeout}");
            return;
        }
        // A runtime may have hung up to end a blocked write: then this is the reason.
        let own = self.check_patience().err();
        let why = match own {
            Some(ref own) if matches!(why, Closed::ByClient | Closed::Io(_)) => own,
            _ => why,
        };
        let said = OneLine(why);
        match why {
            // Health checks connect and go, all day long, also just when the server stops.
            Closed::ByClient | Closed::Io(_) | Closed::Stopped if !self.heard => {
                debug!(peer, "closed: {said}");
            }
            Closed::ByClient | Closed::Io(_) if !self.input.is_empty() => {
                info!(peer, "disconnected in the middle of a message: {said}");
            }
            Closed::ByClient if in_transaction => info!(peer, "disconnected during a transaction"),
            Closed::ByClient => info!(peer, "disconnected"),
            Closed::Io(_) | Closed::Stopped => info!(peer, "disconnected: {said}"),
            Closed::Finished | Closed::Unanswered => debug!(peer, "closed: {said}"),
            Closed::Tls(_) => match self.place.server.tells_of_tls() {
                Some(suppressed) => info!(peer, suppressed, "closed: {said}"),
                None => debug!(peer, "closed: {said}"),
            },
            Closed::Answer(_) | Closed::AnswerTooLong(_) | Closed::Cut(_) | Closed::Session(_) => {
                warn!(peer, "closed: {said}")
            }
        }
    }

    fn handle_answer(&mut self) -> Result<(), Closed> {
        let answer = frame::split(&mut self.input, ANSWER_BYTES_MAX);
        let traffic = &self.place.traffic;
        let Some(answer) = answer.map_err(Closed::AnswerTooLong)? else {
            let is_late = traffic.is_late.load(Ordering::Relaxed);
            return if is_late { Err(Closed::Unanswered) } else { Ok(()) };
        };
        traffic.answered.store(true, Ordering::Relaxed);
        if &answer[..] == b"ruok" {
            let status = status::json(&self.place.server.host);
            self.say(status.as_bytes());
            (self.deaf, self.leaving) = (true, true);
            return Ok(());
        }
        let Some(dialect) = self.dialect.chosen_by(&answer) else {
            return Err(Closed::Answer(answer));
        };
        let server = &self.place.server;
        let mailbox = Arc::clone(&self.mailbox);
        let host = Arc::clone(&server.host);
        let session = peer::new(dialect, host, mailbox, server.limits, self.name.clone());
        self.stage = Stage::Serving(session);
        Ok(())
    }

    /// A stopping server takes no more requests, but a client that has asked for a finish is
    /// told how it ended.
    fn handle_stop(&mut self) -> Result<(), Closed> {
        (self.deaf, self.postponed) = (true, false);
        if let Stage::Serving(session) = &mut self.stage {
            session.handle_mailbox(self.output.tail())?;
            if session.finishing() {
                return self.check_leaving();
            }
        }
        self.leaving = true;
        self.check_leaving()
    }

    /// Lets TLS say that the connection ends, and why, before it does: if that is the next thing
    /// to be written. A client that does not read is not waited for.
    fn take_leave(&mut self, why: Closed) -> Result<(), Closed> {
        if self.tls.as_ref().is_none_or(|tls| tls.output().unwritten() > 0) {
            return Err(why);
        }
        self.output.consume(self.output.rest().len());
        (self.deaf, self.leaving) = (true, true);
        self.reason.get_or_insert(why);
        Ok(())
    }

    /// The peer may not want to hear [`Self::take_leave`], but cannot stay for that.
    fn handle_leave(&mut self) -> Result<(), Closed> {
        self.check_patience()?;
        if self.place.traffic.is_late.load(Ordering::Relaxed) {
            return Err(Closed::Unanswered);
        }
        self.check_leaving()
    }

    /// What the socket gets.
    fn wire_output(&mut self) -> &mut Output {
        self.tls.as_mut().map_or(&mut self.output, |tls| tls.output_mut())
    }

    /// How much the socket has not taken. In bytes.
    fn unwritten(&self) -> usize {
        let sealed = self.tls.as_ref().map_or(0, |tls| tls.output().unwritten());
        self.output.unwritten() + sealed
    }

    fn output_is_high(&self) -> bool {
        self.unwritten() >= session::HIGH_WATER_BYTES
    }

    fn check_patience(&self) -> Result<(), Closed> {
        let server = &self.place.server;
        if let Some(why) = self.mailbox.why_cut() {
            return Err(why.into());
        }
        if server.is_stopped() { Err(Closed::Stopped) } else { Ok(()) }
    }

    /// What is called last after everything that makes or takes output.
    fn check_leaving(&mut self) -> Result<(), Closed> {
        if let Some(tls) = &mut self.tls {
            tls.seal(&mut self.output, self.leaving);
        }
        if !self.leaving || self.unwritten() > 0 {
            return Ok(());
        }
        if let Some(why) = self.reason.take() {
            return Err(why);
        }
        match self.place.server.phase() {
            Phase::Serving => Err(Closed::Finished),
            Phase::Stopping | Phase::Stopped => Err(Closed::Stopped),
        }
    }

    /// Queues one message of the handshake, which is short.
    fn say(&mut self, message: &[u8]) {
        let _whole = frame::write(self.output.tail(), |out| out.extend_from_slice(message));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("name", &self.name).finish_non_exhaustive()
    }
}

/// No client's answer to the greeting is longer: a promise of the protobuf protocol, where clients
/// name their software in it.
const ANSWER_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests;
