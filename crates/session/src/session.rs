//! The session's state, its input loop and how it ends.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::BytesMut;
use protocol::frame::{self, TooLong};
use protocol::{Call, Codec, Failure, Limits, Malformed, MessageId, Oid, Reply, Request, Tid};
use storage::replica::{Role, still_copying};
use storage::{Cut, Event, Mailbox, ReplyTo, Storage, Ticket};

use crate::blobs::Blobs;
use crate::host::{Host, Hosted, count, uncount};
use crate::iterators::Iterators;
use crate::requests::Uncounted;
use crate::transactions::OpenTransaction;

/// With so much output unsent, no further request is handled.
pub const HIGH_WATER_BYTES: usize = 1 << 20;

/// With so many answers outstanding, no further request is handled.
const MAX_OUTSTANDING: usize = 128;

/// A client's label is cut off behind so many characters.
const LABEL_CHARS_MAX: usize = 100;

/// One connection after its handshake.
///
/// # Order
///
/// Everything leaves in the order in which it is appended to the output, and only two methods
/// append: [`Self::handle_input`] what it computes itself, [`Self::handle_mailbox`] what others
/// put into the mailbox. So a reply that says "this is current" is in the output before any
/// invalidation that contradicts it, since that can only be drained later. For the other half,
/// that no reply overtakes an invalidation which was published when its request was read, the
/// owner calls `handle_mailbox` between reading and `handle_input`.
pub struct Session<C> {
    pub(crate) codec: C,
    pub(crate) host: Arc<Host>,
    pub(crate) mailbox: Arc<Mailbox>,
    limits: Limits,
    /// Where it comes from, for the log.
    peer: String,
    /// Who it is, for the log: `peer`, behind what the client calls itself.
    label: String,
    pub(crate) joined: Option<Joined>,
    /// What has been asked of the storage and not been answered.
    pub(crate) asked: BTreeMap<Ticket, Asked>,
    next_ticket: u64,
    pub(crate) blobs: Blobs,
    pub(crate) events: VecDeque<Event>,
    /// Record data on their way from the storage to the output.
    pub(crate) data: Vec<u8>,
    requests: Uncounted,
}

/// What a session is after `register`.
pub(crate) struct Joined {
    pub(crate) hosted: Arc<Hosted>,
    pub(crate) read_only: bool,
    /// The newest tid that the client has been told of.
    pub(crate) seen: Tid,
    pub(crate) transaction: Option<OpenTransaction>,
    pub(crate) iterators: Iterators,
}

/// A question whose answer comes through the mailbox. Without an id nobody waits for it.
#[derive(Debug)]
pub(crate) enum Asked {
    LoadBefore { id: Option<MessageId>, oid: Oid },
    LoadSerial { id: Option<MessageId>, oid: Oid },
    NewOids { id: Option<MessageId> },
    Pack { id: Option<MessageId> },
    Invalidations { id: Option<MessageId>, until: Tid },
    UndoLog { id: Option<MessageId> },
    History { id: Option<MessageId> },
    NextRecord { id: Option<MessageId>, oid: Option<Oid> },
    NextTransaction { id: Option<MessageId>, iterator: u64 },
    NextTransactionRecord { id: Option<MessageId>, iterator: u64 },
    Vote { id: Option<MessageId> },
    Finish { id: Option<MessageId> },
    BlobTaken { bytes: usize },
    BlobOpened,
    BlobRead,
}

