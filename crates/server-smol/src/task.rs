//! One task per connection.

#![allow(unsafe_code, reason = "to read into memory that was never written")]

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use server::{Closed, Connection, Server, TaskWake, Welcome};
use smol::Async;
use socket2::Socket;

use crate::EXECUTOR;

/// Starts the task of a connection, unless it cannot be served.
pub(crate) fn spawn(server: &Arc<Server>, welcome: &Welcome, name: String, socket: Async<Socket>) {
    let wake = Arc::new(TaskWake::default());
    let Some(mut connection) = Connection::new(server, welcome, name, wake.clone()) else {
        return;
    };
    let task = EXECUTOR.spawn(async move {
        let end = poll_fn(|context| poll(context, &socket, &mut connection, &wake)).await;
        connection.close(&end);
    });
    task.detach();
}

/// Goes on with a connection until nothing can be done at once, or until it ends.
///
/// Every call writes what it can and reads what the reactor has told of.
fn poll(
    context: &mut Context<'_>,
    socket: &Async<Socket>,
    connection: &mut Connection,
    wake: &TaskWake,
) -> Poll<Closed> {
    wake.register(context.waker());
    loop {
        let mut handle = wake.take_call();
        if let Err(end) = write(context, socket, connection) {
            return Poll::Ready(end);
        }
        if connection.wants_input() {
            match read(context, socket, connection) {
                Poll::Ready(Ok(())) => handle = true,
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending => (),
            }
        }
        if !handle && !connection.has_work() {
            return Poll::Pending;
        }
        if let Err(end) = connection.handle() {
            return Poll::Ready(end);
        }
    }
}

/// Writes as much of the output as the socket takes.
fn write(
    context: &mut Context<'_>,
    socket: &Async<Socket>,
    connection: &mut Connection,
) -> Result<(), Closed> {
    while !connection.output().is_empty() {
        match socket.get_ref().send(connection.output()) {
            Ok(count) => connection.consume(count)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if socket.poll_writable(context)?.is_pending() {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads once, when the reactor says that there is something.
///
/// One read for each time: a client that never pauses leaves the thread to others in between.
fn read(
    context: &mut Context<'_>,
    socket: &Async<Socket>,
    connection: &mut Connection,
) -> Poll<Result<(), Closed>> {
    loop {
        ready!(socket.poll_readable(context))?;
        let input = connection.read_buffer();
        match socket.get_ref().recv(input.spare_capacity_mut()) {
            Ok(0) => return Poll::Ready(Err(Closed::ByClient)),
            Ok(count) => {
                // SAFETY: `recv` wrote `count` bytes to the start of the spare capacity.
                unsafe { input.set_len(input.len() + count) };
                return Poll::Ready(Ok(()));
            }
            Err(error) if is_passing(&error) => (),
            Err(error) => return Poll::Ready(Err(error.into())),
        }
    }
}

/// Whether to try again when the socket is ready.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
