//! One connection as a state machine: requests in, bytes out; bytes in, answers and pushes out.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;
use std::mem;

use bytes::BytesMut;
use protocol::{Codec, Expect, HandshakeError, Incoming, Limits, Malformed, Request, frame};

/// The client's side of one connection, without a socket, a thread or a clock.
///
/// `handle_*` methods take what has happened and `poll_*` methods give what is to be done, in any
/// order. Requests may be sent before the server has greeted; their bytes are held back until
/// then. In the steady state a request allocates nothing: what is encoded grows the output
/// buffer, and a call under way costs a byte or two.
#[derive(Debug)]
pub struct Session<C> {
    codec: C,
    limits: Limits,
    greeted: bool,
    /// Whole frames, in the order in which they were sent.
    output: Vec<u8>,
    calls: Calls,
}

/// Why a session is over: the connection has to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The server's greeting could not be answered.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A frame is longer than the session's limit.
    #[error(transparent)]
    TooLong(#[from] frame::TooLong),
    /// A frame is not a message of the protocol, or answers what was not asked.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A request is too long for a frame; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request has to be shorter than 4 GiB")]
pub struct RequestTooLong;

impl<C: Codec> Session<C> {
    /// Creates the session of a connection that was just opened. `limits` are those for what the
    /// server sends.
    pub fn new(limits: Limits) -> Self {
        Self {
            codec: C::new(limits),
            limits,
            greeted: false,
            output: Vec::new(),
            calls: Calls::default(),
        }
    }

    /// Whether the server has greeted, and its greeting was answered.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// How many calls wait for their answers.
    pub fn calls_under_way(&self) -> usize {
        self.calls.under_way
    }

    /// Bytes that the next [`Self::poll_transmit`] gives, once the server has greeted.
    pub fn output_bytes(&self) -> usize {
        self.output.len()
    }

    /// Sends a request: appends it to the output. Gives the number that its answer will carry;
    /// `None` for a one-way request, which has no answer.
    pub fn handle_request(&mut self, request: &Request) -> Result<Option<u64>, RequestTooLong> {
        let number = self.calls.next();
        let Self { codec, output, .. } = self;
        if !frame::write(output, |out| codec.encode_request(number, request, out)) {
            return Err(RequestTooLong);
        }
        Ok(request.expects().map(|expected| {
            self.calls.insert(expected);
            number
        }))
    }

    /// Takes the first whole message off `input`, which the caller fills from the connection.
    ///
    /// To be called until it gives `None`: more bytes are needed then. After an error the session
    /// is over. The handshake is dealt with in here: call [`Self::poll_transmit`] afterwards.
    pub fn handle_input(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, SessionError> {
        while let Some(message) = frame::split(input, self.limits.message_bytes)? {
            if !self.greeted {
                self.answer(&message)?;
                continue;
            }
            let calls = &self.calls;
            let incoming =
                self.codec.decode_incoming(&message, &mut |number| calls.expected(number))?;
            if let Incoming::Reply { number, .. } = &incoming {
                self.calls.remove(*number);
            }
            return Ok(Some(incoming));
        }
        Ok(None)
    }

    /// Exchanges the bytes to be written for `written`, an old buffer whose content is dropped and
    /// whose memory is used again. `false`: there is nothing to be written now.
    pub fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        if !self.greeted || self.output.is_empty() {
            return false;
        }
        written.clear();
        mem::swap(written, &mut self.output);
        true
    }

    /// The answer to the greeting goes before everything that was sent until now.
    fn answer(&mut self, greeting: &[u8]) -> Result<(), SessionError> {
        let answer = C::answer(greeting)?;
        let held_back = mem::take(&mut self.output);
        // An answer is some twenty bytes, so the prefix can hold its length.
        _ = frame::write(&mut self.output, |out| out.extend_from_slice(&answer));
        self.output.extend_from_slice(&held_back);
        self.greeted = true;
        Ok(())
    }
}

/// What the calls under way wait for. Numbers are given out in order, and most answers come in
/// order, so that a queue of one byte each is the smallest map.
#[derive(Debug, Default)]
struct Calls {
    /// The number of the first one in the queue, less one.
    before_first: u64,
    /// `None`: answered.
    expected: VecDeque<Option<Expect>>,
    under_way: usize,
}

impl Calls {
    fn next(&self) -> u64 {
        self.before_first + self.expected.len() as u64 + 1
    }

    fn insert(&mut self, expected: Expect) {
        self.expected.push_back(Some(expected));
        self.under_way += 1;
    }

    fn expected(&self, number: u64) -> Option<Expect> {
        *self.expected.get(self.index(number)?)?
    }

    fn remove(&mut self, number: u64) {
        let index = self.index(number);
        if index.and_then(|index| self.expected.get_mut(index)?.take()).is_some() {
            self.under_way -= 1;
        }
        while let Some(None) = self.expected.front() {
            self.expected.pop_front();
            self.before_first += 1;
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.before_first + 1)?).ok()
    }
}