/// Why a connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The client sent bytes that are not its protocol.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The client announced more than is accepted.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The client asked for something before it chose a storage, or chose twice.
    #[error("{0} out of order")]
    OutOfOrder(&'static str),
    /// A one-way request failed, which only this can tell the client.
    #[error("a one-way request failed: {0}")]
    OneWay(Failure),
    /// The client does not read what it is sent, or keeps others waiting.
    #[error(transparent)]
    Cut(#[from] Cut),
    /// An answer is too long for the protocol.
    #[error("a message of more than 4 GiB cannot be sent")]
    ReplyTooLong,
    /// A blob cannot be read to its end, and only this can tell the client.
    #[error("{0}")]
    Blob(String),
}

impl<C: Codec> Session<C> {
    /// A session that has not chosen a storage. `mailbox` is its own; `peer` names it in the log.
    pub fn new(host: Arc<Host>, mailbox: Arc<Mailbox>, limits: Limits, peer: String) -> Self {
        Self {
            codec: C::new(limits),
            host,
            mailbox,
            limits,
            label: peer.clone(),
            peer,
            joined: None,
            asked: BTreeMap::new(),
            next_ticket: 0,
            blobs: Blobs::default(),
            events: VecDeque::new(),
            data: Vec::new(),
            requests: Uncounted::default(),
        }
    }

    /// Handles whole messages at the start of `input`, as long as [`Self::wants_input`].
    pub fn handle_input(
        &mut self,
        input: &mut BytesMut,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        while self.wants_input(output) {
            let Some(message) = frame::split(input, self.limits.message_bytes)? else {
                break;
            };
            let call = self.codec.decode_request(&message)?;
            self.handle_call(call, output)?;
        }
        self.count_requests();
        Ok(())
    }

    /// Whether requests are handled: not while too much output or too many answers are
    /// outstanding. The owner then reads no further input, so that the client has to wait.
    pub fn wants_input(&self, output: &[u8]) -> bool {
        output.len() < HIGH_WATER_BYTES
            && self.asked.len() < MAX_OUTSTANDING
            && self.blobs.want_input()
    }

    /// Whether [`Self::handle_mailbox`] has more to append when there is room in the output,
    /// of which no event will tell.
    pub fn wants_output(&self) -> bool {
        self.blobs.want_output()
    }

    /// Whether a finish was asked and is not answered yet.
    pub fn finishing(&self) -> bool {
        self.asked.values().any(|asked| matches!(asked, Asked::Finish { .. }))
    }

    /// Whether a transaction was begun and not ended.
    pub fn has_transaction(&self) -> bool {
        self.joined.as_ref().is_some_and(|joined| joined.transaction.is_some())
    }

    /// Who this is, for the log: the client's own label, of limited length, and the peer. The
    /// client chose it, so that it may hold any character.
    pub fn label(&self) -> &str {
        &self.label
    }

    fn handle_call(&mut self, call: Call, output: &mut Vec<u8>) -> Result<(), Closed> {
        let Call { id, request } = call;
        self.requests.count(&request);
        match request {
            Request::KeepAlive => Ok(()),
            Request::Register { storage, read_only } => {
                self.register(id, storage, read_only, output)
            }
            _ if self.joined.is_none() => Err(Closed::OutOfOrder("a request before register")),
            Request::Label(label) => {
                let label: String = label.chars().take(LABEL_CHARS_MAX).collect();
                self.label = format!("{label} {}", self.peer);
                self.reply(id, &Reply::Done, output)
            }
            Request::Invalid { transaction, failure } => {
                self.invalid(id, transaction, failure, output)
            }
            Request::Begin(_)
            | Request::Store { .. }
            | Request::Delete { .. }
            | Request::CheckCurrentSerial { .. }
            | Request::Restore { .. }
            | Request::Undo { .. }
            | Request::Vote { .. }
            | Request::Finish { .. }
            | Request::Abort { .. } => self.handle_transaction(id, request, output),
            blob @ (Request::BlobStart { .. }
            | Request::BlobChunk { .. }
            | Request::BlobEnd { .. }
            | Request::BlobShared { .. }
            | Request::LoadBlob { .. }) => self.handle_blob(id, blob, output),
            Request::Iterate { .. }
            | Request::NextTransaction { .. }
            | Request::IterateRecords { .. }
            | Request::NextTransactionRecord { .. }
            | Request::EndIterators { .. } => self.handle_iteration(id, &request, output),
            Request::UndoLog(_) | Request::History { .. } | Request::NextRecord { .. } => {
                self.handle_past(id, request);
                Ok(())
            }
            Request::Pack { wait, .. } => {
                let answered = if wait { None } else { id.clone() };
                self.handle_past(id, request);
                self.reply(answered, &Reply::Done, output)
            }
            Request::Invalidations { since } => self.invalidations(id, since, output),
            read => self.handle_read(id, read, output),
        }
    }

    fn register(
        &mut self,
        id: Option<MessageId>,
        name: String,
        read_only: bool,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        if self.joined.is_some() {
            return Err(Closed::OutOfOrder("a second register"));
        }
        let Some(hosted) = self.host.storages.get(&name) else {
            return self.fail(id, Failure::UnknownStorage(name), output);
        };
        let role = hosted.storage.role();
        if role == Role::Copying {
            return self.fail(id, still_copying(), output);
        }
        if (self.host.read_only || role != Role::Primary) && !read_only {
            return self.fail(id, Failure::ReadOnly, output);
        }
        let hosted = Arc::clone(hosted);
        count(&hosted.counters.connections);
        let seen = hosted.storage.subscribe(&self.mailbox);
        let iterators = Iterators::default();
        self.joined = Some(Joined { hosted, read_only, seen, transaction: None, iterators });
        self.reply(id, &Reply::Tid(seen), output)
    }

    /// Answers a call; a one-way message gets no answer.
    pub(crate) fn reply(
        &mut self,
        id: Option<MessageId>,
        reply: &Reply,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let Some(id) = id else {
            return Ok(());
        };
        self.append(output, |codec, out| codec.encode_reply(&id, reply, out))
    }

    /// Answers a call with a failure; a one-way message that fails ends the connection.
    pub(crate) fn fail(
        &mut self,
        id: Option<MessageId>,
        failure: Failure,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        match id {
            None => Err(Closed::OneWay(failure)),
            id => self.reply(id, &Reply::Failed(failure), output),
        }
    }

    /// Appends one message.
    pub(crate) fn append(
        &mut self,
        output: &mut Vec<u8>,
        encode: impl FnOnce(&mut C, &mut Vec<u8>),
    ) -> Result<(), Closed> {
        let sent = frame::write(output, |out| encode(&mut self.codec, out));
        if sent { Ok(()) } else { Err(Closed::ReplyTooLong) }
    }

    fn invalid(
        &mut self,
        id: Option<MessageId>,
        transaction: Option<protocol::TransactionId>,
        failure: Failure,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        if id.is_some() {
            return self.fail(id, failure, output);
        }
        if transaction.is_some() && self.spoil_transaction(transaction, failure.clone()) {
            return Ok(());
        }
        Err(Closed::OneWay(failure))
    }

    /// A place in the mailbox for the answer to a question.
    pub(crate) fn ask(&mut self, asked: Asked) -> ReplyTo {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.asked.insert(ticket, asked);
        ReplyTo { mailbox: Arc::clone(&self.mailbox), ticket }
    }

    /// The storage, after `register`.
    pub(crate) fn storage(&self) -> Option<&Arc<dyn Storage>> {
        self.joined.as_ref().map(|joined| &joined.hosted.storage)
    }

    /// Adds what came since the last time to what all count.
    pub(crate) fn count_requests(&mut self) {
        if let Some(joined) = &self.joined {
            self.requests.tell(&joined.hosted.counters.requests);
        }
    }
}

impl<C> Drop for Session<C> {
    fn drop(&mut self) {
        if let Some(joined) = self.joined.take() {
            joined.hosted.storage.unsubscribe(&self.mailbox);
            uncount(&joined.hosted.counters.connections);
            if let Some(transaction) = joined.transaction {
                transaction.abort(&joined.hosted.counters);
            }
        }
    }
}

impl<C> fmt::Debug for Session<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("label", &self.label).finish_non_exhaustive()
    }
}
