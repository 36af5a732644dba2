//! A connection of two servers: frames in and out, and a wait for whatever comes first.

use std::fmt;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use replication::Message;
use replication::frame::{self, BadFrame};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustls::Connection;
use socket2::Socket;
use storage::Wake;
use tracing::warn;

/// Ends a wait, from any thread.
#[derive(Debug)]
pub(super) struct Bell {
    fd: OwnedFd,
    /// It was rung, and the one who waits has not looked yet: another ring is no news.
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Self { fd, rung: AtomicBool::new(false) }))
    }

    pub(super) fn ring(&self) {
        if self.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Err(error) = rustix::io::write(&self.fd, &1_u64.to_ne_bytes()) {
            warn!("cannot wake a thread of replication: {error}");
        }
    }

    /// Whether it was rung since; what rang it is looked at after this.
    pub(super) fn take(&self) -> bool {
        // It says "would block" if it was not rung.
        let _count = rustix::io::read(&self.fd, &mut [0; 8]);
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Waits until it is rung, for so long at most.
    pub(super) fn wait(&self, patience: Option<Duration>) -> io::Result<()> {
        wait(&mut [PollFd::new(&self.fd, PollFlags::IN)], patience)
    }

    /// Waits until it is rung, or there is what `other` asks for.
    pub(super) fn wait_with(&self, other: PollFd<'_>) -> io::Result<()> {
        wait(&mut [PollFd::new(&self.fd, PollFlags::IN), other], None)
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring();
    }
}

/// One end of a link.
pub(super) struct Channel {
    socket: Socket,
    /// `None`: in the clear.
    tls: Option<Connection>,
    input: BytesMut,
    chunk: Box<[u8]>,
    output: Vec<u8>,
    /// How much of `output` is sent.
    sent: usize,
    message_bytes_max: usize,
}

impl Channel {
    pub(super) fn new(
        socket: Socket,
        tls: Option<Connection>,
        message_bytes_max: usize,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let chunk = vec![0; CHUNK_BYTES].into();
        let (input, output) = Default::default();
        Ok(Self { socket, tls, input, chunk, output, sent: 0, message_bytes_max })
    }

    /// Appends a message to what is to be sent.
    pub(super) fn send<M: Message>(&mut self, message: &M) -> io::Result<()> {
        if frame::write(message, &mut self.output) {
            return Ok(());
        }
        Err(io::Error::other("a message of 4 GiB or more cannot be sent"))
    }

    /// The same, of bytes that are no message of ours.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// What has come and is not taken.
    pub(super) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Bytes that are not sent.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Sends what the connection takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        loop {
            let rest = self.output.get(self.sent..).unwrap_or_default();
            let taken = match &mut self.tls {
                None if rest.is_empty() => 0,
                None => ready((&self.socket).write(rest))?,
                Some(tls) => {
                    let taken = if tls.is_handshaking() { 0 } else { tls.writer().write(rest)? };
                    if !transmit(tls, &self.socket)? {
                        self.sent += taken;
                        return Ok(());
                    }
                    taken
                }
            };
            self.sent += taken;
            if self.unsent() == 0 {
                self.sent = 0;
                self.output.clear();
            }
            if taken == 0 {
                return Ok(());
            }
        }
    }

    /// Takes what has come, some of it: whether that was anything.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return match (&self.socket).read(&mut self.chunk) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    let chunk = self.chunk.get(..ready(read)?).unwrap_or_default();
                    self.input.extend_from_slice(chunk);
                    Ok(!chunk.is_empty())
                }
            };
        };
        match tls.read_tls(&mut &self.socket) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                if ready(read)? == 0 {
                    return Ok(false);
                }
            }
        }
        let state = tls.process_new_packets();
        let mut reader = tls.reader();
        // "Would block" is the end of what is there.
        while let Ok(chunk) = reader.fill_buf()
            && !chunk.is_empty()
        {
            self.input.extend_from_slice(chunk);
            let count = chunk.len();
            reader.consume(count);
        }
        match state {
            Ok(state) if state.peer_has_closed() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(true),
            Err(error) => {
                // The peer should hear what is wrong, if it still listens.
                let _told = transmit(tls, &self.socket);
                Err(io::Error::other(error))
            }
        }
    }

    /// The next whole message.
    pub(super) fn message<M: Message>(&mut self) -> Result<Option<M>, BadFrame> {
        frame::read(&mut self.input, self.message_bytes_max)
    }

    /// Whether there is something for the socket now.
    fn can_send(&self) -> bool {
        let has_plain = self.unsent() > 0;
        self.tls
            .as_ref()
            .map_or(has_plain, |tls| tls.wants_write() || has_plain && !tls.is_handshaking())
    }

    /// Waits until something comes (if that is wanted), something can be sent (if there is something),
    /// `bell` is rung, or so long.
    pub(super) fn wait(
        &self,
        bell: &Bell,
        wants_input: bool,
        patience: Duration,
    ) -> io::Result<()> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, wants_input);
        flags.set(PollFlags::OUT, self.can_send());
        let socket = self.socket.as_fd();
        let bell = PollFd::new(&bell.fd, PollFlags::IN);
        wait(&mut [PollFd::from_borrowed_fd(socket, flags), bell], Some(patience))
    }
}

/// Sends what is sealed; `false`: the socket takes no more now.
fn transmit(tls: &mut Connection, socket: &Socket) -> io::Result<bool> {
    while tls.wants_write() {
        if ready(tls.write_tls(&mut &*socket))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Nothing, if it has to be tried again later.
fn ready(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error)
            if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) =>
        {
            Ok(0)
        }
        done => done,
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("socket", &self.socket).finish_non_exhaustive()
    }
}

fn wait(fds: &mut [PollFd<'_>], patience: Option<Duration>) -> io::Result<()> {
    let patience = patience.map(|patience| Timespec::try_from(patience).unwrap_or(LONG));
    match poll(fds, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

const LONG: Timespec = Timespec { tv_sec: 3600, tv_nsec: 0 };

/// One read.
const CHUNK_BYTES: usize = 256 << 10;
