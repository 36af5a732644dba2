//! The blocking client.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use codecs::Endpoint;
use protocol::{Begin, Info, Loaded, Oid, Reply, Request, Status, Tid, TransactionId};

use crate::connect::{Connected, Registration, connect};
use crate::error::{BeginError, CallError, ConnectError, Disconnect, LoadError};
use crate::options::Options;
use crate::shared::{EndOnDrop, Shared};
use crate::state::Effect;
use crate::transaction::{Metadata, Transaction};

/// A connection to one storage of a server, with a cache.
///
/// Threads share it by reference. Their calls are under way at the same time, but for
/// transactions, of which a connection has one at a time: [`Self::begin`] waits for the other one.
/// A lost connection stays lost until somebody calls [`Self::reconnect`]; the cache survives.
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    /// Held while a blob is loaded.
    pub(crate) download: Mutex<()>,
    registration: Registration,
    /// Held while a connection is made.
    reader: Mutex<Option<JoinHandle<()>>>,
    transactions: AtomicU64,
}

impl Client {
    /// Connects, and chooses a storage of the server.
    pub fn connect(
        endpoint: &Endpoint,
        storage: &str,
        read_only: bool,
        options: Options,
    ) -> Result<Self, ConnectError> {
        let registration =
            Registration { endpoint: endpoint.clone(), storage: storage.to_owned(), read_only };
        let client = Self {
            shared: Arc::new(Shared::new(options)),
            download: Mutex::default(),
            registration,
            reader: Mutex::default(),
            transactions: AtomicU64::new(0),
        };
        client.reconnect()?;
        Ok(client)
    }

