//! What the threads of a client share, and the thread that reads.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use protocol::{Reply, Request};

use crate::error::{BeginError, CallError, Disconnect, SendError};
use crate::options::{Notice, Options};
use crate::state::{Call, Effect, State, Step};
use crate::stream::Stream;
use crate::wire::Wire;

/// Locks are taken in the order of the fields, and none is held while something is told.
pub(crate) struct Shared {
    pub(crate) options: Options,
    /// Held while bytes are written, so that they leave in the order of the requests. Whoever comes
    /// meanwhile finds that the next one in line has written its bytes, too.
    writer: Mutex<Writer>,
    state: Mutex<State>,
    /// Whether the connection's one transaction is taken.
    transaction: Mutex<bool>,
    transaction_over: Condvar,
}

#[derive(Default)]
struct Writer {
    stream: Option<Stream>,
    /// What was written last: memory for what is to be written next.
    written: Vec<u8>,
}

impl Shared {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            writer: Mutex::default(),
            state: Mutex::new(State::new(options.cache_bytes)),
            transaction: Mutex::default(),
            transaction_over: Condvar::new(),
            options,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Queues a request; what it needs to reach the server is a [`Self::flush`].
    pub(crate) fn post(&self, generation: u64, request: &Request) -> Result<(), SendError> {
        let call = Call { effect: Effect::Nothing, waiter: None };
        let waiting_bytes = {
            let mut state = self.state();
            state.handle_request(generation, request, call)?;
            state.output_bytes()
        };
        if waiting_bytes > FLUSH_BYTES {
            self.flush();
        }
        Ok(())
    }

    /// Sends a call and waits for its answer.
    pub(crate) fn call(
        &self,
        generation: u64,
        request: &Request,
        effect: Effect,
    ) -> Result<Reply, CallError> {
        let answer = self.send(generation, request, effect)?;
        self.wait(&answer)
    }

    /// Sends a call. After an error, the server has not got it.
    pub(crate) fn send(
        &self,
        generation: u64,
        request: &Request,
        effect: Effect,
    ) -> Result<Receiver<Reply>, SendError> {
        let (waiter, answer) = sync_channel(1);
        let call = Call { effect, waiter: Some(waiter) };
        self.state().handle_request(generation, request, call)?;
        self.flush();
        Ok(answer)
    }

    /// Waits for the answer to a call.
    pub(crate) fn wait(&self, answer: &Receiver<Reply>) -> Result<Reply, CallError> {
        let reply = match self.options.call_timeout {
            None => answer.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(timeout) => answer.recv_timeout(timeout),
        };
        match reply {
            Ok(Reply::Failed(failure)) => Err(CallError::Failed(failure)),
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Timeout) => Err(CallError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => {
                Err(CallError::Send(SendError::Disconnected(self.state().down())))
            }
        }
    }

    /// Writes what was queued. If that fails the connection is over, which those find who wait
    /// for answers.
    pub(crate) fn flush(&self) {
        let mut writer = lock(&self.writer);
        let Writer { stream: Some(stream), written } = &mut *writer else { return };
        let Some(generation) = self.state().poll_transmit(written) else { return };
        let result = stream.write_all(written);
        if written.capacity() > KEEP_BYTES {
            *written = Vec::new();
        }
        drop(writer);
        if let Err(error) = result {
            self.disconnect(generation, Disconnect::Io(error));
        }
    }

    /// Makes a connection the one in use. Returns its number.
    pub(crate) fn connected(
        &self,
        wire: Box<dyn Wire>,
        stream: Stream,
        for_shutdown: Stream,
    ) -> u64 {
        let mut writer = lock(&self.writer);
        writer.stream = Some(stream);
        self.state().handle_connected(wire, for_shutdown)
    }

    pub(crate) fn disconnect(&self, generation: u64, reason: Disconnect) {
        self.state().handle_disconnected(generation, reason);
    }

    /// Reads from a connection until it ends. `input` may have messages already.
    pub(crate) fn read(&self, generation: u64, mut stream: Stream, mut input: BytesMut) {
        let mut buffer = vec![0; READ_BYTES];
        let reason = loop {
            let step = self.state().handle_input(generation, &mut input);
            match step {
                Ok(Step::Handled(None)) => {}
                Ok(Step::Handled(Some(notice))) => self.options.tell(&notice),
                // Fails if the caller's patience is over.
                Ok(Step::Chunk(chunks, chunk)) => _ = chunks.send(chunk),
                Ok(Step::Over) => break Disconnect::ClosedHere,
                Ok(Step::Starved) => match stream.read(&mut buffer) {
                    Ok(0) => break Disconnect::Closed,
                    Ok(count) => input.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => break Disconnect::Io(error),
                },
                Err(reason) => break reason,
            }
        };
        self.disconnect(generation, reason);
        // Somebody else may have found out first, and knows better.
        let reason = self.state().down();
        self.options.tell(&Notice::Disconnected(reason));
    }

    /// Waits until the connection's transaction is free, and takes it.
    pub(crate) fn take_transaction(&self) -> Result<(), BeginError> {
        let taken = lock(&self.transaction);
        let mut taken = match self.options.call_timeout {
            None => self
                .transaction_over
                .wait_while(taken, |taken| *taken)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let (taken, wait) = self
                    .transaction_over
                    .wait_timeout_while(taken, timeout, |taken| *taken)
                    .unwrap_or_else(PoisonError::into_inner);
                if wait.timed_out() {
                    return Err(BeginError::Busy);
                }
                taken
            }
        };
        *taken = true;
        Ok(())
    }

    pub(crate) fn free_transaction(&self) {
        *lock(&self.transaction) = false;
        self.transaction_over.notify_one();
    }
}

/// Ends a connection whose reading thread panics, or does not start: nobody would ever get an answer.
pub(crate) struct EndOnDrop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) generation: u64,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // Who ended the connection otherwise has told why.
        self.shared.disconnect(self.generation, Disconnect::ListenerPanicked);
    }
}

/// Nothing that is done under these locks leaves them in pieces if it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One-way requests are written together, up to this many bytes.
const FLUSH_BYTES: usize = 64 << 10;

/// A larger buffer is given back after one large request.
const KEEP_BYTES: usize = 1 << 20;

const READ_BYTES: usize = 64 << 10;
