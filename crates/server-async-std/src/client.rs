//! One client: a task.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_std::io::{Read, Write};
use async_std::task;
use server::{Closed, Connection, Server, TaskWake, Welcome};

/// Starts the task of a connection, unless it cannot be served.
pub(crate) fn spawn<S>(server: &Arc<Server>, welcome: &Welcome, name: String, mut stream: S)
where
    S: Read + Write + Send + Unpin + 'static,
{
    let wake = Arc::new(TaskWake::default());
    let Some(mut connection) = Connection::new(server, welcome, name, wake.clone()) else {
        return;
    };
    task::spawn(async move {
        let mut buffer = vec![0; READ_BYTES];
        let go_on = |context: &mut Context<'_>| {
            poll(context, &mut stream, &mut buffer, &mut connection, &wake)
        };
        let end = poll_fn(go_on).await;
        connection.close(&end);
    });
}

/// Goes on with a connection until nothing can be done at once, or until it ends.
///
/// Every call writes and reads what it can; a read or write that is not ready has registered the
/// task. A client that never pauses leaves the thread to others now and then.
fn poll<S: Read + Write + Unpin>(
    context: &mut Context<'_>,
    stream: &mut S,
    buffer: &mut [u8],
    connection: &mut Connection,
    wake: &TaskWake,
) -> Poll<Closed> {
    wake.register(context.waker());
    for _ in 0..ROUNDS_MAX {
        let mut handle = wake.take_call();
        if let Err(end) = write(context, stream, connection) {
            return Poll::Ready(end);
        }
        if connection.wants_input() {
            match read(context, stream, buffer, connection) {
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
    context.waker().wake_by_ref();
    Poll::Pending
}

/// Writes as much of the output as the socket takes.
fn write<S: Write + Unpin>(
    context: &mut Context<'_>,
    stream: &mut S,
    connection: &mut Connection,
) -> Result<(), Closed> {
    while !connection.output().is_empty() {
        match Pin::new(&mut *stream).poll_write(context, connection.output()) {
            Poll::Ready(Ok(0)) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Poll::Ready(count) => connection.consume(count?)?,
            Poll::Pending => return Ok(()),
        }
    }
    Ok(())
}

/// Reads once.
fn read<S: Read + Unpin>(
    context: &mut Context<'_>,
    stream: &mut S,
    buffer: &mut [u8],
    connection: &mut Connection,
) -> Poll<Result<(), Closed>> {
    let count = ready!(Pin::new(stream).poll_read(context, buffer))?;
    let read = buffer.get(..count).unwrap_or_default();
    connection.read_buffer().extend_from_slice(read);
    Poll::Ready(if count == 0 { Err(Closed::ByClient) } else { Ok(()) })
}

/// One read: many requests, or usual records. Every idle connection has it.
const READ_BYTES: usize = 16 << 10;

/// After so many reads in a row, others have their turn.
const ROUNDS_MAX: usize = 32;
