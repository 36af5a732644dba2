//! A server in a few lines: right, slow and in memory. Everything happens under one lock, the
//! sending included, so that the order of the protocol comes by itself.

mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use bytes::{Bytes, BytesMut};
use codecs::{Address, Dialect, Endpoint, WithCodec, dispatch};
use protocol::{
    Codec, Conflict, Failure, Info, Limits, Loaded, MessageId, Oid, Push, Reply, Request, Status,
    Tid, TransactionFault, frame,
};

/// A server that goes on until the process ends.
pub(crate) struct FakeServer {
    pub(crate) endpoint: Endpoint,
    pub(crate) world: Arc<World>,
    _directory: tempfile::TempDir,
}

#[derive(Default)]
pub(crate) struct World {
    state: Mutex<State>,
    vote_is_over: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    objects: BTreeMap<Oid, Vec<(Tid, Option<Bytes>)>>,
    pub(crate) last: Tid,
    /// Invalidations since earlier tids are forgotten.
    pub(crate) remembered_since: Tid,
    /// Loads that were answered.
    pub(crate) loads: u64,
    pub(crate) aborts: u64,
    /// Calls are taken and never answered.
    pub(crate) is_silent: bool,
    /// What finishes are answered with, which are made nevertheless.
    pub(crate) finish_fails: Option<Failure>,
    /// Votes are answered with what was stored, as if the server had changed it.
    pub(crate) determines: bool,
    pub(crate) blobs_break_off: bool,
    pub(crate) iterators_are_lost: bool,
    /// Iterators that a client has ended.
    pub(crate) iterators_ended: u64,
    /// As of when, and whether the client waits for it.
    pub(crate) packed: Option<(Tid, bool)>,
    blobs: BTreeMap<(Oid, Tid), Bytes>,
    next_oid: u64,
    peers: BTreeMap<u64, Peer>,
    connections: u64,
    /// The connection that has voted.
    voted: Option<u64>,
}

/// Makes a frame of a push, in the dialect of the connection.
type Encode = Box<dyn FnMut(&Push) -> Vec<u8> + Send>;

struct Peer {
    stream: UnixStream,
    encode: Encode,
}

impl FakeServer {
    pub(crate) fn start(dialect: Dialect) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let world = Arc::new(World::default());
        world.state().last = Tid(1);
        let accepting = Accept { listener, world: Arc::clone(&world) };
        thread::spawn(move || dispatch(dialect, accepting));
        let endpoint = Endpoint { dialect, address: Address::Unix(path) };
        Self { endpoint, world, _directory: directory }
    }
}

impl World {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn drop_connections(&self) {
        for peer in self.state().peers.values() {
            _ = peer.stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    /// A transaction of nobody that is connected.
    pub(crate) fn commit(&mut self, oid: Oid, data: &str) -> Tid {
        let data = Bytes::from(data.to_owned());
        self.apply(0, &BTreeMap::from([(oid, (Tid::ZERO, Some(data)))]))
    }

    fn apply(&mut self, by: u64, writes: &Writes) -> Tid {
        self.last = self.last.next();
        for (oid, (_, data)) in writes {
            self.objects.entry(*oid).or_default().push((self.last, data.clone()));
        }
        let push = Push::Invalidate { tid: self.last, oids: writes.keys().copied().collect() };
        for peer in self.peers.iter_mut().filter(|(number, _)| **number != by).map(|(_, peer)| peer)
        {
            let bytes = (peer.encode)(&push);
            _ = peer.stream.write_all(&bytes);
        }
        self.last
    }

    fn load_before(&self, oid: Oid, before: Tid) -> Reply {
        let Some(revisions) = self.objects.get(&oid) else {
            return Reply::Failed(Failure::UnknownOid(oid));
        };
        let Some(index) = revisions.iter().rposition(|(tid, _)| *tid < before) else {
            return Reply::Loaded(None);
        };
        let end = revisions.get(index + 1).map(|(tid, _)| *tid);
        match revisions[index].clone() {
            (tid, Some(data)) => Reply::Loaded(Some(Loaded { data, tid, end })),
            (_, None) => Reply::Failed(Failure::UnknownOid(oid)),
        }
    }

    fn current(&self, oid: Oid) -> Option<Tid> {
        self.objects.get(&oid)?.last().map(|(tid, _)| *tid)
    }

    fn invalidations(&self, since: Tid) -> Reply {
        let changed = |revisions: &[(Tid, Option<Bytes>)]| revisions.last().unwrap().0 > since;
        let oids = self.objects.iter().filter(|(_, revisions)| changed(revisions));
        let known = since >= self.remembered_since;
        Reply::Invalidations(known.then(|| (self.last, oids.map(|(oid, _)| *oid).collect())))
    }
}

/// Lets a TCP connection reach the server, which knows only unix sockets.
pub(crate) fn relay(tcp: &TcpStream, address: &Address) {
    let Address::Unix(path) = address else { panic!("a unix socket") };
    let unix = UnixStream::connect(path).unwrap();
    let (mut from_client, mut to_client) = (tcp.try_clone().unwrap(), tcp.try_clone().unwrap());
    let (mut from_server, mut to_server) = (unix.try_clone().unwrap(), unix);
    thread::spawn(move || io::copy(&mut from_client, &mut to_server));
    thread::spawn(move || io::copy(&mut from_server, &mut to_client));
}

struct Accept {
    listener: UnixListener,
    world: Arc<World>,
}

impl WithCodec for Accept {
    type Out = ();

