//! Requests that change nothing.

use protocol::{Codec, Info, Interface, Loaded, MessageId, Oid, Reply, Request, Tid};
use storage::{Abilities, Found, Which};

use crate::session::{Asked, Closed, Session};

/// Whether a storage can do what an interface is about.
type Needs = fn(Abilities) -> bool;

/// What clients may rely on, most special first, and what a storage needs for it. (ZEO's client
/// offers a method only if its interface is here.)
const INTERFACES: [(Needs, Interface); 9] = [
    (|can| can.blobs, ("ZODB.interfaces", "IBlobStorageRestoreable")),
    (|can| can.blobs, ("ZODB.interfaces", "IBlobStorage")),
    (|_| true, ("ZODB.interfaces", "IStorageRestoreable")),
    (|can| can.iteration, ("ZODB.interfaces", "IStorageIteration")),
    (|can| can.undo, ("ZODB.interfaces", "IStorageUndoable")),
    (|can| can.record_iteration, ("ZODB.interfaces", "IStorageCurrentRecordIteration")),
    (|_| true, ("ZODB.interfaces", "IExternalGC")),
    (|_| true, ("ZODB.interfaces", "IStorage")),
    (|_| true, ("zope.interface", "Interface")),
];

/// A record larger than this does not keep its buffer.
const KEPT_DATA_BYTES: usize = 128 << 10;

impl<C: Codec> Session<C> {
    pub(crate) fn handle_read(
        &mut self,
        id: Option<MessageId>,
        request: Request,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let done = match request {
            Request::LoadBefore { oid, before } => self.load_before(id, oid, before, output),
            Request::LoadSerial { oid, serial } => self.load_serial(id, oid, serial, output),
            Request::NewOids { count } => self.new_oids(id, count, output),
            other => {
                if let Request::Status = other {
                    self.count_requests();
                }
                let reply = self.immediate(other);
                self.reply(id, &reply, output)
            }
        };
        // The client may be idle from now on.
        if self.data.capacity() > KEPT_DATA_BYTES {
            self.data = Vec::new();
        }
        done
    }

    /// Answers that never wait.
    fn immediate(&self, request: Request) -> Reply {
        let Some(joined) = &self.joined else {
            return Reply::Done;
        };
        let storage = &joined.hosted.storage;
        match request {
            Request::Info => {
                let (extent, abilities) = (storage.extent(), storage.abilities());
                let offered = INTERFACES.iter().filter(|(needs, _)| needs(abilities));
                Reply::Info(Info {
                    length: extent.objects,
                    size: extent.bytes,
                    name: storage.name(),
                    supports_undo: abilities.undo,
                    supports_record_iternext: abilities.record_iteration,
                    interfaces: offered.map(|(_, interface)| *interface).collect(),
                })
            }
            // Not the storage's last tid: its invalidation may still be in the mailbox.
            Request::LastTransaction => Reply::Tid(joined.seen),
            Request::CurrentTid { oid } => {
                storage.current_tid(oid).map_or_else(Reply::Failed, Reply::Tid)
            }
            Request::Status => {
                Reply::Status(Box::new(self.host.status(&joined.hosted, joined.seen)))
            }
            // A ping, whose answer is that it is answered.
            _ => Reply::Done,
        }
    }

    fn load_before(
        &mut self,
        id: Option<MessageId>,
        oid: Oid,
        before: Tid,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let which = Which::Before(before);
        match self.load(oid, which) {
            Ok(Some(Found::Revision { tid, end })) => {
                let Some(id) = id else {
                    return Ok(());
                };
                let data = std::mem::take(&mut self.data);
                let loaded = Loaded { data: &data[..], tid, end };
                let sent = self.append(output, |codec, out| codec.encode_loaded(&id, loaded, out));
                self.data = data;
                sent
            }
            Ok(Some(Found::Later)) => {
                self.load_later(oid, which, Asked::LoadBefore { id, oid });
                Ok(())
            }
            Ok(Some(Found::Younger) | None) => self.reply(id, &Reply::Loaded(None), output),
            Err(failure) => self.fail(id, failure, output),
        }
    }

    fn load_serial(
        &mut self,
        id: Option<MessageId>,
        oid: Oid,
        serial: Tid,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        let which = Which::Serial(serial);
        match self.load(oid, which) {
            Ok(Some(Found::Later)) => {
                self.load_later(oid, which, Asked::LoadSerial { id, oid });
                Ok(())
            }
            Ok(_) => {
                let data = std::mem::take(&mut self.data);
                self.reply(id, &Reply::Data(data.into()), output)
            }
            Err(failure) => self.fail(id, failure, output),
        }
    }

    /// Loads into `self.data`.
    fn load(&mut self, oid: Oid, which: Which) -> Result<Option<Found>, protocol::Failure> {
        self.data.clear();
        let Some(joined) = &self.joined else {
            return Ok(None);
        };
        joined.hosted.storage.load(oid, which, &mut self.data).map(Some)
    }

    fn load_later(&mut self, oid: Oid, which: Which, asked: Asked) {
        let reply = self.ask(asked);
        if let Some(storage) = self.storage() {
            storage.load_later(oid, which, reply);
        }
    }

    fn new_oids(
        &mut self,
        id: Option<MessageId>,
        count: u32,
        output: &mut Vec<u8>,
    ) -> Result<(), Closed> {
        if self.is_read_only() {
            return self.fail(id, protocol::Failure::ReadOnly, output);
        }
        let reply = self.ask(Asked::NewOids { id: id.clone() });
        let ticket = reply.ticket;
        let taken = self.storage().and_then(|storage| storage.new_oids(count, reply));
        match taken {
            Some(oids) => {
                self.asked.remove(&ticket);
                self.reply(id, &Reply::Oids(oids), output)
            }
            None => Ok(()),
        }
    }
}
