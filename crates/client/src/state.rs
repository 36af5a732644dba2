//! What a client knows, changed strictly in the order of the connection's messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use protocol::{Incoming, Oid, Push, Reply, Request, Tid};

use crate::blobs::Download;
use crate::cache::{Cache, OutOfOrder};
use crate::error::{Disconnect, SendError};
use crate::options::Notice;
use crate::stream::Stream;
use crate::wire::Wire;

/// The cache, the connection and the calls under way: all that is under the client's lock.
pub(crate) struct State {
    pub(crate) cache: Cache,
    /// Counts connections: what belongs to an earlier one must not reach a later one.
    generation: u64,
    link: Option<Link>,
    /// Why there is no link, if there is none.
    down: Arc<Disconnect>,
}

/// An open connection.
struct Link {
    wire: Box<dyn Wire>,
    /// Only to shut it down: others read and write.
    stream: Stream,
    calls: HashMap<u64, Call, RandomState>,
}

/// A call under way.
pub(crate) struct Call {
    pub(crate) effect: Effect,
    /// Has room for the one answer; `None` if nobody waits.
    pub(crate) waiter: Option<SyncSender<Reply>>,
}

/// What an answer means for the cache.
pub(crate) enum Effect {
    Nothing,
    Load(Oid),
    Finish(Written),
    Blob(Download),
}

/// Objects that a transaction has written; `None`: deleted, or the server knows what.
pub(crate) type Written = HashMap<Oid, Option<Bytes>, RandomState>;

/// What came of a look at the input.
pub(crate) enum Step {
    /// A message was handled; there may be something to tell, before the next one is.
    Handled(Option<Notice>),
    /// A part of a blob came, and should go there.
    Chunk(SyncSender<Bytes>, Bytes),
    /// There is no whole message.
    Starved,
    /// The connection is not the current one any more.
    Over,
}

impl Link {
    /// Where the parts of a blob go: to the first call for it, as its answer comes first.
    fn download(&self, oid: Oid, serial: Tid) -> Option<&SyncSender<Bytes>> {
        let wanted = self.calls.iter().filter_map(|(number, call)| match &call.effect {
            Effect::Blob(blob) if (blob.oid, blob.serial) == (oid, serial) => {
                Some((number, &blob.chunks))
            }
            _ => None,
        });
        wanted.min_by_key(|(number, _)| **number).map(|(_, chunks)| chunks)
    }
}

impl State {
    pub(crate) fn new(cache_bytes: usize) -> Self {
        Self {
            cache: Cache::new(cache_bytes),
            generation: 0,
            link: None,
            down: Arc::new(Disconnect::ClosedHere),
        }
    }

    /// The number of the connection, or why there is none.
    pub(crate) fn connected(&self) -> Result<u64, SendError> {
        match self.link {
            Some(_) => Ok(self.generation),
            None => Err(SendError::Disconnected(Arc::clone(&self.down))),
        }
    }

    pub(crate) fn down(&self) -> Arc<Disconnect> {
        Arc::clone(&self.down)
    }

    /// A connection was opened and registered. Returns its number.
    pub(crate) fn handle_connected(&mut self, wire: Box<dyn Wire>, stream: Stream) -> u64 {
        self.generation += 1;
        self.link = Some(Link { wire, stream, calls: HashMap::default() });
        self.generation
    }

    /// The connection of that number is lost. Who waits for an answer will find its channel closed.
    pub(crate) fn handle_disconnected(&mut self, generation: u64, reason: Disconnect) {
        if self.generation == generation
            && let Some(link) = self.link.take()
        {
            link.stream.shutdown();
            self.cache.handle_disconnected();
            self.down = Arc::new(reason);
        }
    }

    /// Queues a request on the connection of that number.
    pub(crate) fn handle_request(
        &mut self,
        generation: u64,
        request: &Request,
        call: Call,
    ) -> Result<(), SendError> {
        let Some(link) = self.link.as_mut().filter(|_| self.generation == generation) else {
            return Err(SendError::Disconnected(self.down()));
        };
        if let Some(number) = link.wire.handle_request(request)? {
            if let Effect::Load(oid) = call.effect {
                self.cache.handle_asked(oid);
            }
            link.calls.insert(number, call);
        }
        Ok(())
    }

    /// See [`crate::Session::poll_transmit`]. Gives the number of the connection, too.
    pub(crate) fn poll_transmit(&mut self, written: &mut Vec<u8>) -> Option<u64> {
        self.link.as_mut()?.wire.poll_transmit(written).then_some(self.generation)
    }

    pub(crate) fn output_bytes(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.wire.output_bytes())
    }

    /// Handles the first message of `input`, which the connection of that number has received.
    pub(crate) fn handle_input(
        &mut self,
        generation: u64,
        input: &mut BytesMut,
    ) -> Result<Step, Disconnect> {
        let Some(link) = self.link.as_mut().filter(|_| self.generation == generation) else {
            return Ok(Step::Over);
        };
        match link.wire.handle_input(input)? {
            None => Ok(Step::Starved),
            Some(Incoming::Push(Push::BlobChunk { oid, serial, data })) => {
                Ok(match link.download(oid, serial) {
                    Some(chunks) => Step::Chunk(chunks.clone(), data),
                    None => Step::Handled(None),
                })
            }
            Some(Incoming::Push(push)) => Ok(Step::Handled(self.handle_push(push)?)),
            Some(Incoming::Reply { number, reply }) => {
                if let Some(call) = link.calls.remove(&number) {
                    self.handle_reply(call, reply)?;
                }
                Ok(Step::Handled(None))
            }
        }
    }

    pub(crate) fn handle_push(&mut self, push: Push) -> Result<Option<Notice>, OutOfOrder> {
        match push {
            Push::Invalidate { tid, oids } => {
                self.cache.handle_invalidated(tid, &oids)?;
                Ok(Some(Notice::Invalidated { tid, oids }))
            }
            Push::Info { length, size } => Ok(Some(Notice::InfoChanged { length, size })),
            // The chunks between, and the answer behind, say all.
            Push::BlobStart { .. } | Push::BlobChunk { .. } | Push::BlobStop { .. } => Ok(None),
        }
    }

    fn handle_reply(&mut self, call: Call, reply: Reply) -> Result<(), OutOfOrder> {
        let mut order = Ok(());
        match (call.effect, &reply) {
            (Effect::Load(oid), Reply::Loaded(loaded)) => {
                self.cache.handle_answered(oid, loaded.as_ref());
            }
            (Effect::Load(oid), _) => self.cache.handle_answered(oid, None),
            (Effect::Finish(written), Reply::Tid(tid)) => {
                order = self.cache.handle_finished(*tid, written);
            }
            (Effect::Finish(_) | Effect::Blob(_) | Effect::Nothing, _) => {}
        }
        if let Some(waiter) = call.waiter {
            // Fails if the caller's patience is over. A finish is told even if its place is wrong.
            _ = waiter.send(reply);
        }
        order
    }
}
