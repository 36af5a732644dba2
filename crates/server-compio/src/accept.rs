//! Taking clients in, and dealing them out to the threads that serve.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use compio::BufResult;
use compio::buf::IntoInner as _;
use compio::driver::op::Accept;
use compio::runtime;
use flume::Sender;
use server::{Listener, Server, Welcome};
use socket2::Socket;

/// A client that was accepted, on its way to the thread that serves it.
pub(crate) struct Arrival {
    pub(crate) socket: Socket,
    pub(crate) is_unix: bool,
    pub(crate) welcome: Welcome,
    /// The client's, in log lines.
    pub(crate) name: String,
}

/// The threads that serve. Each gets as many clients as any other.
struct Workers {
    inboxes: Vec<Sender<Arrival>>,
    next: Cell<usize>,
}

/// Accepts from all `listeners` until the server stops.
pub(crate) async fn all(
    server: Arc<Server>,
    listeners: Vec<Listener>,
    inboxes: Vec<Sender<Arrival>>,
) {
    let workers = Rc::new(Workers { inboxes, next: Cell::new(0) });
    let accept = |listener| one(Arc::clone(&server), listener, Rc::clone(&workers));
    let acceptors: Vec<_> =
        listeners.into_iter().map(|listener| runtime::spawn(accept(listener))).collect();
    for acceptor in acceptors {
        // A panic has been told on standard error.
        let _end = acceptor.await;
    }
}

async fn one(server: Arc<Server>, listener: Listener, workers: Rc<Workers>) {
    let Listener { socket, welcome, is_unix } = listener;
    let socket = Arc::new(socket);
    loop {
        let error = match next(&socket, is_unix).await {
            Ok((socket, name)) => {
                workers.hand_over(Arrival { socket, is_unix, welcome: welcome.clone(), name });
                continue;
            }
            Err(error) => error,
        };
        let Some(pause) = server.after_failed_accept(&error) else { return };
        // This thread does nothing else, and whatever the system lacks, it lacks for all.
        thread::sleep(pause);
    }
}

/// The next client, and its name in log lines.
///
/// What compio's own listeners give is tied to this thread.
async fn next(listener: &Arc<Socket>, is_unix: bool) -> io::Result<(Socket, String)> {
    let BufResult(result, accept) = runtime::submit(Accept::new(Arc::clone(listener))).await;
    result?;
    let (socket, address) = accept.into_inner();
    if !is_unix {
        // That a client is gone already is found by the first read.
        let _set = socket.set_tcp_nodelay(true);
    }
    Ok((socket, server::peer_name(&address)))
}

impl Workers {
    /// Gives a client to the next thread.
    fn hand_over(&self, arrival: Arrival) {
        let next = self.next.get();
        self.next.set((next + 1) % self.inboxes.len());
        if let Some(inbox) = self.inboxes.get(next) {
            // It is dropped, and so closed, if the thread has ended.
            let _sent = inbox.send(arrival);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use compio::runtime::Runtime;

    use super::*;

    /// Otherwise every answer that is sent behind another one waits for the client's kernel.
    #[test]
    fn answers_are_not_held_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listener = Arc::new(Socket::from(listener));
        let (socket, _) = Runtime::new().unwrap().block_on(next(&listener, false)).unwrap();
        assert!(socket.tcp_nodelay().unwrap());
    }
}