    /// Connects anew if the connection is lost, and finds out what the cache has missed. If several
    /// threads try, one of them connects, and the others find that there is nothing to do.
    pub fn reconnect(&self) -> Result<(), ConnectError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_connected() {
            return Ok(());
        }
        self.close(reader.take());
        let Connected { wire, stream, input, notices } = connect(&self.registration, &self.shared)?;
        let (for_writes, for_shutdown) = (stream.try_clone()?, stream.try_clone()?);
        let generation = self.shared.connected(wire, for_writes, for_shutdown);
        let guard = EndOnDrop { shared: Arc::clone(&self.shared), generation };
        for notice in notices {
            self.shared.options.tell(&notice);
        }
        let spawned = thread::Builder::new()
            .name("zeoxide-client".to_owned())
            .spawn(move || guard.shared.read(guard.generation, stream, input));
        *reader = Some(spawned?);
        Ok(())
    }

    /// Whether there is a connection, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.shared.state().connected().is_ok()
    }

    /// The newest transaction that this client knows of. What is loaded before the next larger tid
    /// is a consistent snapshot.
    pub fn last_tid(&self) -> Tid {
        self.shared.state().cache.last_tid()
    }

    /// The current revision of an object.
    pub fn load(&self, oid: Oid) -> Result<Loaded<Bytes>, LoadError> {
        self.load_before(oid, Tid::MAX)?.ok_or(LoadError::UnknownOid(oid))
    }

    /// The newest revision of an object before a tid; `None`: the object is younger.
    pub fn load_before(&self, oid: Oid, before: Tid) -> Result<Option<Loaded<Bytes>>, LoadError> {
        let generation = {
            let mut state = self.shared.state();
            let generation = state.connected().map_err(CallError::Send)?;
            if let Some(loaded) = state.cache.find(oid, before) {
                return Ok(Some(loaded));
            }
            generation
        };
        let request = Request::LoadBefore { oid, before };
        match self.shared.call(generation, &request, Effect::Load(oid))? {
            Reply::Loaded(loaded) => Ok(loaded),
            _ => Err(LoadError::Call(CallError::WrongReply)),
        }
    }

    /// The revision of an object that one transaction wrote.
    pub fn load_serial(&self, oid: Oid, serial: Tid) -> Result<Bytes, LoadError> {
        let cached = self.shared.state().cache.find_serial(oid, serial);
        if let Some(data) = cached {
            return Ok(data);
        }
        match self.call(&Request::LoadSerial { oid, serial })? {
            Reply::Data(data) => Ok(data),
            _ => Err(LoadError::Call(CallError::WrongReply)),
        }
    }

    /// The tid of the current revision of an object, from the server.
    pub fn current_tid(&self, oid: Oid) -> Result<Tid, LoadError> {
        Ok(tid(self.call(&Request::CurrentTid { oid })?)?)
    }

    /// Oids that nobody was given before: `count` of them, or fewer, but at least one.
    pub fn new_oids(&self, count: u32) -> Result<Vec<Oid>, CallError> {
        match self.call(&Request::NewOids { count })? {
            Reply::Oids(oids) => Ok(oids),
            _ => Err(CallError::WrongReply),
        }
    }

    /// The newest transaction, from the server.
    pub fn last_transaction(&self) -> Result<Tid, CallError> {
        tid(self.call(&Request::LastTransaction)?)
    }

    /// Facts about the storage.
    pub fn info(&self) -> Result<Info, CallError> {
        match self.call(&Request::Info)? {
            Reply::Info(info) => Ok(info),
            _ => Err(CallError::WrongReply),
        }
    }

    /// Counters of the storage.
    pub fn status(&self) -> Result<Status, CallError> {
        match self.call(&Request::Status)? {
            Reply::Status(status) => Ok(*status),
            _ => Err(CallError::WrongReply),
        }
    }

    /// A barrier: what had finished, anywhere, when this was called is known when it returns.
    pub fn ping(&self) -> Result<(), CallError> {
        done(self.call(&Request::Ping)?)
    }

    /// Begins a transaction, when the other one of this client, if there is one, is over.
    pub fn begin(&self, metadata: Metadata) -> Result<Transaction<'_>, BeginError> {
        if self.registration.read_only {
            // The server would close the connection over it.
            return Err(BeginError::ReadOnly);
        }
        self.shared.take_transaction()?;
        let number = self.transactions.fetch_add(1, Ordering::Relaxed) + 1;
        let id = TransactionId(number.into());
        let Metadata { user, description, extension, tid, status } = metadata;
        let begin = Begin { transaction: id, user, description, extension, tid, status };
        let connected = self.shared.state().connected();
        let begun = connected.and_then(|generation| {
            self.shared.post(generation, &Request::Begin(begin)).map(|()| generation)
        });
        match begun {
            Ok(generation) => Ok(Transaction::new(&self.shared, id, tid, generation)),
            Err(error) => {
                self.shared.free_transaction();
                Err(error.into())
            }
        }
    }

    pub(crate) fn call(&self, request: &Request) -> Result<Reply, CallError> {
        let generation = self.shared.state().connected()?;
        self.shared.call(generation, request, Effect::Nothing)
    }

    /// Closes the connection, if there is one, and waits for the thread that reads from it.
    fn close(&self, reader: Option<JoinHandle<()>>) {
        let connected = self.shared.state().connected();
        if let Ok(generation) = connected {
            self.shared.disconnect(generation, Disconnect::ClosedHere);
        }
        // A listener can hold the last reference: the thread cannot wait for itself.
        if let Some(reader) = reader.filter(|reader| reader.thread().id() != thread::current().id())
        {
            // It panics if the listener does, and that was reported.
            _ = reader.join();
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.close(reader);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("registration", &self.registration)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

pub(crate) fn tid(reply: Reply) -> Result<Tid, CallError> {
    match reply {
        Reply::Tid(tid) => Ok(tid),
        _ => Err(CallError::WrongReply),
    }
}

pub(crate) fn done(reply: Reply) -> Result<(), CallError> {
    match reply {
        Reply::Done => Ok(()),
        _ => Err(CallError::WrongReply),
    }
}
