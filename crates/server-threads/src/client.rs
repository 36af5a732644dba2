//! One client: a socket, a connection behind a lock, and the two threads that share it.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};

use server::{Closed, Connection, Server, Welcome};
use socket2::Socket;
use storage::{Mailbox, Wake};
use tracing::warn;

/// What the reader, the pusher and everybody who wakes them share.
struct Client {
    server: Arc<Server>,
    socket: Socket,
    /// Taken out when the connection ends, so that all of it ends then.
    connection: Mutex<Option<Connection>>,
    mailbox: OnceLock<Weak<Mailbox>>,
    pusher: OnceLock<Thread>,
    /// Tells a reader that waits that requests are taken again.
    room: Condvar,
    reader_waits: AtomicBool,
    /// Somebody called [`Wake::wake`], and the mailbox was not looked into since.
    called: AtomicBool,
    /// A thread is in [`Self::turn`], and will see `called` at its end.
    busy: AtomicBool,
}

/// Starts the threads of a connection, unless it cannot be served.
pub(crate) fn start(server: &Arc<Server>, welcome: &Welcome, name: String, socket: Socket) {
    let client = Arc::new(Client {
        server: Arc::clone(server),
        socket,
        connection: Mutex::new(None),
        mailbox: OnceLock::new(),
        pusher: OnceLock::new(),
        room: Condvar::new(),
        reader_waits: AtomicBool::new(false),
        called: AtomicBool::new(false),
        busy: AtomicBool::new(false),
    });
    let wake = Arc::clone(&client) as Arc<dyn Wake>;
    let Some(connection) = Connection::new(server, welcome, name, wake) else { return };
    client.mailbox.get_or_init(|| Arc::downgrade(connection.mailbox()));
    *client.lock() = Some(connection);
    if let Err(error) = start_threads(&client) {
        warn!("cannot start the threads of a connection: {error}");
        client.end(client.lock(), None);
    }
}

fn start_threads(client: &Arc<Client>) -> io::Result<()> {
    let guard = EndOnDrop(Arc::clone(client));
    let push = thread::Builder::new().name("push".to_owned()).stack_size(STACK_BYTES);
    let pusher = push.spawn(move || guard.0.push())?;
    client.pusher.get_or_init(|| pusher.thread().clone());
    // Whoever called before did not find it.
    client.call_pusher();
    let guard = EndOnDrop(Arc::clone(client));
    let read = thread::Builder::new().name("read".to_owned()).stack_size(STACK_BYTES);
    read.spawn(move || guard.0.read())?;
    Ok(())
}

impl Client {
    /// The reader: handles requests as they come.
    fn read(&self) {
        let mut buffer = [0; READ_BYTES];
        let mut count = 0;
        loop {
            let mut guard = self.lock();
            let Some(connection) = guard.as_mut() else { return };
            connection.read_buffer().extend_from_slice(buffer.get(..count).unwrap_or_default());
            // The first turn has read nothing and sends the greeting.
            if let Err(why) = self.turn(connection) {
                return self.end(guard, Some(&why));
            }
            self.wait_for_room(guard);
            let why = match retry(|| (&self.socket).read(&mut buffer)) {
                Ok(0) => Closed::ByClient,
                Ok(read) => {
                    count = read;
                    continue;
                }
                Err(error) => error.into(),
            };
            return self.end(self.lock(), Some(&why));
        }
    }

    /// The pusher: sends what reaches the mailbox while the reader waits for requests.
    fn push(&self) {
        loop {
            // Before the look at the connection: it is gone when the last call comes.
            while !self.called.load(Ordering::SeqCst) {
                thread::park();
            }
            let mut guard = self.lock();
            let Some(connection) = guard.as_mut() else { return };
            if let Err(why) = self.turn(connection) {
                return self.end(guard, Some(&why));
            }
            self.tell_of_room();
        }
    }

    /// The reader waits while too many requests are unanswered. The pusher sends the answers, and
    /// then handles the requests that were left.
    fn wait_for_room(&self, mut guard: MutexGuard<'_, Option<Connection>>) {
        while guard.as_ref().is_some_and(|connection| !connection.wants_input()) {
            self.reader_waits.store(true, Ordering::Relaxed);
            guard = self.room.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For a caller that has, or just had, the lock: it orders the flag. Saves a system call when
    /// nobody waits.
    fn tell_of_room(&self) {
        if self.reader_waits.swap(false, Ordering::Relaxed) {
            self.room.notify_one();
        }
    }

    /// Handles what is there and writes what comes of it, until nothing is left to do.
    fn turn(&self, connection: &mut Connection) -> Result<(), Closed> {
        loop {
            self.busy.store(true, Ordering::SeqCst);
            self.called.store(false, Ordering::SeqCst);
            connection.handle()?;
            while !connection.output().is_empty() {
                let count = retry(|| (&self.socket).write(connection.output()))?;
                connection.consume(count)?;
            }
            self.busy.store(false, Ordering::SeqCst);
            // `wake` stores and loads these two the other way round, so one of us sees the other.
            if !self.called.load(Ordering::SeqCst) && !connection.has_work() {
                return Ok(());
            }
        }
    }

    /// Ends the connection, if it has not ended: from either thread, which ends the other one.
    ///
    /// Whoever finds that it must end keeps the lock until here: between the two, the other thread
    /// would go on with the requests behind the one that must be the last.
    fn end(&self, mut guard: MutexGuard<'_, Option<Connection>>, why: Option<&Closed>) {
        let connection = guard.take();
        drop(guard);
        let Some(connection) = connection else { return };
        if let Some(why) = why {
            connection.close(why);
        }
        self.hang_up();
        self.tell_of_room();
        self.call_pusher();
    }

    /// Has the pusher look at the connection.
    fn call_pusher(&self) {
        self.called.store(true, Ordering::SeqCst);
        if let Some(pusher) = self.pusher.get() {
            pusher.unpark();
        }
    }

    /// Lets blocked reads and writes return.
    fn hang_up(&self) {
        // Fails when the client was faster.
        let _shut = self.socket.shutdown(Shutdown::Both);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // After a panic the connection is only taken out and dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Client {
    fn wake(&self) {
        let mailbox = self.mailbox.get().and_then(Weak::upgrade);
        if self.server.is_stopped() || mailbox.is_some_and(|mailbox| mailbox.why_cut().is_some()) {
            // A thread may be in a write that the client does not let end.
            self.hang_up();
        }
        self.called.store(true, Ordering::SeqCst);
        if !self.busy.load(Ordering::SeqCst) {
            self.call_pusher();
        }
    }
}

/// Ends a connection whose thread panics.
struct EndOnDrop(Arc<Client>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(self.0.lock(), None);
    }
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            result => return result,
        }
    }
}

/// There are two stacks for each connection; the deepest decoder needs a fraction of this.
const STACK_BYTES: usize = 256 << 10;

/// One read: many requests, or usual records. Every idle connection has it.
const READ_BYTES: usize = 16 << 10;