    fn call<C: Codec>(self) {
        for stream in self.listener.incoming() {
            let (stream, world) = (stream.unwrap(), Arc::clone(&self.world));
            thread::spawn(move || Connection::<C>::serve(stream, world));
        }
    }
}

type Writes = BTreeMap<Oid, (Tid, Option<Bytes>)>;

struct Connection<C> {
    codec: C,
    world: Arc<World>,
    number: u64,
    is_begun: bool,
    writes: Writes,
    checks: BTreeSet<(Oid, Tid)>,
    extras: past::Extras,
}

impl<C: Codec> Connection<C> {
    fn serve(mut stream: UnixStream, world: Arc<World>) {
        let number = {
            let mut state = world.state();
            state.connections += 1;
            state.connections
        };
        let (writes, checks, extras) = Default::default();
        let codec = C::new(Limits::default());
        let mut connection = Self { codec, world, number, is_begun: false, writes, checks, extras };
        // The client is gone, or was told to go.
        _ = connection.talk(&mut stream);
        let mut state = connection.world.state();
        state.peers.remove(&number);
        if state.voted == Some(number) {
            state.voted = None;
            connection.world.vote_is_over.notify_all();
        }
    }

    fn talk(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        stream.write_all(&framed(|out| out.extend_from_slice(&C::greeting())))?;
        let mut input = BytesMut::new();
        assert!(C::accepts(&receive(stream, &mut input)?), "no answer to the greeting");
        loop {
            let message = receive(stream, &mut input)?;
            let call = self.codec.decode_request(&message).unwrap();
            let world = Arc::clone(&self.world);
            let mut state = world.state();
            if let Request::Vote { .. } = call.request {
                state = world
                    .vote_is_over
                    .wait_while(state, |state| state.voted.is_some_and(|by| by != self.number))
                    .unwrap();
            }
            let reply = self.handle(call.request, &mut state, stream)?;
            if let Some(id) = &call.id
                && !state.is_silent
            {
                stream.write_all(&self.reply(id, &reply))?;
            }
        }
    }

    fn reply(&mut self, id: &MessageId, reply: &Reply) -> Vec<u8> {
        framed(|out| self.codec.encode_reply(id, reply, out))
    }

