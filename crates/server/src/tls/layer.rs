//! TLS of one connection, between the bytes of its socket and those of its session.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;

use bytes::BytesMut;
use rustls::{Error, ServerConfig, ServerConnection};

use crate::buffers::{self, Output};

/// What the socket reads and writes, while the session works on plain bytes.
///
/// Memory stays bounded whatever the peer does: what comes in is opened at once, so that it counts
/// where plain input counts; and what goes out is sealed only while little sealed output waits, so
/// that it counts where plain output counts.
pub(crate) struct Layer {
    tls: ServerConnection,
    /// Sealed; what a runtime has read. Empty after [`Self::open`].
    input: BytesMut,
    /// Sealed; what a runtime writes.
    output: Output,
    peer_has_closed: bool,
    /// The peer was told that nothing more comes.
    closed: bool,
}

impl Layer {
    pub(crate) fn new(config: &Arc<ServerConfig>) -> Result<Self, Error> {
        let tls = ServerConnection::new(Arc::clone(config))?;
        let (input, output) = Default::default();
        Ok(Self { tls, input, output, peer_has_closed: false, closed: false })
    }

    /// Where to append what is read. `unhandled`: how long the session's input is, with which
    /// reads grow.
    pub(crate) fn read_buffer(&mut self, unhandled: usize) -> &mut BytesMut {
        buffers::prepare_for(&mut self.input, unhandled);
        &mut self.input
    }

    /// Puts back what was taken out of [`Self::read_buffer`].
    pub(crate) fn return_input(&mut self, input: BytesMut) {
        self.input = input;
    }

    /// How much was read and is not opened. In bytes.
    pub(crate) fn unopened(&self) -> usize {
        self.input.len()
    }

    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    pub(crate) fn output_mut(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Whether the peer has said that nothing more comes.
    pub(crate) fn peer_has_closed(&self) -> bool {
        self.peer_has_closed
    }

    /// Appends to `plain` what was read.
    ///
    /// After an error, [`Self::seal`] tells the peer about it.
    pub(crate) fn open(&mut self, plain: &mut BytesMut) -> Result<(), Error> {
        let mut sealed = &self.input[..];
        let mut result = Ok(true);
        while result.is_ok() && !sealed.is_empty() && !self.peer_has_closed {
            result = open_some(&mut self.tls, &mut sealed, plain);
            self.peer_has_closed = result.as_ref().is_ok_and(|more| !more);
        }
        // Behind the peer's end, or behind what is wrong, there is nothing of use.
        self.input.clear();
        result.map(drop)
    }

    /// Gives memory back that a long message needed. `unhandled` as for [`Self::read_buffer`].
    pub(crate) fn release(&mut self, unhandled: usize) {
        buffers::release_for(&mut self.input, unhandled);
    }

    /// Moves output from `plain` to where it is written, as much as is good at a time. Nothing
    /// before the handshake is over. `last`: behind all of it the peer is told that no more comes.
    pub(crate) fn seal(&mut self, plain: &mut Output, last: bool) {
        if last && self.tls.is_handshaking() {
            plain.consume(plain.rest().len());
        }
        self.transmit();
        while !self.tls.is_handshaking() && !plain.rest().is_empty() {
            let room = SEALED_BYTES.saturating_sub(self.output.unwritten());
            if room == 0 {
                break;
            }
            let all = plain.rest();
            let some = all.get(..room).unwrap_or(all);
            let sealed = self.tls.writer().write(some);
            plain.consume(sealed.expect("its buffer is in memory, and empty before each call"));
            self.transmit();
        }
        if last && plain.rest().is_empty() && !self.closed {
            self.closed = true;
            self.tls.send_close_notify();
            self.transmit();
        }
    }

    fn transmit(&mut self) {
        while self.tls.wants_write() {
            let written = self.tls.write_tls(self.output.tail());
            written.expect("memory takes everything");
        }
    }
}

/// Opens a part of `sealed`, and takes it off. `false`: nothing more comes.
fn open_some(
    tls: &mut ServerConnection,
    sealed: &mut &[u8],
    plain: &mut BytesMut,
) -> Result<bool, Error> {
    let taken = tls.read_tls(sealed).map_err(|error| Error::General(error.to_string()))?;
    let state = tls.process_new_packets()?;
    let mut reader = tls.reader();
    // "Would block" is the end of what is there.
    while let Ok(chunk) = reader.fill_buf()
        && !chunk.is_empty()
    {
        plain.extend_from_slice(chunk);
        let count = chunk.len();
        reader.consume(count);
    }
    if taken == 0 && !state.peer_has_closed() {
        return Err(Error::General("a record is longer than any may be".to_owned()));
    }
    Ok(!state.peer_has_closed())
}

/// No more is sealed while so much waits for the socket: what one write usually takes.
const SEALED_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
