//! One task per connection.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use server::{Closed, Connection, Server, TaskWake, Welcome};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

/// Starts the task of a connection, unless it cannot be served.
pub(crate) fn spawn<S>(server: &Arc<Server>, welcome: &Welcome, name: String, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let wake = Arc::new(TaskWake::default());
    let Some(mut connection) = Connection::new(server, welcome, name, wake.clone()) else {
        return;
    };
    tokio::spawn(async move {
        let end = poll_fn(|context| poll(context, &mut stream, &mut connection, &wake)).await;
        connection.close(&end);
    });
}

/// Goes on with a connection until nothing can be done at once, or until it ends.
///
/// Every call writes and reads what it can; a read or write that is not ready has registered the
/// task and costs no system call until it is.
fn poll<S>(
    context: &mut Context<'_>,
    stream: &mut S,
    connection: &mut Connection,
    wake: &TaskWake,
) -> Poll<Closed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    wake.register(context.waker());
    loop {
        let mut handle = wake.take_call();
        if let Err(end) = write(context, stream, connection) {
            return Poll::Ready(end);
        }
        if connection.wants_input() {
            match read(context, stream, connection) {
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
fn write<S: AsyncWrite + Unpin>(
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
fn read<S: AsyncRead + Unpin>(
    context: &mut Context<'_>,
    stream: &mut S,
    connection: &mut Connection,
) -> Poll<Result<(), Closed>> {
    let count = ready!(pin!(stream.read_buf(connection.read_buffer())).poll(context))?;
    Poll::Ready(if count == 0 { Err(Closed::ByClient) } else { Ok(()) })
}
