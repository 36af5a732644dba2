//! How a connection begins: handshake, registration, and what was missed since the last one.

use std::io::{self, Read, Write};

use bytes::BytesMut;
use codecs::Endpoint;
use protocol::{Incoming, Oid, Push, Reply, Request, Tid};

use crate::error::ConnectError;
use crate::options::{Notice, Options};
use crate::shared::Shared;
use crate::stream::Stream;
use crate::wire::{Wire, wire};

/// What a client registers with.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) endpoint: Endpoint,
    pub(crate) storage: String,
    pub(crate) read_only: bool,
}

/// An open connection that is registered, and whose past the cache knows.
pub(crate) struct Connected {
    pub(crate) wire: Box<dyn Wire>,
    pub(crate) stream: Stream,
    /// Was received, but is not handled yet.
    pub(crate) input: BytesMut,
    /// What the cache has learnt, and the listener should.
    pub(crate) notices: Vec<Notice>,
}

/// Opens a connection. There must be no other one meanwhile: the cache is verified here.
pub(crate) fn connect(
    registration: &Registration,
    shared: &Shared,
) -> Result<Connected, ConnectError> {
    let options = &shared.options;
    let mut dialogue = Dialogue::open(&registration.endpoint, options)?;
    let registered = dialogue.register(registration)?;
    let mut notices = Vec::new();
    // A statement of its own: the lock must not be held while the server is asked.
    let missed_since = shared.state().cache.handle_registered(registered)?;
    if let Some(since) = missed_since {
        let missed = dialogue.missed(since)?;
        let known = missed.as_ref().map(|(newest, oids)| (*newest, &oids[..]));
        let mut state = shared.state();
        let verified = state.cache.handle_missed(registered, known);
        let newest = state.cache.last_tid();
        notices.push(match missed {
            Some((_, oids)) if verified => Notice::Missed { newest, oids },
            _ => Notice::MissedTooMuch { newest },
        });
    }
    if let Some(label) = &options.label {
        dialogue.send(&Request::Label(label.clone()))?;
        dialogue.transmit()?;
    }
    let mut state = shared.state();
    for push in dialogue.pushes {
        // What the registration or the answer has told already is told again.
        let known = state.cache.last_tid();
        if !matches!(push, Push::Invalidate { tid, .. } if tid <= known) {
            notices.extend(state.handle_push(push)?);
        }
    }
    dialogue.stream.set_read_timeout(None)?;
    dialogue.stream.set_write_timeout(options.write_timeout)?;
    let Dialogue { wire, stream, input, .. } = dialogue;
    Ok(Connected { wire, stream, input, notices })
}

/// Calls one after the other, on a connection that nobody else uses yet.
struct Dialogue {
    wire: Box<dyn Wire>,
    stream: Stream,
    input: BytesMut,
    written: Vec<u8>,
    pushes: Vec<Push>,
}

impl Dialogue {
    fn open(endpoint: &Endpoint, options: &Options) -> Result<Self, ConnectError> {
        let mut stream =
            Stream::connect(&endpoint.address, options.connect_timeout).map_err(timed_out)?;
        stream.set_read_timeout(options.connect_timeout)?;
        stream.set_write_timeout(options.connect_timeout)?;
        if let Some(tls) = &options.tls {
            stream = stream.secured(tls).map_err(timed_out)?;
        }
        let wire = wire(endpoint.dialect, options.limits);
        let (input, written, pushes) = Default::default();
        Ok(Self { wire, stream, input, written, pushes })
    }

    /// Gives the server's last tid.
    fn register(&mut self, registration: &Registration) -> Result<Tid, ConnectError> {
        let storage = registration.storage.clone();
        let read_only = registration.read_only;
        match self.ask(&Request::Register { storage, read_only })? {
            Reply::Tid(tid) => Ok(tid),
            // ZEO's way to say: ask for it.
            Reply::Done => match self.ask(&Request::LastTransaction)? {
                Reply::Tid(tid) => Ok(tid),
                _ => Err(ConnectError::WrongReply { asked: "last transaction" }),
            },
            _ => Err(ConnectError::WrongReply { asked: "register" }),
        }
    }

    fn missed(&mut self, since: Tid) -> Result<Option<(Tid, Vec<Oid>)>, ConnectError> {
        match self.ask(&Request::Invalidations { since })? {
            Reply::Invalidations(missed) => Ok(missed),
            _ => Err(ConnectError::WrongReply { asked: "invalidations" }),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, ConnectError> {
        self.send(request)?;
        loop {
            let incoming = self.wire.handle_input(&mut self.input)?;
            // What was received may have been the greeting, which lets the output go.
            self.transmit()?;
            match incoming {
                Some(Incoming::Reply { reply: Reply::Failed(failure), .. }) => {
                    return Err(ConnectError::Refused(failure));
                }
                Some(Incoming::Reply { reply, .. }) => return Ok(reply),
                Some(Incoming::Push(push)) => self.pushes.push(push),
                None => self.receive()?,
            }
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), ConnectError> {
        self.wire.handle_request(request)?;
        Ok(())
    }

    fn transmit(&mut self) -> Result<(), ConnectError> {
        if self.wire.poll_transmit(&mut self.written) {
            self.stream.write_all(&self.written).map_err(timed_out)?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), ConnectError> {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).map_err(timed_out)?;
        if count == 0 {
            return Err(ConnectError::Closed);
        }
        self.input.extend_from_slice(buffer.get(..count).unwrap_or_default());
        Ok(())
    }
}

fn timed_out(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ConnectError::TimedOut,
        _ => ConnectError::Io(error),
    }
}