    fn handle(
        &mut self,
        request: Request,
        state: &mut State,
        stream: &UnixStream,
    ) -> io::Result<Reply> {
        Ok(match request {
            Request::Register { storage, .. } if storage == "1" => {
                let mut codec = C::new(Limits::default());
                let encode =
                    Box::new(move |push: &Push| framed(|out| codec.encode_push(push, out)));
                state.peers.insert(self.number, Peer { stream: stream.try_clone()?, encode });
                Reply::Tid(state.last)
            }
            Request::Register { storage, .. } => Reply::Failed(Failure::UnknownStorage(storage)),
            Request::Info => {
                Reply::Info(Info { length: state.objects.len() as u64, ..Info::default() })
            }
            Request::LastTransaction => Reply::Tid(state.last),
            Request::Invalidations { since } => state.invalidations(since),
            Request::LoadBefore { oid, before } => {
                state.loads += 1;
                state.load_before(oid, before)
            }
            Request::LoadSerial { oid, serial } => match state.load_before(oid, serial.next()) {
                Reply::Loaded(Some(loaded)) if loaded.tid == serial => Reply::Data(loaded.data),
                _ => Reply::Failed(Failure::UnknownOid(oid)),
            },
            Request::CurrentTid { oid } => {
                state.current(oid).map_or(Reply::Failed(Failure::UnknownOid(oid)), Reply::Tid)
            }
            Request::NewOids { count } => {
                let first = state.next_oid + 1;
                state.next_oid += u64::from(count);
                Reply::Oids((first..=state.next_oid).map(Oid).collect())
            }
            Request::Store { oid, serial, data, .. } => {
                self.writes.insert(oid, (serial, Some(data)));
                Reply::Done
            }
            Request::Delete { oid, serial, .. } => {
                self.writes.insert(oid, (serial, None));
                Reply::Done
            }
            Request::CheckCurrentSerial { oid, serial, .. } => {
                self.checks.insert((oid, serial));
                Reply::Done
            }
            Request::Vote { .. } => self.vote(state),
            Request::Finish { .. } => self.finish(state),
            Request::Begin(_) if mem::replace(&mut self.is_begun, true) => {
                return Err(io::Error::other("a second begin"));
            }
            Request::Abort { .. } => {
                state.aborts += 1;
                self.end(state);
                Reply::Done
            }
            Request::Status => {
                let last_transaction = state.last;
                Reply::Status(Box::new(Status { last_transaction, ..Status::default() }))
            }
            other => return self.handle_past(other, state, stream),
        })
    }

    fn vote(&mut self, state: &mut State) -> Reply {
        let mut determined = Vec::new();
        for undone in mem::take(&mut self.extras.undone) {
            match state.undo(undone) {
                Ok(before) => {
                    determined.extend(before.iter().map(|(oid, _)| *oid));
                    let current = |oid| state.current(oid).unwrap_or_default();
                    let writes = before.into_iter().map(|(oid, data)| (oid, (current(oid), data)));
                    self.writes.extend(writes);
                }
                Err(failure) => return Reply::Failed(failure),
            }
        }
        if state.determines {
            determined.extend(self.writes.keys());
        }
        for (oid, given) in self.checks.iter().copied() {
            let committed = state.current(oid).unwrap_or_default();
            if committed != given {
                return Reply::Failed(Failure::ReadConflict { oid, committed, given });
            }
        }
        let conflicts = self.writes.iter().filter_map(|(oid, (given, data))| {
            let committed = state.current(*oid)?;
            let data = data.clone()?;
            (committed != *given).then_some(Conflict { oid: *oid, committed, given: *given, data })
        });
        let conflicts: Vec<Conflict> = conflicts.collect();
        if conflicts.is_empty() {
            state.voted = Some(self.number);
            return if determined.is_empty() {
                Reply::Voted
            } else {
                Reply::Determined(determined)
            };
        }
        Reply::Conflicts(conflicts)
    }

    /// As zeoxide does it, which keeps a transaction that has not voted.
    fn finish(&mut self, state: &mut State) -> Reply {
        if state.voted != Some(self.number) {
            return Reply::Failed(TransactionFault::NotVoted.into());
        }
        let tid = state.apply(self.number, &self.writes);
        let blobs = mem::take(&mut self.extras.blobs);
        state.blobs.extend(blobs.into_iter().map(|(oid, blob)| ((oid, tid), blob)));
        self.end(state);
        state.finish_fails.clone().map_or(Reply::Tid(tid), Reply::Failed)
    }

    fn end(&mut self, state: &mut State) {
        self.is_begun = false;
        self.writes.clear();
        self.checks.clear();
        self.extras.end();
        if state.voted == Some(self.number) {
            state.voted = None;
            self.world.vote_is_over.notify_all();
        }
    }
}

fn receive(stream: &mut UnixStream, input: &mut BytesMut) -> io::Result<Bytes> {
    loop {
        if let Some(message) = frame::split(input, 1 << 20).unwrap() {
            return Ok(message);
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => input.extend_from_slice(&buffer[..count]),
        }
    }
}

fn framed(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(frame::write(&mut out, encode));
    out
}
